//! Posteriors: against integrals that were taken another way, and what must hold for any arms.

use analyzer::stats::Alpha;
use analyzer::stats::arms::{Pair, ProportionArm};
use analyzer::stats::bayes::{Better, Posterior, Prior, posterior};
use analyzer::stats::best::{Candidate, Chance, best};
use analyzer::stats::beta_binomial::{BetaBinomial, beta_binomial};
use analyzer::stats::effect::{Effect, Measure, effect};
use analyzer::stats::{Undefined, normal};
use proptest::collection::vec;
use proptest::prelude::*;
use statrs::function::gamma::ln_gamma;

fn arm(n: u64, converters: u64) -> ProportionArm {
    ProportionArm { n, converters }
}

fn exact(a: (u64, u64), b: (u64, u64), better: Better) -> BetaBinomial {
    beta_binomial(&arm(a.0, a.1), &arm(b.0, b.1), better).unwrap()
}

fn arms(most: u64) -> impl Strategy<Value = (u64, u64)> {
    (1..=most).prop_flat_map(|n| (Just(n), 0..=n))
}

/// Chance to win and expected losses over a plain grid of both rates.
fn by_grid(a: (u64, u64), b: (u64, u64)) -> [f64; 3] {
    const STEPS: usize = 20_000;
    let density = |(n, won): (u64, u64)| -> Vec<f64> {
        let (won, lost) = (won as f64, (n - won) as f64);
        let ln_b = ln_gamma(won + 1.0) + ln_gamma(lost + 1.0) - ln_gamma(n as f64 + 2.0);
        let at = |i: usize| (i as f64 + 0.5) / STEPS as f64;
        (0..STEPS)
            .map(|i| (won * at(i).ln() + lost * (1.0 - at(i)).ln() - ln_b).exp() / STEPS as f64)
            .collect()
    };
    let (a, b) = (density(a), density(b));
    let [mut win, mut keeping, mut shipping] = [0.0; 3];
    let (mut below_a, mut below_b, mut moment_a, mut moment_b) = (0.0, 0.0, 0.0, 0.0);
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let x = (i as f64 + 0.5) / STEPS as f64;
        win += b * (below_a + 0.5 * a);
        keeping += b * (x * below_a - moment_a);
        shipping += a * (x * below_b - moment_b);
        (below_a, below_b) = (below_a + a, below_b + b);
        (moment_a, moment_b) = (moment_a + a * x, moment_b + b * x);
    }
    [win, keeping, shipping]
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let candidate = (-3.0f64..3.0, -4i32..2).prop_map(|(mean, e)| Candidate { mean, stddev: 10f64.powi(e) });
    vec(candidate, 2..8)
}

fn effect_of(a: (u64, u64), b: (u64, u64), measure: Measure) -> Result<Effect, Undefined> {
    effect(&Pair::of_proportions(&arm(a.0, a.1), &arm(b.0, b.1))?, measure)
}

fn finite(p: &Posterior) -> bool {
    let Posterior {
        posterior_mean,
        posterior_stddev,
        chance_to_win,
        ln_chance_to_lose,
        ci,
        risk_control,
        risk_treatment,
    } = p;
    [
        posterior_mean,
        posterior_stddev,
        chance_to_win,
        ln_chance_to_lose,
        &ci[0],
        &ci[1],
        risk_control,
        risk_treatment,
    ]
    .iter()
    .all(|v| v.is_finite())
}

