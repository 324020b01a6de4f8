//! Adjusting by the time before the exposure: against plain regression on raw values, what must hold for any users, and
//! no bias with clocks that are wrong and users who come at different times.

use crate::random::{Rng, interval_99};
use analyzer::known::Arms;
use analyzer::metric::adjusted::Unavailable;
use analyzer::metric::contrast::Contrast;
use analyzer::stats::arms::{ArmMoments, Pair, Scale};
use analyzer::stats::cuped::{Adjusted, Columns, Divisor, adjust};
use analyzer::stats::effect::{Measure, effect};
use analyzer::stats::welch::welch;
use analyzer::stats::{Alpha, Undefined};
use domain::definition::Definition;
use domain::fold::{self, Fact, Seen};
use domain::{Day, Decimal, ExperimentId, Moments, Plan, Timestamp, Unit};
use ethnum::I256;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

/// A user: the outcome, then covariates.
type User = Vec<i64>;

fn columns(users: &[User]) -> Columns {
    let k = users[0].len();
    let sum = |of: &dyn Fn(&User) -> I256| users.iter().map(of).sum::<I256>();
    Columns {
        n: users.len() as u64,
        scales: vec![Scale::Millionths; k],
        sums: (0..k).map(|i| sum(&|u| I256::from(u[i]))).collect(),
        products: (0..k)
            .map(|i| (0..=i).map(|j| sum(&|u| I256::from(u[i]) * I256::from(u[j]))).collect())
            .collect(),
    }
}

fn adjusted(a: &[User], b: &[User]) -> Result<(Pair, Adjusted), Undefined> {
    let (control, treatment) = (columns(a), columns(b));
    let of =
        |c: &Columns| ArmMoments { n: c.n, sum: c.sums[0], sum_sq: c.products[0][0], scale: c.scales[0] };
    let pair = Pair::of_means(&of(&control), &of(&treatment))?;
    Ok((pair, adjust(&pair, &control, &treatment, Divisor::Sample)?))
}

fn estimate(of: &Adjusted) -> Result<(f64, f64), Undefined> {
    of.effect(Measure::Absolute).map(|e| (e.estimate, e.variance))
}

fn users(covariates: usize) -> impl Strategy<Value = Vec<User>> {
    vec(vec(-3_000_000i64..9_000_000, covariates + 1), 8..40)
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    values.sum::<f64>() / n
}

/// Sample variance of y - theta' x over raw values.
fn residual_variance(users: &[User], theta: &[f64]) -> f64 {
    let residuals: Vec<f64> = users.iter().map(|u| residual(u, theta)).collect();
    let middle = mean(residuals.iter().copied());
    residuals.iter().map(|r| (r - middle) * (r - middle)).sum::<f64>() / (residuals.len() - 1) as f64
}

fn residual(user: &User, theta: &[f64]) -> f64 {
    (user[0] as f64 - user[1..].iter().zip(theta).map(|(x, t)| *x as f64 * t).sum::<f64>()) / 1e6
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale.abs().max(a.abs()).max(b.abs())
}

