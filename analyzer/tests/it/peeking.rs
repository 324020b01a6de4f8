//! What looking does to the probability of a false positive: 100 looks at experiments without any effect.

use crate::random::{Rng, interval_99};
use analyzer::stats::arms::{Pair, ProportionArm};
use analyzer::stats::effect::{Effect, Measure, effect};
use analyzer::stats::group_sequential::{boundaries, looks};
use analyzer::stats::sequential::{sequential, tuned_to};
use analyzer::stats::welch::welch;
use analyzer::stats::{Alpha, sequential::one_sided};

const ALPHA: f64 = 0.05;
const LOOKS: u32 = 100;
/// New users of each arm at each look.
const STEP: u32 = 100;

/// Effects at every look of one experiment whose arms convert at these rates.
fn experiment(rng: &mut Rng, rates: [f64; 2], measure: Measure) -> Vec<Effect> {
    let mut arms = [ProportionArm { n: 0, converters: 0 }; 2];
    let mut seen = Vec::with_capacity(LOOKS as usize);
    for _ in 0..LOOKS {
        for (arm, rate) in arms.iter_mut().zip(rates) {
            arm.n += u64::from(STEP);
            arm.converters += (0..STEP).map(|_| u64::from(rng.unit() < rate)).sum::<u64>();
        }
        seen.push(effect(&Pair::of_proportions(&arms[0], &arms[1]).unwrap(), measure).unwrap());
    }
    seen
}

#[test]
fn looking_costs_the_sequence_nothing_and_the_fixed_test_its_level() {
    let alpha = Alpha::new(ALPHA).unwrap();
    let rho_squared = tuned_to(5_000.0, alpha);
    let mut rng = Rng::new(2026);
    let (runs, mut always_valid, mut upper, mut fixed, mut planned) = (2000, 0, 0, 0, 0);
    for _ in 0..runs {
        let seen = experiment(&mut rng, [0.2, 0.2], Measure::Relative);
        let rejects = |e: &&Effect| sequential(e, rho_squared, alpha).unwrap().ln_p_value < ALPHA.ln();
        always_valid += u32::from(seen.iter().any(|e| rejects(&e)));
        upper += u32::from(seen.iter().any(|e| e.estimate - one_sided(e, 5_000.0, alpha).unwrap() > 0.0));
        fixed += u32::from(seen.iter().any(|e| welch(e, alpha).unwrap().p_value < ALPHA));
        planned += u32::from(seen.last().is_some_and(|e| welch(e, alpha).unwrap().p_value < ALPHA));
    }
    for (found, what) in [(always_valid, "two-sided"), (upper, "one-sided")] {
        let [_, high] = interval_99(found, runs);
        assert!(high < ALPHA + 0.01, "{what}: {found} of {runs}");
        assert!(found > 0, "{what}: a sequence that never errs is not looking");
    }
    let [low, _] = interval_99(fixed, runs);
    assert!(low > 3.0 * ALPHA, "the fixed test with looks: {fixed} of {runs}");
    let [low, high] = interval_99(planned, runs);
    assert!(low <= ALPHA && ALPHA <= high, "the fixed test at its planned size: {planned} of {runs}");
}

#[test]
fn planned_looks_keep_the_level_and_nearly_the_power_of_one_test() {
    let alpha = Alpha::new(ALPHA).unwrap();
    let taken = [20, 40, 60, 80, 100].map(|look: u64| look * 2 * u64::from(STEP));
    let bounds = boundaries(&looks(&taken, taken[4], alpha)).unwrap();
    let crosses = |seen: &[Effect]| {
        let at = |users: u64| seen.iter().find(|e| e.users.iter().sum::<u64>() == users).unwrap();
        taken.iter().zip(&bounds).any(|(users, z)| {
            let e = at(*users);
            e.estimate.abs() >= z * e.variance.sqrt()
        })
    };
    let mut rng = Rng::new(7);
    let (runs, mut false_positives) = (8000, 0);
    for _ in 0..runs {
        false_positives += u32::from(crosses(&experiment(&mut rng, [0.2, 0.2], Measure::Absolute)));
    }
    let [low, high] = interval_99(false_positives, runs);
    assert!(high < ALPHA + 0.01 && low <= ALPHA, "{false_positives} of {runs}");
    let (runs, mut found, mut at_the_end) = (1000, 0, 0);
    for _ in 0..runs {
        let seen = experiment(&mut rng, [0.2, 0.216], Measure::Absolute);
        found += u32::from(crosses(&seen));
        at_the_end += u32::from(welch(&seen[99], alpha).unwrap().p_value < ALPHA);
    }
    assert!(found + runs / 20 > at_the_end && at_the_end > runs / 2, "{found} and {at_the_end} of {runs}");
}
