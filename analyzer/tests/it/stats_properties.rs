//! What must hold for any arms, and the typed reasons at the edges.

use analyzer::stats::{
    Alpha, Flag, Undefined,
    arms::{ArmMoments, Pair, ProportionArm, Scale},
    effect::{Measure, effect},
    ratio::RatioArm,
    srm::{Srm, SrmArm, srm},
    welch::{TTest, welch},
};
use ethnum::I256;
use proptest::prelude::*;

fn arm_of(values: &[i64]) -> ArmMoments {
    ArmMoments {
        n: values.len() as u64,
        sum: values.iter().map(|&v| I256::from(v)).sum(),
        sum_sq: values.iter().map(|&v| I256::from(v) * I256::from(v)).sum(),
        scale: Scale::Millionths,
    }
}

fn proportion(n: u64, converters: u64) -> ProportionArm {
    ProportionArm { n, converters }
}

fn alpha() -> Alpha {
    Alpha::new(0.05).unwrap()
}

fn test_means(a: &[i64], b: &[i64], measure: Measure) -> Result<TTest, Undefined> {
    tested(&Pair::of_means(&arm_of(a), &arm_of(b))?, measure)
}

fn tested(pair: &Pair, measure: Measure) -> Result<TTest, Undefined> {
    welch(&effect(pair, measure)?, alpha())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn all_finite(t: &TTest) -> bool {
    [
        t.effect,
        t.standard_error,
        t.dof,
        t.t_statistic,
        t.p_value,
        t.ln_p_value,
        t.p_value_greater,
        t.p_value_less,
    ]
    .iter()
    .chain(&t.ci)
    .chain([&t.lower_bound, &t.upper_bound])
    .all(|v| v.is_finite())
}

/// Values from single millionths to the largest the gateway accepts.
fn values() -> impl Strategy<Value = Vec<i64>> {
    let value = prop_oneof![
        -50i64..50,
        -1_000_000_000i64..1_000_000_000,
        -9_199_999_999_999_999_999i64..9_199_999_999_999_999_999,
    ];
    proptest::collection::vec(value, 2..40)
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn swapping_arms_mirrors_the_absolute_effect(a in values(), b in values()) {
        match (test_means(&a, &b, Measure::Absolute), test_means(&b, &a, Measure::Absolute)) {
            (Ok(x), Ok(y)) => {
                prop_assert_eq!(x.effect, -y.effect);
                prop_assert!(close(x.ln_p_value, y.ln_p_value) && close(x.dof, y.dof));
                prop_assert!(close(x.p_value_greater, y.p_value_less));
                prop_assert!((x.ci[0] + y.ci[1]).abs() <= 1e-9 * x.standard_error);
                prop_assert!((x.lower_bound + y.upper_bound).abs() <= 1e-9 * x.standard_error);
            }
            (x, y) => prop_assert_eq!(x.err(), y.err()),
        }
    }

    #[test]
    fn the_unit_of_the_metric_does_not_matter(
        a in proptest::collection::vec(-1_000_000_000i64..1_000_000_000, 2..40),
        b in proptest::collection::vec(-1_000_000_000i64..1_000_000_000, 2..40),
        factor in 2i64..1_000_000,
    ) {
        let times = |v: &[i64]| v.iter().map(|x| x * factor).collect::<Vec<_>>();
        for measure in [Measure::Absolute, Measure::Relative] {
            let grown = test_means(&times(&a), &times(&b), measure);
            match (test_means(&a, &b, measure), grown) {
                (Ok(x), Ok(y)) => {
                    let unit = if measure == Measure::Absolute { factor as f64 } else { 1.0 };
                    prop_assert!(close(x.effect * unit, y.effect));
                    prop_assert!(close(x.standard_error * unit, y.standard_error));
                    prop_assert!(close(x.t_statistic, y.t_statistic) && close(x.dof, y.dof));
                    prop_assert_eq!(x.flags, y.flags);
                }
                (x, y) => prop_assert_eq!(x.err(), y.err()),
            }
        }
    }

    #[test]
    fn adding_a_constant_changes_no_absolute_answer(
        a in proptest::collection::vec(-1_000_000i64..1_000_000, 2..40),
        b in proptest::collection::vec(-1_000_000i64..1_000_000, 2..40),
        constant in -4_000_000_000_000_000_000i64..4_000_000_000_000_000_000,
    ) {
        let plus = |v: &[i64]| v.iter().map(|x| x + constant).collect::<Vec<_>>();
        let moved = test_means(&plus(&a), &plus(&b), Measure::Absolute);
        match (test_means(&a, &b, Measure::Absolute), moved) {
            (Ok(x), Ok(y)) => {
                prop_assert!(close(x.effect, y.effect) && close(x.standard_error, y.standard_error));
                prop_assert!(close(x.p_value, y.p_value));
            }
            (x, y) => prop_assert_eq!(x.err(), y.err()),
        }
    }

    #[test]
    fn answers_are_finite_or_a_reason(a in values(), b in values()) {
        for measure in [Measure::Absolute, Measure::Relative] {
            if let Ok(t) = test_means(&a, &b, measure) {
                prop_assert!(all_finite(&t), "{t:?}");
                prop_assert!(t.p_value > 0.0 && t.p_value <= 1.0 && t.ln_p_value <= 0.0);
                prop_assert!(t.ci[0] <= t.effect && t.effect <= t.ci[1]);
                prop_assert!(t.ci[0] <= t.lower_bound && t.upper_bound <= t.ci[1]);
                // p below alpha and an interval without zero are the same statement.
                let clear = (t.p_value - 0.05).abs() > 1e-9;
                prop_assert!(!clear || (t.p_value < 0.05) == (t.ci[0] > 0.0 || t.ci[1] < 0.0), "{t:?}");
            }
        }
    }

    #[test]
    fn a_proportion_is_nearly_the_mean_of_zeros_and_ones(n in 50u64..5000, m in 50u64..5000, x in 1u64..49, y in 1u64..49) {
        let mean = |n, c: u64| {
            ArmMoments { n, sum: I256::from(c), sum_sq: I256::from(c), scale: Scale::Ones }
        };
        let p = Pair::of_proportions(&proportion(n, x), &proportion(m, y)).unwrap();
        let q = Pair::of_means(&mean(n, x), &mean(m, y)).unwrap();
        prop_assert_eq!(p.difference, q.difference);
        // They differ by n against n - 1.
        prop_assert!(close(p.control.unit_variance * n as f64 / (n - 1) as f64, q.control.unit_variance));
    }

    #[test]
    fn srm_ignores_order_and_unit_of_weights(
        arms in proptest::collection::vec((0u64..100_000, 1u32..1000), 2..10), factor in 1u32..1000,
    ) {
        let arm = |(observed, weight): &(u64, u32), by| SrmArm { observed: *observed, weight: f64::from(*weight) * by };
        let straight = srm(&[arms.iter().map(|a| arm(a, 1.0)).collect()], alpha());
        let other = srm(&[arms.iter().rev().map(|a| arm(a, f64::from(factor))).collect()], alpha());
        match (straight, other) {
            (Ok(Srm::Tested(x)), Ok(Srm::Tested(y))) => {
                prop_assert!((x.chi_square - y.chi_square).abs() <= 1e-9 * (1.0 + x.chi_square));
                prop_assert_eq!(x.dof, y.dof);
                prop_assert!(x.p_value > 0.0 && x.p_value <= 1.0);
            }
            (x, y) => prop_assert_eq!(x, y),
        }
    }
}

fn reason(pair: Result<Pair, Undefined>, measure: Measure) -> Undefined {
    pair.and_then(|p| tested(&p, measure)).unwrap_err()
}

#[test]
fn reasons_are_typed() {
    use Measure::{Absolute, Relative};
    let of = |a, b| Pair::of_proportions(&a, &b);
    assert_eq!(reason(of(proportion(0, 0), proportion(10, 3)), Absolute), Undefined::NoUnits);
    assert_eq!(reason(of(proportion(10, 3), proportion(0, 0)), Relative), Undefined::NoUnits);
    assert_eq!(reason(of(proportion(1, 1), proportion(10, 3)), Absolute), Undefined::TooFewUnits);
    assert_eq!(reason(of(proportion(10, 0), proportion(10, 10)), Absolute), Undefined::ZeroVariance);
    assert_eq!(reason(of(proportion(10, 0), proportion(10, 3)), Relative), Undefined::ZeroBaseline);
    assert_eq!(reason(of(proportion(10, 3), proportion(10, 0)), Relative), Undefined::ZeroVariance);
    assert_eq!(reason(of(proportion(10, 11), proportion(10, 3)), Absolute), Undefined::Inconsistent);
    let mean = |n, sum: I256, sum_sq: I256| ArmMoments { n, sum, sum_sq, scale: Scale::Millionths };
    let fine = mean(3, I256::new(3), I256::new(5));
    let impossible = mean(3, I256::new(30), I256::new(5));
    assert_eq!(reason(Pair::of_means(&fine, &impossible), Absolute), Undefined::Inconsistent);
    let huge = mean(3, I256::MAX, I256::MAX);
    assert_eq!(reason(Pair::of_means(&fine, &huge), Absolute), Undefined::OutOfRange);
}

#[test]
fn a_ratio_to_one_per_user_is_the_mean() {
    let values = [3i64, 0, 7, 7, 1_000_001, 12];
    let ratio = |values: &[i64]| {
        let arm = arm_of(values);
        let n = I256::from(arm.n);
        RatioArm {
            n: arm.n,
            numerator: arm.sum,
            numerator_sq: arm.sum_sq,
            denominator: n,
            denominator_sq: n,
            product: arm.sum,
            numerator_scale: Scale::Millionths,
            denominator_scale: Scale::Ones,
        }
    };
    let other = [5i64, 5, 5, 9_000_000];
    let by_ratio = Pair::of_ratios(&ratio(&values), &ratio(&other)).unwrap();
    let by_mean = Pair::of_means(&arm_of(&values), &arm_of(&other)).unwrap();
    assert!(close(by_ratio.difference, by_mean.difference));
    assert!(close(by_ratio.treatment.unit_variance, by_mean.treatment.unit_variance));
    // The numerator proportional to the denominator: no noise at all, not a rounded one.
    let proportional = RatioArm {
        numerator: I256::from(3 * 7u32),
        numerator_sq: I256::from(9 * 21u32),
        denominator: I256::from(7u32),
        denominator_sq: I256::from(21u32),
        product: I256::from(3 * 21u32),
        n: 3,
        numerator_scale: Scale::Ones,
        denominator_scale: Scale::Ones,
    };
    assert_eq!(proportional.variance(), Ok(0.0));
    assert_eq!(RatioArm { denominator: I256::ZERO, ..proportional }.ratio(), Err(Undefined::ZeroDenominator));
}

#[test]
fn a_zero_baseline_leaves_the_absolute_effect() {
    let pair = Pair::of_proportions(&proportion(1000, 0), &proportion(1000, 7)).unwrap();
    let test = tested(&pair, Measure::Absolute).unwrap();
    assert_eq!(test.effect, 0.007);
    assert_eq!(test.flags, [Flag::LowData]);
    assert!(close(test.dof, 999.0));
}

#[test]
fn a_baseline_near_zero_is_flagged() {
    let around_zero: Vec<i64> = (-50..52).collect();
    let above: Vec<i64> = (0..100).collect();
    let relative = test_means(&around_zero, &above, Measure::Relative).unwrap();
    assert_eq!(relative.flags, [Flag::UnstableBaseline]);
    assert!(test_means(&around_zero, &above, Measure::Absolute).unwrap().flags.is_empty());
}

#[test]
fn no_effect_is_p_one_and_a_huge_one_is_not_zero() {
    let same = Pair::of_proportions(&proportion(2000, 240), &proportion(2000, 240)).unwrap();
    let test = tested(&same, Measure::Relative).unwrap();
    assert_eq!((test.p_value, test.ln_p_value, test.p_value_greater, test.t_statistic), (1.0, 0.0, 0.5, 0.0));
    let far =
        Pair::of_proportions(&proportion(10_000_000, 1_000_000), &proportion(10_000_000, 9_000_000)).unwrap();
    let test = tested(&far, Measure::Absolute).unwrap();
    assert!(test.p_value > 0.0 && test.ln_p_value < -1e6, "{test:?}");
}

#[test]
fn srm_edges() {
    let arm = |observed, weight| SrmArm { observed, weight };
    assert_eq!(srm(&[vec![arm(0, 1.0), arm(0, 1.0)]], alpha()), Err(Undefined::NoUnits));
    assert_eq!(srm(&[vec![arm(9, 1.0), arm(0, 0.0)]], alpha()), Err(Undefined::TooFewArms));
    assert_eq!(srm(&[vec![arm(9, f64::NAN), arm(0, 1.0)]], alpha()), Err(Undefined::Inconsistent));
    assert_eq!(srm(&[vec![arm(9, 1.0), arm(9, 1.0), arm(1, 0.0)]], alpha()), Ok(Srm::CertainMismatch));
    // Few users: numbers with a flag, and no alarm.
    let Srm::Tested(few) = srm(&[vec![arm(9, 1.0), arm(0, 1.0)]], alpha()).unwrap() else { panic!() };
    assert_eq!((few.mismatch, few.flags.as_slice()), (false, [Flag::LowData].as_slice()));
    assert!(few.p_value < 0.05);
    // Two periods with different weights, each as planned: merged they would look wrong.
    let periods = [vec![arm(9000, 9.0), arm(1000, 1.0)], vec![arm(5000, 1.0), arm(5000, 1.0)]];
    let Srm::Tested(both) = srm(&periods, alpha()).unwrap() else { panic!() };
    assert_eq!((both.chi_square, both.dof, both.p_value, both.mismatch), (0.0, 2, 1.0, false));
}
