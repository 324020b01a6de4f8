//! The stored encodings: golden bytes, round trips, and damage of every kind.

use crate::golden;
use domain::attributes::{Attributes, Exclusion, Said};
use domain::codec::{CodecError, decode_moments, decode_unit, encode_moments, encode_unit};
use domain::contribution::Heads;
use domain::{BatchId, Day, Decimal, Enrollment, ExperimentId, Moments, Tally, Timestamp, Unit};
use ethnum::I256;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

const AT: Timestamp = Timestamp(1_772_438_422_239_000);
const DAY: Day = Day(20_514);

fn one() -> Enrollment {
    Enrollment {
        experiment: ExperimentId(1),
        plan_version: 1,
        variation: 0,
        phase: 0,
        exposed_at: AT,
        day: DAY,
        crossed: vec![],
        earlier_seen: None,
        before: 0,
        after_window: 0,
        attributes: Attributes::default(),
        tallies: vec![Tally { count: 2, sum: 15_500_000, pre_count: 0, pre_sum: 0 }],
    }
}

fn three() -> Vec<Enrollment> {
    let crossed = Enrollment {
        plan_version: 3,
        variation: 2,
        phase: 7,
        crossed: vec![(-1, DAY), (0, Day(DAY.0 + 1))],
        earlier_seen: Some(Day(DAY.0 + 2)),
        before: 300,
        after_window: 5,
        tallies: vec![Tally::default(), Tally { count: 1, sum: 0, pre_count: 3, pre_sum: -1 }],
        ..one()
    };
    let holdout = Enrollment {
        experiment: ExperimentId(2),
        variation: -1,
        exposed_at: Timestamp(-1),
        day: Day(-1),
        crossed: vec![(1, Day(-1))],
        earlier_seen: Some(Day(-1)),
        tallies: vec![],
        ..one()
    };
    let extreme = Enrollment {
        experiment: ExperimentId(9_000_000_000),
        plan_version: u32::MAX,
        variation: i16::MAX,
        phase: u16::MAX,
        exposed_at: Timestamp(i64::MAX),
        day: Day(i32::MAX),
        before: u32::MAX,
        after_window: u32::MAX,
        tallies: vec![Tally { count: u32::MAX, sum: i128::MAX, pre_count: u32::MAX, pre_sum: i128::MIN }],
        ..one()
    };
    vec![crossed, holdout, extreme]
}

/// Format 1 is read for ever.
#[test]
fn units_of_the_first_format_are_read() {
    let table = [
        ("unit_empty", false, vec![]),
        ("unit_conversions_only", true, vec![]),
        ("unit_one", false, vec![one()]),
        ("unit_three", true, three()),
    ];
    for (name, has_conversions, enrollments) in table {
        let unit = Unit { has_conversions, enrollments, ..Unit::default() };
        assert_eq!(decode_unit(&golden(name)), Ok(unit), "{name}");
    }
}

fn said<T>(value: T, at: Option<Timestamp>, day: Day, after_exposure: bool) -> Said<T> {
    Said { value, at, day, after_exposure }
}

fn exclusion(excluded: bool, reason: Option<&str>, batch: u128, day: Day) -> Exclusion {
    Exclusion { excluded, reason: reason.map(str::to_owned), batch: BatchId(Uuid::from_u128(batch)), day }
}

/// Enrolled with everything told, and waiting in two other experiments.
fn told() -> Unit {
    let full = Attributes {
        stratum: Some(said("DE".into(), Some(AT), DAY, true)),
        covariates: vec![
            (String::new(), said(Decimal(-5), None, DAY, false)),
            ("age".into(), said(Decimal(42_000_000), Some(Timestamp(-1)), Day(DAY.0 + 1), true)),
        ],
        exclusions: vec![
            exclusion(true, Some("bot"), 1, DAY),
            exclusion(false, None, u128::MAX, Day(DAY.0 + 2)),
        ],
    };
    let excluded = Attributes { exclusions: vec![exclusion(true, None, 1, DAY)], ..Attributes::default() };
    let stratum = Some(said("é".into(), None, Day(-1), false));
    Unit {
        erased: false,
        has_conversions: true,
        enrollments: vec![Enrollment { attributes: full, ..one() }],
        waiting: vec![
            (ExperimentId(2), excluded),
            (ExperimentId(3), Attributes { stratum, ..Attributes::default() }),
        ],
    }
}

#[test]
fn unit_bytes_are_frozen() {
    let table = [
        ("unit2_empty", Unit::default()),
        ("unit2_one", Unit { enrollments: vec![one()], ..Unit::default() }),
        ("unit2_told", told()),
    ];
    for (name, unit) in table {
        assert_eq!(decode_unit(&golden(name)), Ok(unit.clone()), "{name}");
        assert_eq!(encode_unit(&unit), golden(name), "{name}");
    }
}

