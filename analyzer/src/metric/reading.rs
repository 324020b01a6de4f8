//! An effect read by every method: each answers with numbers or with a reason.

use serde::Serialize;

use crate::stats::effect::{Effect, Measure};
use crate::stats::welch::{TTest, welch};
use crate::stats::{Alpha, Undefined};

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

#[derive(Debug, Serialize)]
pub struct Readings {
    pub absolute: Reading<TTest>,
    pub relative: Reading<TTest>,
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

    pub fn read(&self, alpha: Alpha) -> Readings {
        let tested = |effect: &Result<Effect, Undefined>| {
            effect.as_ref().map_err(|reason| *reason).and_then(|effect| welch(effect, alpha)).into()
        };
        Readings { absolute: tested(&self.absolute), relative: tested(&self.relative) }
    }
}
