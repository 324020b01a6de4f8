//! Several tests at once, and effects averaged over cells: what must hold for any numbers.

use analyzer::metric::sums::{Cell, Sums};
use analyzer::stats::Undefined;
use analyzer::stats::arms::{ArmMoments, Pair, ProportionArm, Scale};
use analyzer::stats::bayes::Better;
use analyzer::stats::effect::{Measure, effect};
use analyzer::stats::margin::non_inferiority;
use analyzer::stats::multiple::{benjamini_hochberg, holm};
use analyzer::stats::strata::post_stratified;
use analyzer::stats::{Alpha, welch::welch};
use ethnum::I256;
use proptest::collection::vec;
use proptest::prelude::*;

fn p_value() -> impl Strategy<Value = f64> {
    prop_oneof![0.0f64..=1.0, Just(0.0), Just(1.0), Just(1e-300), Just(0.05)]
}

/// Values of control and treatment.
type Arms = (Vec<i64>, Vec<i64>);

fn mean_arm(values: &[i64]) -> ArmMoments {
    ArmMoments {
        n: values.len() as u64,
        sum: values.iter().map(|&v| I256::from(v)).sum(),
        sum_sq: values.iter().map(|&v| I256::from(v) * I256::from(v)).sum(),
        scale: Scale::Millionths,
    }
}

fn values() -> impl Strategy<Value = Vec<i64>> {
    vec(-1_000_000i64..9_000_000, 3..30)
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn adjusting_keeps_the_order_and_never_helps(ps in vec(p_value(), 0..20)) {
        let (holm, bh) = (holm(&ps), benjamini_hochberg(&ps));
        prop_assert_eq!((holm.len(), bh.len()), (ps.len(), ps.len()));
        for (i, p) in ps.iter().enumerate() {
            prop_assert!(*p <= bh[i] && bh[i] <= holm[i] && holm[i] <= 1.0);
            prop_assert!(holm[i] <= (ps.len() as f64 * p).min(1.0).max(holm.iter().copied().fold(0.0, f64::max)));
            for (j, q) in ps.iter().enumerate() {
                prop_assert!(p > q || holm[i] <= holm[j] && bh[i] <= bh[j]);
            }
        }
        // The least one is Bonferroni's.
        if let Some(least) = ps.iter().copied().reduce(f64::min) {
            let adjusted = holm.iter().copied().fold(1.0, f64::min);
            prop_assert_eq!(adjusted, (ps.len() as f64 * least).min(1.0));
        }
    }

    #[test]
    fn the_order_of_tests_does_not_matter(ps in vec(p_value(), 1..15), turn in 0usize..15) {
        let mut turned = ps.clone();
        turned.rotate_left(turn % ps.len());
        let mut expected = holm(&ps);
        expected.rotate_left(turn % ps.len());
        prop_assert_eq!(holm(&turned), expected);
        let mut expected = benjamini_hochberg(&ps);
        expected.rotate_left(turn % ps.len());
        prop_assert_eq!(benjamini_hochberg(&turned), expected);
    }

    /// Passing the margin is the bound beyond it; a margin of none is the one-sided test of Welch.
    #[test]
    fn margins_and_bounds_say_the_same(a in values(), b in values(), margin in -0.5f64..0.5) {
        let alpha = Alpha::new(0.05).unwrap();
        let pair = Pair::of_means(&mean_arm(&a), &mean_arm(&b));
        let Ok(e) = pair.and_then(|pair| effect(&pair, Measure::Relative)) else { return Ok(()) };
        let test = welch(&e, alpha).unwrap();
        let higher = non_inferiority(&e, margin, Better::Higher, alpha).unwrap();
        let lower = non_inferiority(&e, margin, Better::Lower, alpha).unwrap();
        let clear = |bound: f64| (bound - margin).abs() > 1e-9 * e.variance.sqrt();
        prop_assert!(!clear(higher.lower_bound) || higher.non_inferior == (higher.lower_bound > margin));
        prop_assert!(!clear(lower.upper_bound) || lower.non_inferior == (lower.upper_bound < margin));
        prop_assert_eq!((higher.lower_bound, higher.upper_bound), (test.lower_bound, test.upper_bound));
        prop_assert!((higher.p_value + lower.p_value - 1.0).abs() < 1e-9);
        let none = non_inferiority(&e, 0.0, Better::Higher, alpha).unwrap();
        prop_assert!((none.p_value - test.p_value_greater).abs() <= 1e-12 * (1.0 + none.p_value));
    }

    #[test]
    fn one_cell_is_the_plain_effect_and_many_are_their_average(
        cells in vec((values(), values()), 1..6), factor in 2i64..50,
    ) {
        let of = |by: i64| {
            let times = |values: &[i64]| values.iter().map(|v| v * by).collect::<Vec<_>>();
            let arms: Vec<Arms> = cells.iter().map(|(a, b)| (times(a), times(b))).collect();
            let cell = |(a, b): &Arms| Cell {
                control: Sums::Mean(mean_arm(a)), treatment: Sums::Mean(mean_arm(b)),
            };
            let all = |side: fn(&Arms) -> &Vec<i64>| mean_arm(&arms.iter().flat_map(side).copied().collect::<Vec<i64>>());
            let whole = Pair::of_means(&all(|c| &c.0), &all(|c| &c.1)).unwrap();
            (arms.iter().map(cell).collect::<Vec<Cell>>(), whole)
        };
        for measure in [Measure::Absolute, Measure::Relative] {
            let ((once, whole), (larger, larger_whole)) = (of(1), of(factor));
            match (post_stratified(once.clone(), &whole, measure), post_stratified(larger, &larger_whole, measure)) {
                (Ok(x), Ok(y)) => {
                    let unit = if measure == Measure::Absolute { factor as f64 } else { 1.0 };
                    prop_assert!((x.estimate * unit - y.estimate).abs() <= 1e-9 * (y.estimate.abs() + y.variance.sqrt()));
                    prop_assert!((x.variance * unit * unit / y.variance - 1.0).abs() < 1e-9);
                    if cells.len() == 1 {
                        prop_assert_eq!(&x, &effect(&whole, measure).unwrap());
                    } else if measure == Measure::Absolute && once.iter().all(varies) {
                        let n: usize = cells.iter().map(|(a, b)| a.len() + b.len()).sum();
                        let mean = |v: &[i64]| v.iter().sum::<i64>() as f64 / v.len() as f64 / 1e6;
                        let average: f64 = cells
                            .iter()
                            .map(|(a, b)| (a.len() + b.len()) as f64 / n as f64 * (mean(b) - mean(a)))
                            .sum();
                        prop_assert!((x.estimate - average).abs() < 1e-9);
                    }
                }
                (x, y) => prop_assert_eq!(x.err(), y.err()),
            }
        }
    }
}