fn products(values: &[i128]) -> Vec<I256> {
    values.iter().map(|v| I256::from(*v)).collect()
}

#[test]
fn moments_of_the_first_format_are_read() {
    let table = [
        ("moments_empty", [0; 8], vec![]),
        ("moments_small", [1, 2, 3, 4, 5, 6, 7, 0], products(&[1, -1, 0, 1_000_000_000_000])),
        (
            "moments_extreme",
            [i64::MAX, i64::MIN, 0, 0, 0, 0, -1, 0],
            vec![I256::MAX, I256::MIN, I256::ONE << 254u32],
        ),
    ];
    for (name, heads, products) in table {
        let moments = Moments { heads: Heads::from_array(heads), products };
        assert_eq!(decode_moments(&golden(name)), Ok(moments), "{name}");
    }
}

#[test]
fn moments_bytes_are_frozen() {
    let table = [
        ("moments2_empty", [0; 8], vec![]),
        ("moments2_small", [1, 2, 3, 4, 5, 6, 7, -8], products(&[1, -1])),
    ];
    for (name, heads, products) in table {
        let moments = Moments { heads: Heads::from_array(heads), products };
        assert_eq!(decode_moments(&golden(name)), Ok(moments.clone()), "{name}");
        assert_eq!(encode_moments(&moments), golden(name), "{name}");
    }
}

#[test]
fn other_formats_are_told_apart_from_damage() {
    assert_eq!(decode_unit(&[]), Err(CodecError::Damaged));
    assert_eq!(decode_moments(&[]), Err(CodecError::Damaged));
    for format in [0, 3, 255] {
        assert_eq!(decode_unit(&[format, 0, 0]), Err(CodecError::Format(format)));
        assert_eq!(decode_moments(&[format, 0]), Err(CodecError::Format(format)));
    }
}

/// A length is believed only as far as bytes follow, so nothing is allocated for it.
#[test]
fn false_lengths_are_refused() {
    let huge: [&[u8]; 4] = [
        &[0xff; 9],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
    ];
    for length in huge {
        assert_eq!(decode_unit(&[&[1, 0], length].concat()), Err(CodecError::Damaged));
        assert_eq!(decode_moments(&[&[1], length].concat()), Err(CodecError::Damaged));
        assert_eq!(
            decode_moments(&[&[1, 7, 0, 0, 0, 0, 0, 0, 0], length].concat()),
            Err(CodecError::Damaged)
        );
    }
    // A product of 33 bytes; heads of another number.
    assert_eq!(
        decode_moments(&[&[1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 33][..], &[0; 33]].concat()),
        Err(CodecError::Damaged)
    );
    assert_eq!(decode_moments(&[1, 6, 0, 0, 0, 0, 0, 0, 0]), Err(CodecError::Damaged));
    // An experiment's number of more than 64 bits.
    let one = golden("unit_one");
    let numbered = |number: &[u8]| [&one[..3], number, &one[4..]].concat();
    assert!(decode_unit(&numbered(&[[0xff; 9].as_slice(), &[0x01]].concat())).is_ok());
    assert_eq!(decode_unit(&numbered(&[[0xff; 9].as_slice(), &[0x02]].concat())), Err(CodecError::Damaged));
    assert_eq!(decode_unit(&numbered(&[[0xff; 10].as_slice(), &[0x00]].concat())), Err(CodecError::Damaged));
    // Sums wider than 128 bits.
    let mut wide = golden("unit_three");
    wide.truncate(wide.len() - 17);
    wide.extend([17; 18]);
    assert_eq!(decode_unit(&wide), Err(CodecError::Damaged));
}

fn wide() -> impl Strategy<Value = I256> {
    prop_oneof![
        (any::<i128>(), any::<i128>()).prop_map(|(high, low)| I256::from_words(high, low)),
        any::<i64>().prop_map(I256::from),
        Just(I256::MIN),
        Just(I256::MAX),
        Just(I256::ZERO),
    ]
}

fn sum() -> impl Strategy<Value = i128> {
    prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), Just(i128::MIN), Just(i128::MAX)]
}

fn tally() -> impl Strategy<Value = Tally> {
    // A sum without events is zero.
    (any::<u32>(), sum(), prop_oneof![Just(0), any::<u32>()], sum()).prop_map(
        |(count, sum, pre_count, pre_sum)| Tally {
            count,
            sum: if count > 0 { sum } else { 0 },
            pre_count,
            pre_sum: if pre_count > 0 { pre_sum } else { 0 },
        },
    )
}

