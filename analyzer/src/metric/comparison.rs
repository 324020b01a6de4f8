//! One treatment against the control, read by every method that applies.

use serde::Serialize;

use super::sums::Sums;
use crate::stats::arms::Pair;
use crate::stats::effect::{Measure, effect};
use crate::stats::fieller::fieller;
use crate::stats::small_counts::{SmallCounts, small_counts};
use crate::stats::special::StudentT;
use crate::stats::welch::{TTest, welch};
use crate::stats::{Alpha, Flag, Undefined};

#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub absolute: Reading<TTest>,
    pub relative: Reading<Relative>,
    /// Of proportions, where Welch's test has too few conversions or no variance to go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small_counts: Option<Reading<SmallCounts>>,
}

/// Numbers, or why there are none.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Reading<T> {
    Ok(T),
    Undefined { reason: Undefined },
}

#[derive(Debug, Serialize)]
pub struct Relative {
    #[serde(flatten)]
    pub test: TTest,
    /// Fieller's: to be preferred where `unstable_baseline` is flagged. Null where the relative effect could be
    /// anything.
    pub fieller_ci: Option<[f64; 2]>,
}

impl<T> From<Result<T, Undefined>> for Reading<T> {
    fn from(result: Result<T, Undefined>) -> Reading<T> {
        match result {
            Ok(numbers) => Reading::Ok(numbers),
            Err(reason) => Reading::Undefined { reason },
        }
    }
}

impl<'a> Comparison<'a> {
    pub fn of(
        (variation_index, key): (usize, &'a str),
        control: Result<Sums, Undefined>,
        treatment: Result<Sums, Undefined>,
        alpha: Alpha,
    ) -> Comparison<'a> {
        let arms = control.and_then(|control| treatment.map(|treatment| (control, treatment)));
        let pair = arms.and_then(|(control, treatment)| Sums::pair(&control, &treatment));
        let absolute = pair.and_then(|pair| welch(&effect(&pair, Measure::Absolute)?, alpha));
        let few = match &absolute {
            Ok(test) => test.flags.contains(&Flag::LowData),
            Err(reason) => *reason == Undefined::ZeroVariance,
        };
        let small_counts = match arms {
            Ok((Sums::Proportion(a), Sums::Proportion(b))) if few => Some(small_counts(&a, &b, alpha).into()),
            _ => None,
        };
        Comparison {
            variation_index,
            key,
            absolute: absolute.into(),
            relative: pair.and_then(|pair| Relative::of(&pair, alpha)).into(),
            small_counts,
        }
    }
}

impl Relative {
    fn of(pair: &Pair, alpha: Alpha) -> Result<Relative, Undefined> {
        let effect = effect(pair, Measure::Relative)?;
        let critical = StudentT::new(effect.dof)?.upper_quantile(alpha.get() / 2.0);
        Ok(Relative { test: welch(&effect, alpha)?, fieller_ci: fieller(pair, critical).ok() })
    }
}
