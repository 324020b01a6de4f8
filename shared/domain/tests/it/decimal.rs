//! Decimals against an oracle that works on whole 256-bit integers instead of digit by digit.

use domain::Decimal;
use domain::decimal::{DecimalError, Parsed};
use ethnum::U256;
use proptest::prelude::*;

/// The exclusive bound of |millionths|.
const LIMIT: u64 = 9_200_000_000_000_000_000;

/// `mantissa` x 10^(exponent - decimals) in millionths, rounded half to even by one division with remainder.
/// Takes mantissas of at most 40 digits and |exponent + 6 - decimals| of any size.
fn oracle(negative: bool, mantissa: U256, decimals: usize, exponent: i64) -> Result<Parsed, DecimalError> {
    let shift = exponent + 6 - decimals as i64;
    let ten = U256::from(10u8);
    let (quotient, rounded) = if mantissa == U256::ZERO {
        (U256::ZERO, false)
    } else if shift >= 20 {
        return Err(DecimalError::Range);
    } else if shift >= 0 {
        (mantissa * ten.pow(shift as u32), false)
    } else if shift <= -70 {
        (U256::ZERO, true)
    } else {
        let divisor = ten.pow((-shift) as u32);
        let (quotient, rest) = (mantissa / divisor, mantissa % divisor);
        let up = match (rest * U256::from(2u8)).cmp(&divisor) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => quotient % U256::from(2u8) == U256::ONE,
            std::cmp::Ordering::Greater => true,
        };
        (quotient + U256::from(u8::from(up)), rest != U256::ZERO)
    };
    if quotient >= U256::from(LIMIT) {
        return Err(DecimalError::Range);
    }
    let magnitude = i64::try_from(quotient).unwrap();
    Ok(Parsed { value: Decimal(if negative { -magnitude } else { magnitude }), rounded })
}

fn check(sign: &str, whole: &str, fraction: Option<&str>, exponent: Option<(&str, i64)>) {
    let mut text = format!("{sign}{whole}");
    if let Some(fraction) = fraction {
        text += &format!(".{fraction}");
    }
    if let Some((written, _)) = exponent {
        text += &format!("e{written}");
    }
    let fraction = fraction.unwrap_or_default();
    let mantissa: U256 = format!("{whole}{fraction}").parse().unwrap();
    let expected = oracle(sign == "-", mantissa, fraction.len(), exponent.map_or(0, |e| e.1));
    assert_eq!(Decimal::parse(&text), expected, "{text}");
}

fn sign() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just("-"), Just("+")]
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn parse_agrees_with_the_oracle(
        sign in sign(),
        whole in "[0-9]{1,20}",
        fraction in proptest::option::of("[0-9]{1,20}"),
        exponent in proptest::option::of((-60i64..40, any::<bool>())),
    ) {
        let written = exponent.map(|(e, plus)| (if plus && e >= 0 { format!("+{e}") } else { e.to_string() }, e));
        check(sign, &whole, fraction.as_deref(), written.as_ref().map(|(text, e)| (text.as_str(), *e)));
    }

    /// Rounding is decided at the seventh decimal: many digits near the tie.
    #[test]
    fn ties_agree_with_the_oracle(sign in sign(), whole in "[0-9]{1,4}", kept in "[0-9]{6}", tail in "[45]0{0,6}[01]?") {
        check(sign, &whole, Some(&format!("{kept}{tail}")), None);
    }

    #[test]
    fn display_reads_back(millionths in -(LIMIT as i64) + 1..LIMIT as i64) {
        let value = Decimal(millionths);
        prop_assert_eq!(Decimal::parse(&value.to_string()), Ok(Parsed { value, rounded: false }));
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), value);
    }

    #[test]
    fn any_text_is_answered(text in "[-+.eE0-9 x]{0,12}") {
        let _ = Decimal::parse(&text);
    }

    #[test]
    fn any_unicode_is_answered(text in any::<String>()) {
        let _ = Decimal::parse(&text);
    }
}