proptest! {
    #![proptest_config(crate::cases(300))]

    /// The residuals of raw values have the adjusted mean and variance, and no theta nearby leaves less of them.
    #[test]
    fn the_adjustment_is_least_squares_on_raw_values(a in users(3), b in users(3)) {
        let (pair, adjusted) = adjusted(&a, &b).unwrap();
        let (difference, _) = estimate(&adjusted).unwrap();
        let mean_of = |users: &[User]| mean(users.iter().map(|u| residual(u, &adjusted.theta)).collect::<Vec<_>>().into_iter());
        let spread = pair.control.unit_variance.sqrt();
        prop_assert!(close(difference, mean_of(&b) - mean_of(&a), spread));
        prop_assert!(close(adjusted.variances[0], residual_variance(&a, &adjusted.theta), pair.control.unit_variance));
        prop_assert!(close(adjusted.variances[1], residual_variance(&b, &adjusted.theta), pair.treatment.unit_variance));
        let both: Vec<User> = a.iter().chain(&b).cloned().collect();
        let best = residual_variance(&both, &adjusted.theta);
        for i in 0..3 {
            for step in [-1e-3, 1e-3] {
                let mut other = adjusted.theta.clone();
                other[i] += step;
                prop_assert!(residual_variance(&both, &other) >= best * (1.0 - 1e-12));
            }
        }
    }

    #[test]
    fn swapping_arms_mirrors_the_adjusted_effect(a in users(2), b in users(2)) {
        let ((_, x), (_, y)) = (adjusted(&a, &b).unwrap(), adjusted(&b, &a).unwrap());
        prop_assert_eq!(&x.theta, &y.theta);
        let (x, y) = (estimate(&x).unwrap(), estimate(&y).unwrap());
        prop_assert!(close(x.0, -y.0, 1.0) && close(x.1, y.1, 0.0));
    }

    /// Neither the unit nor the zero of a covariate matters, nor a covariate that is a mixture of the others.
    #[test]
    fn only_what_a_covariate_says_matters(a in users(2), b in users(2), factor in 2i64..1000, shift in -9_000_000i64..9_000_000) {
        let changed = |users: &[User]| -> Vec<User> {
            users.iter().map(|u| vec![u[0], u[1] * factor + shift, u[2], u[1] - 3 * u[2], 7]).collect()
        };
        let ((pair, x), (_, y)) = (adjusted(&a, &b).unwrap(), adjusted(&changed(&a), &changed(&b)).unwrap());
        prop_assert_eq!(&y.theta[2..], [0.0, 0.0]);
        prop_assert!(close(x.theta[0], y.theta[0] * factor as f64, 1.0));
        let (scale, x, y) = (pair.control.unit_variance, estimate(&x).unwrap(), estimate(&y).unwrap());
        prop_assert!((x.0 - y.0).abs() <= 1e-7 * scale.sqrt(), "{x:?} {y:?}");
        prop_assert!((x.1 - y.1).abs() <= 1e-7 * scale, "{x:?} {y:?}");
    }

    #[test]
    fn adjusted_answers_are_finite_or_a_reason(a in users(1), b in users(1)) {
        for measure in [Measure::Absolute, Measure::Relative] {
            if let Ok(e) = adjusted(&a, &b).and_then(|(_, adjusted)| adjusted.effect(measure)) {
                prop_assert!(e.estimate.is_finite() && e.variance.is_finite() && e.variance > 0.0);
                prop_assert!(welch(&e, Alpha::new(0.05).unwrap()).is_ok());
            }
        }
    }
}

#[test]
fn without_anything_to_adjust_by_it_is_the_plain_effect() {
    let a: Vec<User> = [1, 5, 9, 2].map(|y| vec![y, 0]).to_vec();
    let b: Vec<User> = [4, 8, 8, 1].map(|y| vec![y, 0]).to_vec();
    let (pair, x) = adjusted(&a, &b).unwrap();
    assert_eq!((&x.theta, x.variance_reduction), (&vec![0.0], 0.0));
    for measure in [Measure::Absolute, Measure::Relative] {
        assert_eq!(x.effect(measure), effect(&pair, measure));
    }
}

#[test]
fn what_the_past_tells_exactly_leaves_no_variance() {
    let user = |x: i64, bonus: i64| vec![3 * x + bonus, x];
    let a: Vec<User> = (0..9).map(|x| user(x, 0)).collect();
    let b: Vec<User> = (0..9).map(|x| user(x, 0)).collect();
    let (_, x) = adjusted(&a, &b).unwrap();
    assert_eq!(x.effect(Measure::Absolute), Err(Undefined::ZeroVariance));
    assert!((x.variance_reduction - 1.0).abs() < 1e-12);
}

const HOUR: f64 = 3600.0;
const DAYS: f64 = 24.0 * HOUR;

fn plan() -> (Definition, Plan) {
    let definition: Definition = serde_json::from_value(json!({
        "key": "simulated",
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "revenue", "type": "mean"}],
        "attribution": {"window_hours": 72},
        "analysis": {"cuped": {"lookback_days": 3, "gap_minutes": 60}},
    }))
    .unwrap();
    let definition = definition.checked().unwrap();
    let plan = Plan::new(ExperimentId(1), 1, &definition);
    (definition, plan)
}

/// Purchases of one user a day; who buys much before buys much after.
const RATE: [f64; 2] = [0.2, 3.0];
const LIFT: f64 = 0.1;
/// Clocks are wrong by up to this much either way, within the gap.
const SKEW: f64 = 0.5 * HOUR;

