use domain::{Day, Timestamp};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;

#[test]
fn instants_are_read_from_rfc_3339() {
    let table = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2024-06-19T15:22:45Z", Some(1_718_810_565 * SECOND)),
        ("2024-06-19t15:22:45z", Some(1_718_810_565 * SECOND)),
        ("2024-06-19 15:22:45Z", Some(1_718_810_565 * SECOND)),
        ("2024-06-19T15:22:45.5Z", Some(1_718_810_565 * SECOND + 500_000)),
        ("2024-06-19T15:22:45.123456Z", Some(1_718_810_565 * SECOND + 123_456)),
        ("2024-06-19T15:22:45.123456789Z", Some(1_718_810_565 * SECOND + 123_456)),
        ("2024-06-19T17:22:45+02:00", Some(1_718_810_565 * SECOND)),
        ("2024-06-19T09:52:45-05:30", Some(1_718_810_565 * SECOND)),
        ("2024-06-20T00:22:45+09:00", Some(1_718_810_565 * SECOND)),
        ("2024-06-19T15:22:45-00:00", Some(1_718_810_565 * SECOND)),
        // No zone = UTC.
        ("2024-06-19T15:22:45", Some(1_718_810_565 * SECOND)),
        ("2024-06-19 15:22:45.25", Some(1_718_810_565 * SECOND + 250_000)),
        ("2024-02-29T00:00:00Z", Some(1_709_164_800 * SECOND)),
        ("1969-12-31T23:59:59.999999Z", Some(-1)),
        ("0001-01-01T00:00:00Z", Some(-62_135_596_800 * SECOND)),
        ("9999-12-30T21:59:59.999999Z", Some(253_402_207_200 * SECOND - 1)),
    ];
    for (text, micros) in table {
        assert_eq!(Timestamp::parse(text).map(|t| t.0), micros, "{text}");
    }
}

#[test]
fn what_is_no_instant_is_refused() {
    let table = [
        "",
        "now",
        "2024-06-19",
        "15:22:45",
        "2024-06-19T",
        "2024-06-19T25:00:00Z",
        "2024-06-19T15:60:00Z",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-06-19T15:22:45+25:99",
        "2024-06-19T15:22:45Zjunk",
        " 2024-06-19T15:22:45Z",
        "2024-06-19T15:22:45Z ",
        "0000-12-31T23:59:59Z",
        "-000001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        // An offset must never be read and then ignored, nor a zone without its offset.
        "9999-12-30T21:00:00-05:00",
        "2024-06-19T15:22:45[America/New_York]",
        "1718810565",
        "2024-06-19T15:22:45\0",
    ];
    for text in table {
        assert_eq!(Timestamp::parse(text), None, "{text:?}");
    }
}

#[test]
fn numbers_are_seconds_below_1e11_and_milliseconds_from_there() {
    let table = [
        ("0", Some(0)),
        ("1718810565", Some(1_718_810_565 * SECOND)),
        ("1718810565.123456", Some(1_718_810_565 * SECOND + 123_456)),
        ("1.718810565e9", Some(1_718_810_565 * SECOND)),
        ("1718810565123", Some(1_718_810_565 * SECOND + 123_000)),
        ("1718810565123.5", Some(1_718_810_565 * SECOND + 123_500)),
        ("-1.5", Some(-1_500_000)),
        ("99999999999", Some(99_999_999_999 * SECOND)),
        ("100000000000", Some(100_000_000 * SECOND)),
        ("-100000000000", Some(-100_000_000 * SECOND)),
        // Milliseconds past the year 9999, or before year 1.
        ("253402300800000", None),
        ("-62135596800001", None),
        ("9223372036854775807", None),
        ("-9223372036854775808", None),
        ("99999999999999999999", None),
        ("1e300", None),
        ("1e999", None),
        ("NaN", None),
        ("inf", None),
        ("", None),
        ("x", None),
    ];
    for (text, micros) in table {
        assert_eq!(Timestamp::from_unix_number(text).map(|t| t.0), micros, "{text:?}");
    }
}

#[test]
fn days_are_utc_dates() {
    let table = [
        ("1970-01-01", Some(0)),
        ("1969-12-31", Some(-1)),
        ("2024-02-29", Some(19_782)),
        ("2000-01-01", Some(10_957)),
    ];
    for (text, day) in table {
        assert_eq!(Day::parse(text).map(|d| d.0), day, "{text}");
        assert_eq!(Day(day.unwrap()).to_string(), text);
    }
    for text in [
        "",
        "2023-02-29",
        "2024-2-29",
        "20240229",
        "2024-02-29T",
        "2024-W09-4",
        "24-02-29",
        " 2024-02-2",
        "2024-02-29 ",
    ] {
        assert_eq!(Day::parse(text), None, "{text:?}");
    }
    assert_eq!(Timestamp(-1).day(), Day(-1));
    assert_eq!(Timestamp(86_400 * SECOND - 1).day(), Day(0));
    assert_eq!(Timestamp(86_400 * SECOND).day(), Day(1));
    assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp(i64::MAX));
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    /// Whatever is accepted can be printed, and reads back as itself.
    #[test]
    fn accepted_instants_print_and_read_back(seconds in -62_135_596_800..253_402_207_200i64, micros in 0..SECOND) {
        let t = Timestamp(seconds * SECOND + micros);
        prop_assert_eq!(Timestamp::parse(&t.to_string()), Some(t));
        let day = t.day();
        prop_assert!(day.start() <= t && t < Day(day.0 + 1).start());
        prop_assert_eq!(Day::parse(&day.to_string()), Some(day));
    }

    #[test]
    fn extremes_saturate(micros: i64, day: i32, more: i64, text in any::<String>(), number in "[-+.eE0-9]{0,14}") {
        let t = Timestamp(micros);
        let _ = (t.day().to_string(), t.to_string(), t.plus(more));
        let _ = (Day(day).start(), Day(day).to_string());
        let _ = (Timestamp::parse(&text), Day::parse(&text));
        for accepted in [Timestamp::parse(&text), Timestamp::from_unix_number(&number)].into_iter().flatten() {
            prop_assert_eq!(Timestamp::parse(&accepted.to_string()), Some(accepted));
        }
    }
}
