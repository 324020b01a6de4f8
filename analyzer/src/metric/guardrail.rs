//! Whether a treatment leaves a guardrail metric as good as it was.
//!
//! By one-sided bounds at 1 - alpha of the relative effect, each side on its own, in the manner of the experiment's mode:
//! Welch's for `fixed`, beliefs for `bayesian`, else those that hold at every look, because a guardrail is watched all
//! the time. No correction over treatments or guardrails: what they protect from is worse than a false alarm.

use domain::definition::Mode;
use serde::Serialize;

use super::contrast::{Estimator, Treatment};
use super::methods::Methods;
use super::reading::Reading;
use crate::stats::bayes::{Better, posterior};
use crate::stats::effect::Effect;
use crate::stats::margin::non_inferiority;
use crate::stats::sequential::one_sided;
use crate::stats::{Undefined, normal};

#[derive(Debug, Clone, Serialize)]
pub struct Guarded {
    pub estimator: Estimator,
    /// Relative; how much worse is tolerated. Null: only proven harm counts.
    pub margin: Option<f64>,
    pub effect: f64,
    /// One-sided, of the relative effect.
    pub lower_bound: f64,
    pub upper_bound: f64,
    /// Against "worse by the margin or more"; of `fixed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Worse by less than the margin, or, without one, better for certain.
    Pass,
    /// Worse for certain, and not within the margin for certain.
    Harm,
    Undecided,
}

pub fn guarded(treatment: &Treatment<'_>, methods: &Methods) -> Reading<Guarded> {
    check(treatment, methods).into()
}

fn check(treatment: &Treatment<'_>, methods: &Methods) -> Result<Guarded, Undefined> {
    let (estimator, effects) = treatment.now.decisive();
    let (effect, better) = (effects.relative?, treatment.now.better());
    let margin = treatment.now.metric.margin;
    let bounds = Bounds::of(&effect, margin.unwrap_or_default(), better, methods)?;
    let tolerated = margin.unwrap_or_default();
    let (within, harmed) = match better {
        Better::Higher => (bounds.lower > -tolerated, bounds.upper < 0.0),
        Better::Lower => (bounds.upper < tolerated, bounds.lower > 0.0),
    };
    let outcome = match (within, harmed) {
        (true, _) => Outcome::Pass,
        (false, true) => Outcome::Harm,
        (false, false) => Outcome::Undecided,
    };
    Ok(Guarded {
        estimator,
        margin,
        effect: bounds.effect,
        lower_bound: bounds.lower,
        upper_bound: bounds.upper,
        p_value: bounds.p_value,
        outcome,
    })
}

struct Bounds {
    effect: f64,
    lower: f64,
    upper: f64,
    p_value: Option<f64>,
}

impl Bounds {
    fn of(effect: &Effect, tolerated: f64, better: Better, methods: &Methods) -> Result<Bounds, Undefined> {
        let alpha = methods.alpha;
        let around = |effect: f64, width: f64| Bounds {
            effect,
            lower: effect - width,
            upper: effect + width,
            p_value: None,
        };
        Ok(match methods.mode {
            Mode::Fixed => {
                let margin = if better == Better::Higher { -tolerated } else { tolerated };
                let test = non_inferiority(effect, margin, better, alpha)?;
                let (lower, upper) = (test.lower_bound, test.upper_bound);
                Bounds { effect: test.effect, lower, upper, p_value: Some(test.p_value) }
            }
            Mode::Sequential | Mode::GroupSequential => {
                around(effect.estimate, one_sided(effect, methods.tuning, alpha)?)
            }
            Mode::Bayesian => {
                let belief = posterior(effect, methods.prior, better, alpha)?;
                around(belief.posterior_mean, normal::upper_quantile(alpha.get()) * belief.posterior_stddev)
            }
        })
    }
}