/// One experiment: users come over ten days, their clocks are wrong, the treatment adds purchases of value 1.
fn experiment(plan: &Plan, rng: &mut Rng) -> [Moments; 2] {
    let mut arms = [Moments::default(), Moments::default()];
    for user in 0..400 {
        let (variation, rate) = (user % 2, rng.between(RATE[0], RATE[1]) / DAYS);
        let (exposed, skew) = (20.0 * DAYS + rng.between(0.0, 10.0 * DAYS), rng.between(-SKEW, SKEW));
        let instant = |seconds: f64| Timestamp((seconds * 1e6) as i64);
        let seen = Seen { variation, at: instant(exposed), day: Day(0), phase: 0 };
        let mut unit = Unit::default();
        fold::expose(&mut unit, plan, seen, []).unwrap();
        let mut at = exposed - 5.0 * DAYS;
        loop {
            let faster = if variation == 1 && at >= exposed { 1.0 + LIFT } else { 1.0 };
            let next = at + rng.wait() / (rate * faster);
            // The treatment begins to work with the exposure, wherever the wait began.
            at = if variation == 1 && at < exposed && next > exposed {
                exposed + (next - exposed) / (1.0 + LIFT)
            } else {
                next
            };
            if at > exposed + 4.0 * DAYS {
                break;
            }
            let fact = Fact {
                experiment: ExperimentId(1),
                event: "revenue",
                value: Decimal::ONE,
                at: instant(at + skew),
            };
            fold::convert(&mut unit, &fact, |_| Some(plan)).unwrap();
        }
        arms[variation as usize].shift(plan, None, unit.enrollment(ExperimentId(1))).unwrap();
    }
    arms
}

#[test]
fn wrong_clocks_and_staggered_users_bias_nothing() {
    let (definition, plan) = plan();
    // A clock that is fast shows the last of the time before the exposure as after it, where nothing was treated.
    let treated = 3.0 * DAYS - SKEW / 4.0;
    let truth = LIFT * 0.5 * (RATE[0] + RATE[1]) / DAYS * treated;
    let alpha = Alpha::new(0.05).unwrap();
    let mut rng = Rng::new(11);
    let (runs, mut covered, mut covered_plain) = (1200, 0, 0);
    let (mut errors, mut squares, mut reduced) = (0.0, 0.0, 0.0);
    for _ in 0..runs {
        let arms = Arms { all: experiment(&plan, &mut rng).into(), ..Arms::default() };
        let contrast = Contrast::of(&definition.metrics[0], &plan, &arms, 1).unwrap();
        let adjusted = contrast.adjusted().unwrap();
        let test = welch(&adjusted.effect(Measure::Absolute).unwrap(), alpha).unwrap();
        let plain = welch(&contrast.unadjusted().absolute.unwrap(), alpha).unwrap();
        let covers = |ci: [f64; 2]| u32::from(ci[0] <= truth && truth <= ci[1]);
        covered += covers(test.ci);
        covered_plain += covers(plain.ci);
        errors += test.effect - truth;
        squares += (test.effect - truth).powi(2);
        reduced += adjusted.variance_reduction;
    }
    let n = f64::from(runs);
    let standard_error = (squares / n / n).sqrt();
    assert!((errors / n).abs() < 2.58 * standard_error, "bias {} +- {standard_error}", errors / n);
    let [low, high] = interval_99(covered, runs);
    assert!(low <= 0.95 && 0.95 <= high, "coverage {} of {runs}", covered);
    let [low, high] = interval_99(covered_plain, runs);
    assert!(low <= 0.95 && 0.95 <= high, "unadjusted coverage {} of {runs}", covered_plain);
    // Not idle: the past does explain much of it.
    assert!(reduced / n > 0.25, "variance reduction {}", reduced / n);
}

#[test]
fn an_adjustment_that_cannot_be_made_says_why() {
    let (mut definition, plan) = plan();
    let arms = Arms { all: vec![Moments::default(); 2], ..Arms::default() };
    let why = |definition: &Definition, plan: &Plan| {
        Contrast::of(&definition.metrics[0], plan, &arms, 1).unwrap().adjusted().unwrap_err()
    };
    assert_eq!(why(&definition, &plan), Unavailable::Undefined(Undefined::NoUnits));
    definition.analysis.cuped.lookback_days = 0;
    let off = Plan::new(ExperimentId(1), 1, &definition);
    assert_eq!(why(&definition, &off), Unavailable::Off);
    definition.analysis.cuped.lookback_days = 3;
    definition.metrics[0].kind = domain::definition::MetricKind::Ratio;
    let ratio = Plan::new(ExperimentId(1), 1, &definition);
    assert_eq!(why(&definition, &ratio), Unavailable::Ratio);
}
