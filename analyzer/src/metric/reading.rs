//! An effect read by every method: each answers with numbers or with a reason.

use serde::Serialize;

use super::methods::Methods;
use crate::stats::Undefined;
use crate::stats::bayes::{Better, Posterior, posterior};
use crate::stats::effect::{Effect, Measure};
use crate::stats::sequential::{Sequential, sequential, tuned_to};
use crate::stats::welch::{TTest, welch};

/// Numbers, or why there are none.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Reading<T> {
    Ok(T),
    Undefined { reason: Undefined },
}

/// An effect, absolute and relative, however it was estimated.
pub struct Effects {
    pub absolute: Result<Effect, Undefined>,
    pub relative: Result<Effect, Undefined>,
}

/// What each method makes of an effect.
#[derive(Debug, Serialize)]
pub struct Readings {
    /// Welch's test of the difference: for one look, at the planned size.
    pub absolute: Reading<TTest>,
    pub relative: Reading<TTest>,
    pub sequential: AlwaysValid,
    pub bayesian: Believed,
}

/// For any number of looks.
#[derive(Debug, Serialize)]
pub struct AlwaysValid {
    /// Users of both arms at which the intervals are narrowest.
    pub tuning: f64,
    pub absolute: Reading<Sequential>,
    pub relative: Reading<Sequential>,
}

#[derive(Debug, Serialize)]
pub struct Believed {
    pub absolute: Reading<Posterior>,
    pub relative: Reading<Posterior>,
}

impl<T> From<Result<T, Undefined>> for Reading<T> {
    fn from(result: Result<T, Undefined>) -> Reading<T> {
        match result {
            Ok(numbers) => Reading::Ok(numbers),
            Err(reason) => Reading::Undefined { reason },
        }
    }
}

impl<T> Reading<T> {
    pub fn ok(&self) -> Option<&T> {
        match self {
            Reading::Ok(numbers) => Some(numbers),
            Reading::Undefined { .. } => None,
        }
    }
}

impl Effects {
    pub fn of(estimate: impl Fn(Measure) -> Result<Effect, Undefined>) -> Effects {
        Effects { absolute: estimate(Measure::Absolute), relative: estimate(Measure::Relative) }
    }

    pub fn read(&self, better: Better, methods: &Methods) -> Readings {
        let Methods { alpha, tuning, prior, .. } = *methods;
        let rho_squared = tuned_to(tuning, alpha);
        let [absolute, relative] = [&self.absolute, &self.relative];
        Readings {
            absolute: read(absolute, |effect| welch(effect, alpha)),
            relative: read(relative, |effect| welch(effect, alpha)),
            sequential: AlwaysValid {
                tuning,
                absolute: read(absolute, |effect| sequential(effect, rho_squared, alpha)),
                relative: read(relative, |effect| sequential(effect, rho_squared, alpha)),
            },
            bayesian: Believed {
                absolute: read(absolute, |effect| posterior(effect, prior, better, alpha)),
                relative: read(relative, |effect| posterior(effect, prior, better, alpha)),
            },
        }
    }
}

fn read<T>(
    effect: &Result<Effect, Undefined>,
    method: impl Fn(&Effect) -> Result<T, Undefined>,
) -> Reading<T> {
    effect.as_ref().map_err(|reason| *reason).and_then(method).into()
}