fn varies(cell: &Cell) -> bool {
    [cell.control, cell.treatment].iter().all(|arm| arm.variance().is_ok_and(|v| v > 0.0))
}

#[test]
fn cells_that_cannot_stand_alone_join_the_largest() {
    let arm = |n, converters| Sums::Proportion(ProportionArm { n, converters });
    let large = Cell { control: arm(1000, 100), treatment: arm(1000, 120) };
    let other = Cell { control: arm(400, 80), treatment: arm(380, 90) };
    let constant = Cell { control: arm(40, 0), treatment: arm(50, 3) };
    let empty = Cell { control: arm(10, 2), treatment: arm(0, 0) };
    let whole = Pair::of_proportions(
        &ProportionArm { n: 1450, converters: 182 },
        &ProportionArm { n: 1430, converters: 213 },
    )
    .unwrap();
    let merged = Cell { control: arm(1050, 102), treatment: arm(1050, 123) };
    for measure in [Measure::Absolute, Measure::Relative] {
        let apart = post_stratified(vec![constant, large, empty, other], &whole, measure).unwrap();
        assert_eq!(apart, post_stratified(vec![merged, other], &whole, measure).unwrap());
    }
    let nobody = Cell { control: arm(0, 0), treatment: arm(0, 0) };
    let none = post_stratified(vec![nobody, nobody], &whole, Measure::Absolute);
    assert_eq!(none, Err(Undefined::NoUnits));
}