proptest! {
    #![proptest_config(crate::cases(200))]

    #[test]
    fn the_exact_posterior_is_that_of_a_grid(a in arms(300), b in arms(300)) {
        let (got, [win, keeping, shipping]) = (exact(a, b, Better::Higher), by_grid(a, b));
        prop_assert!((got.chance_to_win - win).abs() < 1e-4, "{got:?} {win}");
        prop_assert!((got.risk_control - keeping).abs() < 1e-4, "{got:?} {keeping}");
        prop_assert!((got.risk_treatment - shipping).abs() < 1e-4, "{got:?} {shipping}");
    }

    #[test]
    fn one_of_two_rates_is_better(a in arms(100_000), b in arms(100_000)) {
        let (up, down, swapped) = (exact(a, b, Better::Higher), exact(a, b, Better::Lower), exact(b, a, Better::Higher));
        prop_assert!((up.chance_to_win + down.chance_to_win - 1.0).abs() < 1e-8, "{up:?} {down:?}");
        prop_assert_eq!(down.chance_to_win, swapped.chance_to_win);
        prop_assert_eq!((up.risk_control, up.risk_treatment), (down.risk_treatment, down.risk_control));
        prop_assert_eq!((up.risk_control, up.risk_treatment), (swapped.risk_treatment, swapped.risk_control));
        prop_assert!(up.risk_control >= 0.0 && up.risk_control <= 1.0);
    }

    #[test]
    fn one_of_several_arms_is_best(arms in candidates(), shift in -1e3f64..1e3, factor in 0.01f64..100.0) {
        let chances = best(&arms, Better::Higher).unwrap();
        let total: f64 = chances.iter().map(|c| c.best).sum();
        prop_assert!((total - 1.0).abs() < 1e-10, "{chances:?}");
        prop_assert!(chances.iter().all(|c| c.best >= 0.0 && c.expected_loss >= 0.0));
        // Losses differ as the means do.
        for (x, y) in arms.iter().zip(&chances) {
            let apart = (x.mean + y.expected_loss) - (arms[0].mean + chances[0].expected_loss);
            prop_assert!(apart.abs() < 1e-9, "{arms:?} {chances:?}");
        }
        let moved: Vec<_> = arms
            .iter()
            .map(|c| Candidate { mean: -(c.mean + shift) * factor, stddev: c.stddev * factor })
            .collect();
        for (x, y) in chances.iter().zip(best(&moved, Better::Lower).unwrap()) {
            prop_assert!((x.best - y.best).abs() < 1e-6 && (x.expected_loss * factor - y.expected_loss).abs() < 1e-6 * factor);
        }
    }

    /// K = 2 is the chance to win and the risks of the normal posterior without a prior.
    #[test]
    fn the_better_of_two_is_the_one_that_wins(a in (50u64..5000, 1u64..49), b in (50u64..5000, 1u64..49)) {
        let e = effect_of(a, b, Measure::Absolute).unwrap();
        let p = posterior(&e, None, Better::Higher, Alpha::new(0.05).unwrap()).unwrap();
        let candidate = |(n, x): (u64, u64)| {
            let rate = x as f64 / n as f64;
            Candidate { mean: rate, stddev: (rate * (1.0 - rate) / n as f64).sqrt() }
        };
        let [control, treatment]: [Chance; 2] = best(&[candidate(a), candidate(b)], Better::Higher).unwrap().try_into().unwrap();
        prop_assert!((treatment.best - p.chance_to_win).abs() < 1e-10, "{treatment:?} {p:?}");
        prop_assert!((treatment.expected_loss - p.risk_treatment).abs() < 1e-10 * (1.0 + p.risk_treatment));
        prop_assert!((control.expected_loss - p.risk_control).abs() < 1e-10 * (1.0 + p.risk_control));
    }

    #[test]
    fn a_posterior_lies_between_the_data_and_the_prior(
        a in arms(100_000), b in arms(100_000), mean in -0.5f64..0.5, ln_sd in -20.0f64..2.0,
    ) {
        let prior = Prior { mean, stddev: ln_sd.exp() };
        for measure in [Measure::Absolute, Measure::Relative] {
            let Ok(e) = effect_of(a, b, measure) else { continue };
            for given in [None, Some(prior)] {
                let Ok(p) = posterior(&e, given, Better::Higher, Alpha::new(0.1).unwrap()) else { continue };
                prop_assert!(finite(&p), "{p:?}");
                let scale = if measure == Measure::Absolute { e.baseline.abs() } else { 1.0 };
                let middle = given.map_or(e.estimate, |p| p.mean * scale);
                let (low, high) = (e.estimate.min(middle), e.estimate.max(middle));
                let slack = 1e-9 * (low.abs() + high.abs());
                prop_assert!(low - slack <= p.posterior_mean && p.posterior_mean <= high + slack);
                prop_assert!(p.posterior_stddev <= e.variance.sqrt() * (1.0 + 1e-12));
                // The means of both risks differ by the posterior mean.
                prop_assert!((p.risk_control - p.risk_treatment - p.posterior_mean).abs() <= 1e-9 * (p.posterior_stddev + p.posterior_mean.abs()));
                let other = posterior(&e, given, Better::Lower, Alpha::new(0.1).unwrap()).unwrap();
                prop_assert_eq!((p.risk_control, p.ci), (other.risk_treatment, other.ci));
            }
        }
    }
}

#[test]
fn with_many_conversions_the_exact_posterior_is_the_normal_one() {
    let (a, b) = ((4_000_000, 1_000_000), (4_000_000, 1_001_000));
    let e = effect_of(a, b, Measure::Absolute).unwrap();
    let p = posterior(&e, None, Better::Higher, Alpha::new(0.05).unwrap()).unwrap();
    let x = exact(a, b, Better::Higher);
    assert!((x.chance_to_win - p.chance_to_win).abs() < 1e-6, "{x:?} {p:?}");
    assert!((x.risk_treatment / p.risk_treatment - 1.0).abs() < 1e-4, "{x:?} {p:?}");
}

#[test]
fn nobody_converted_is_even_odds_and_not_certainty() {
    let x = exact((1000, 0), (1000, 0), Better::Higher);
    assert!((x.chance_to_win - 0.5).abs() < 1e-12, "{x:?}");
    assert!((x.risk_control - x.risk_treatment).abs() < 1e-15 && x.risk_control > 0.0);
    assert_eq!(beta_binomial(&arm(0, 0), &arm(5, 1), Better::Higher), Err(Undefined::NoUnits));
    assert_eq!(beta_binomial(&arm(5, 6), &arm(5, 1), Better::Higher), Err(Undefined::Inconsistent));
}

#[test]
fn a_certain_win_keeps_its_risk() {
    // The closed form, where a difference of two numbers would be zero.
    let arms = [Candidate { mean: 0.0, stddev: 1.0 }, Candidate { mean: 8.0, stddev: 1e-3 }];
    let chances = best(&arms, Better::Higher).unwrap();
    let apart = 1f64.hypot(1e-3);
    let expected = normal::loss(8.0 / apart) * apart;
    assert!((chances[1].expected_loss / expected - 1.0).abs() < 1e-9, "{chances:?} {expected:e}");
    assert_eq!(best(&arms[..1], Better::Higher), Err(Undefined::TooFewArms));
    let constant = [arms[0], Candidate { mean: 1.0, stddev: 0.0 }];
    assert_eq!(best(&constant, Better::Higher), Err(Undefined::ZeroVariance));
}