fn day() -> impl Strategy<Value = Day> {
    prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX)].prop_map(Day)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    fn of<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Said<T>> {
        let at = proptest::option::of(any::<i64>().prop_map(Timestamp));
        (value, at, day(), any::<bool>()).prop_map(|(value, at, day, late)| said(value, at, day, late))
    }
    let exclusion = (any::<bool>(), proptest::option::of(".{1,3}"), any::<u128>(), day())
        .prop_map(|(excluded, reason, batch, day)| exclusion(excluded, reason.as_deref(), batch, day));
    let covariate = (".{0,3}", of(any::<i64>().prop_map(Decimal)));
    (proptest::option::of(of(".{0,3}")), vec(covariate, 0..3), vec(exclusion, 0..3))
        .prop_map(|(stratum, covariates, exclusions)| Attributes { stratum, covariates, exclusions })
}

fn enrollment() -> impl Strategy<Value = Enrollment> {
    let identity = (any::<i64>(), any::<u32>(), any::<i16>(), any::<u16>(), any::<i64>(), day());
    let since = (vec((any::<i16>(), day()), 0..3), proptest::option::of(day()), any::<u32>(), any::<u32>());
    (identity, since, attributes(), vec(tally(), 0..4)).prop_map(
        |(i, (crossed, earlier_seen, before, after_window), attributes, tallies)| Enrollment {
            experiment: ExperimentId(i.0),
            plan_version: i.1,
            variation: i.2,
            phase: i.3,
            exposed_at: Timestamp(i.4),
            day: i.5,
            crossed,
            earlier_seen,
            before,
            after_window,
            attributes,
            tallies,
        },
    )
}

fn unit() -> impl Strategy<Value = Unit> {
    let waiting = (any::<i64>().prop_map(ExperimentId), attributes());
    (any::<bool>(), vec(enrollment(), 0..4), vec(waiting, 0..3)).prop_map(
        |(has_conversions, enrollments, waiting)| Unit {
            erased: enrollments.is_empty() && !has_conversions,
            has_conversions,
            enrollments,
            waiting,
        },
    )
}

fn moments() -> impl Strategy<Value = Moments> {
    (any::<[i64; Heads::LEN]>(), vec(wide(), 0..20))
        .prop_map(|(heads, products)| Moments { heads: Heads::from_array(heads), products })
}

/// Whatever bytes hold: no panic, nothing longer than the bytes, and what is read is written again as the same.
fn survives(bytes: &[u8]) {
    if let Ok(unit) = decode_unit(bytes) {
        let items: usize = unit.enrollments.iter().map(|e| 1 + e.tallies.len() + e.crossed.len()).sum();
        assert!(items <= bytes.len());
        assert_eq!(decode_unit(&encode_unit(&unit)), Ok(unit));
    }
    if let Ok(moments) = decode_moments(bytes) {
        assert!(moments.products.len() <= bytes.len());
        assert_eq!(decode_moments(&encode_moments(&moments)), Ok(moments));
    }
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    #[test]
    fn units_round_trip(unit in unit(), extra: u8) {
        let mut bytes = encode_unit(&unit);
        prop_assert_eq!(decode_unit(&bytes), Ok(unit));
        for end in 0..bytes.len() {
            prop_assert_eq!(decode_unit(&bytes[..end]), Err(CodecError::Damaged));
        }
        bytes.push(extra);
        prop_assert_eq!(decode_unit(&bytes), Err(CodecError::Damaged));
    }

    #[test]
    fn moments_round_trip(moments in moments(), extra: u8) {
        let mut bytes = encode_moments(&moments);
        prop_assert_eq!(decode_moments(&bytes), Ok(moments));
        for end in 0..bytes.len() {
            prop_assert_eq!(decode_moments(&bytes[..end]), Err(CodecError::Damaged));
        }
        bytes.push(extra);
        prop_assert_eq!(decode_moments(&bytes), Err(CodecError::Damaged));
    }

    #[test]
    fn mutations_are_survived(unit in unit(), moments in moments(), changes in vec((any::<usize>(), any::<u8>()), 1..4)) {
        for mut bytes in [encode_unit(&unit), encode_moments(&moments)] {
            for (at, value) in &changes {
                let at = at % bytes.len();
                bytes[at] = *value;
            }
            survives(&bytes);
        }
    }

    #[test]
    fn random_bytes_are_survived(mut bytes in vec(prop_oneof![any::<u8>(), 0u8..8], 0..200)) {
        for format in [1, 2] {
            survives(&bytes);
            bytes.insert(0, format);
        }
        survives(&bytes);
    }
}