#[test]
fn range_ends_before_nine_point_two_million_million() {
    let parsed = |text: &str| Decimal::parse(text).map(|p| p.value.0);
    assert_eq!(parsed("9199999999999.999999"), Ok(LIMIT as i64 - 1));
    assert_eq!(parsed("-9199999999999.999999"), Ok(1 - LIMIT as i64));
    assert_eq!(parsed("9199999999999.9999994999"), Ok(LIMIT as i64 - 1));
    // Rounds up to the bound itself.
    assert_eq!(parsed("9199999999999.9999995"), Err(DecimalError::Range));
    for text in
        ["9200000000000", "-9200000000000", "9.2e12", "1e13", "1e999", "-1e999999999999999999999", "92e11"]
    {
        assert_eq!(parsed(text), Err(DecimalError::Range), "{text}");
    }
    for text in
        ["0e999999999999", "0.000e99", "-0", "1e-999999999999", "0000000000000000000000000000000000000000"]
    {
        assert_eq!(parsed(text), Ok(0), "{text}");
    }
    assert_eq!(parsed(&format!("{}1", "0".repeat(5000))), Ok(1_000_000));
}

/// However far the exponent moves the point, the digits are where they are.
#[test]
fn long_digits_and_long_exponents_cancel() {
    let zeros = 2_000_000;
    let small = format!("0.{}1e{}", "0".repeat(zeros), zeros + 1);
    assert_eq!(Decimal::parse(&small), Ok(Parsed { value: Decimal::ONE, rounded: false }));
    let large = format!("1{}e-{zeros}", "0".repeat(zeros));
    assert_eq!(Decimal::parse(&large), Ok(Parsed { value: Decimal::ONE, rounded: false }));
}

#[test]
fn rounds_half_to_even_and_says_so() {
    let table = [
        ("0.0000005", 0, true),
        ("0.0000015", 2, true),
        ("0.0000025", 2, true),
        ("0.00000250000000000000000000000000000000000001", 3, true),
        ("-0.0000015", -2, true),
        ("0.00000049999", 0, true),
        ("0.1234560", 123_456, false),
        ("5e-7", 0, true),
        ("15e-7", 2, true),
        ("51e-8", 1, true),
        ("5e-8", 0, true),
        ("1.5E+3", 1_500_000_000, false),
    ];
    for (text, millionths, rounded) in table {
        assert_eq!(Decimal::parse(text), Ok(Parsed { value: Decimal(millionths), rounded }), "{text}");
    }
}

#[test]
fn refuses_what_is_not_a_decimal() {
    let table = [
        "",
        "-",
        "+",
        ".",
        "1.",
        ".5",
        "e5",
        "1e",
        "1e+",
        "1e-",
        "1e1.5",
        "1.2.3",
        "--1",
        "+-1",
        "1-",
        "1e5e5",
        " 1",
        "1 ",
        "1_000",
        "1,5",
        "0x10",
        "NaN",
        "nan",
        "Infinity",
        "-inf",
        "true",
        "null",
        "\u{661}",
        "１",
        "1\0",
        "1e\u{661}",
    ];
    for text in table {
        assert_eq!(Decimal::parse(text), Err(DecimalError::Syntax), "{text:?}");
    }
}

#[test]
fn json_numbers_and_strings_are_read_by_their_text() {
    for (json, millionths) in [
        ("0.1", 100_000),
        ("\"0.1\"", 100_000),
        ("9007199254740.993", 9_007_199_254_740_993_000),
        ("-2", -2_000_000),
    ] {
        assert_eq!(serde_json::from_str::<Decimal>(json).unwrap(), Decimal(millionths), "{json}");
    }
    for json in ["null", "true", "[]", "{}", "\"\"", "\"x\"", "1e99"] {
        assert!(serde_json::from_str::<Decimal>(json).is_err(), "{json}");
    }
    assert_eq!(serde_json::to_string(&Decimal(-1_500_000)).unwrap(), "\"-1.5\"");
}

#[test]
fn display_is_the_shortest_form() {
    for (millionths, text) in
        [(0, "0"), (1, "0.000001"), (-1, "-0.000001"), (1_500_000, "1.5"), (-10_000_000, "-10")]
    {
        assert_eq!(Decimal(millionths).to_string(), text);
    }
    assert_eq!(Decimal(i64::MIN).to_string(), "-9223372036854.775808");
}
