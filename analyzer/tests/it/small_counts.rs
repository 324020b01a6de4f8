//! Small counts and unstable baselines: against counting by brute force, and what must hold for any arms.

use analyzer::stats::arms::{ArmMoments, Pair, ProportionArm, Scale};
use analyzer::stats::effect::{Measure, effect};
use analyzer::stats::fieller::fieller;
use analyzer::stats::small_counts::{SmallCounts, small_counts};
use analyzer::stats::{Alpha, Undefined};
use ethnum::I256;
use proptest::prelude::*;

fn arm(n: u64, converters: u64) -> ProportionArm {
    ProportionArm { n, converters }
}

fn tested(a: (u64, u64), b: (u64, u64)) -> Result<SmallCounts, Undefined> {
    small_counts(&arm(a.0, a.1), &arm(b.0, b.1), Alpha::new(0.05).unwrap())
}

/// n choose k, exact for n <= 60.
fn choose(n: u64, k: u64) -> u128 {
    (1..=k).fold(1u128, |c, i| c * u128::from(n - k + i) / u128::from(i))
}

/// Fisher's p by adding up tables in integers.
fn fisher_by_counting((n_a, x): (u64, u64), (n_b, y): (u64, u64)) -> f64 {
    let tables = |k: u64| choose(n_a, k) * choose(n_b, x + y - k);
    let all = (x + y).saturating_sub(n_b)..=(x + y).min(n_a);
    let observed = tables(x);
    let extreme: u128 = all.map(tables).filter(|t| *t <= observed).sum();
    extreme as f64 / choose(n_a + n_b, x + y) as f64
}

fn arms(most: u64) -> impl Strategy<Value = (u64, u64)> {
    (1..=most).prop_flat_map(|n| (Just(n), 0..=n))
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn fisher_counts_every_table_that_is_no_more_probable(a in arms(25), b in arms(25)) {
        let (got, expected) = (tested(a, b).unwrap().p_value, fisher_by_counting(a, b));
        prop_assert!((got / expected - 1.0).abs() < 1e-9, "{got} {expected}");
    }

    #[test]
    fn intervals_hold_their_estimates_and_stay_possible(a in arms(3_000_000), b in arms(50)) {
        let t = tested(a, b).unwrap();
        for (interval, rate) in [(t.wilson_control, a.1 as f64 / a.0 as f64), (t.wilson_treatment, b.1 as f64 / b.0 as f64)] {
            prop_assert!(0.0 <= interval[0] && interval[0] <= rate && rate <= interval[1] && interval[1] <= 1.0);
            prop_assert!(interval[0] < interval[1]);
        }
        prop_assert!(-1.0 <= t.ci[0] && t.ci[0] <= t.effect && t.effect <= t.ci[1] && t.ci[1] <= 1.0, "{t:?}");
        prop_assert!(t.p_value > 0.0 && t.p_value <= 1.0 && t.ln_p_value <= 0.0);
        prop_assert!(t.pooled_z.is_none_or(f64::is_finite));
    }

    #[test]
    fn swapping_arms_mirrors_small_counts(a in arms(400), b in arms(60)) {
        let (x, y) = (tested(a, b).unwrap(), tested(b, a).unwrap());
        prop_assert!((x.effect + y.effect).abs() < 1e-15 && (x.ci[0] + y.ci[1]).abs() < 1e-14);
        prop_assert!((x.ln_p_value - y.ln_p_value).abs() < 1e-9);
        // And so does calling a conversion a failure.
        let failed = tested((a.0, a.0 - a.1), (b.0, b.0 - b.1)).unwrap();
        prop_assert!((x.ci[0] + failed.ci[1]).abs() < 1e-12 && (x.ln_p_value - failed.ln_p_value).abs() < 1e-9);
    }

    #[test]
    fn fieller_holds_the_estimate_and_knows_no_unit(
        a in proptest::collection::vec(-1_000_000i64..5_000_000, 2..60),
        b in proptest::collection::vec(-1_000_000i64..5_000_000, 2..60),
        factor in 2i64..1000,
    ) {
        let of = |values: &[i64], by: i64| ArmMoments {
            n: values.len() as u64,
            sum: values.iter().map(|v| I256::from(v * by)).sum(),
            sum_sq: values.iter().map(|v| I256::from(v * by) * I256::from(v * by)).sum(),
            scale: Scale::Millionths,
        };
        let interval = |by| {
            let pair = Pair::of_means(&of(&a, by), &of(&b, by))?;
            let relative = effect(&pair, Measure::Relative)?;
            Ok::<_, Undefined>((relative.estimate, fieller(&pair, 1.96)?))
        };
        match (interval(1), interval(factor)) {
            (Ok((estimate, ci)), Ok((_, same))) => {
                prop_assert!(ci[0] <= estimate && estimate <= ci[1], "{estimate} {ci:?}");
                for side in 0..2 {
                    prop_assert!((ci[side] - same[side]).abs() <= 1e-9 * (1.0 + ci[side].abs()));
                }
                // Turning the sign of everything turns nothing: up is still up.
                let turned = Pair::of_means(&of(&a, -1), &of(&b, -1)).unwrap();
                let mirrored = fieller(&turned, 1.96).unwrap();
                prop_assert!((mirrored[0] + ci[1]).abs() <= 1e-9 * (1.0 + ci[1].abs()));
            }
            (x, y) => prop_assert_eq!(x.err(), y.err()),
        }
    }
}

#[test]
fn fisher_is_quick_and_finite_for_counts_of_any_size() {
    let t = tested((5_000_000, 3), (5_000_000, 2_500_000)).unwrap();
    assert!(t.ln_p_value < -1e6 && t.p_value > 0.0, "{t:?}");
    assert_eq!(tested((3_000_000, 1_000_000), (3_000_000, 1_000_000)).unwrap().p_value, 1.0);
    let even = tested((4_000_000, 2_000_000), (4_000_000, 2_002_000)).unwrap();
    // With millions it is the pooled z test, short of its continuity.
    assert!((even.p_value / even.p_pooled_z.unwrap() - 1.0).abs() < 0.01, "{even:?}");
}

#[test]
fn reasons_of_small_counts_are_typed() {
    assert_eq!(tested((0, 0), (10, 1)).unwrap_err(), Undefined::NoUnits);
    assert_eq!(tested((10, 1), (10, 11)).unwrap_err(), Undefined::Inconsistent);
    assert!(tested((1, 1), (1, 0)).is_ok());
}

#[test]
fn fieller_agrees_with_the_delta_method_where_the_baseline_is_sure() {
    let pair = Pair::of_proportions(&arm(1_000_000, 200_000), &arm(1_000_000, 201_000)).unwrap();
    let relative = effect(&pair, Measure::Relative).unwrap();
    let half = 1.96 * relative.variance.sqrt();
    let ci = fieller(&pair, 1.96).unwrap();
    assert!((ci[0] - (relative.estimate - half)).abs() < 0.01 * half);
    assert!((ci[1] - (relative.estimate + half)).abs() < 0.01 * half);
    let unsure = Pair::of_proportions(&arm(60, 2), &arm(60, 6)).unwrap();
    assert_eq!(fieller(&unsure, 1.96), Err(Undefined::Unbounded));
}
