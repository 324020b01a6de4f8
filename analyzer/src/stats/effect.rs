//! The effect of a treatment and its variance, absolute or relative to the control.
//!
//! With means m and variances of the means a, b: absolute m_B - m_A, variance a + b. Relative (m_B - m_A) / |m_A|,
//! variance (b + a (m_B/m_A)^2) / m_A^2 by the delta method (Deng, Knoblich, Lu 2018). Degrees of freedom
//! (a + b)^2 / (a^2/(n_A-1) + b^2/(n_B-1)) (Welch 1947, Satterthwaite 1946).
//!
//! Assumes independent arms, and means that are nearly normal. The relative effect is not to be read where the
//! control's mean is within two standard errors of zero (`unstable_baseline`): take the absolute one, or
//! [`super::fieller`].

use super::{Flag, Undefined, arms::Pair, finite};

/// How an effect is expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// m_B - m_A, in units of the metric.
    Absolute,
    /// (m_B - m_A) / |m_A|: 0.1 is ten percent up. Dividing by the magnitude keeps "up" positive for a negative
    /// control mean.
    Relative,
}

/// A point estimate with its variance: what every test and interval starts from, however it was estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    pub measure: Measure,
    pub estimate: f64,
    /// Variance of the estimate, > 0.
    pub variance: f64,
    /// Welch-Satterthwaite degrees of freedom, >= 1. From the absolute variances also for a relative effect.
    pub dof: f64,
    /// Users of control and treatment.
    pub users: [u64; 2],
    /// The control's mean, unadjusted: what "relative" refers to.
    pub baseline: f64,
    pub flags: Vec<Flag>,
}

/// The effect of `pair`'s treatment.
///
/// The relative variance is the delta method's: it includes the noise of the baseline. An arm without variance leaves
/// the absolute effect defined (the other arm carries the noise) but not the relative one, whose linearisation needs
/// the noise of both.
pub fn effect(pair: &Pair, measure: Measure) -> Result<Effect, Undefined> {
    let (a, b) = (pair.control.mean_variance(), pair.treatment.mean_variance());
    let baseline = pair.control.mean;
    let (estimate, variance) = match measure {
        Measure::Absolute => (pair.difference, a + b),
        Measure::Relative if baseline == 0.0 => return Err(Undefined::ZeroBaseline),
        Measure::Relative if a == 0.0 || b == 0.0 => return Err(Undefined::ZeroVariance),
        Measure::Relative => {
            let ratio = pair.treatment.mean / baseline;
            (pair.difference / baseline.abs(), (b + a * ratio * ratio) / baseline / baseline)
        }
    };
    if variance == 0.0 {
        return Err(Undefined::ZeroVariance);
    }
    let users = [pair.control.n, pair.treatment.n];
    Ok(Effect {
        measure,
        estimate: finite(estimate)?,
        variance: finite(variance)?,
        dof: welch_dof([a, b], users)?,
        users,
        baseline,
        flags: flags_of(pair, measure),
    })
}

pub(super) fn flags_of(pair: &Pair, measure: Measure) -> Vec<Flag> {
    let mut flags = Vec::new();
    if pair.control.low_data || pair.treatment.low_data {
        flags.push(Flag::LowData);
    }
    if measure == Measure::Relative && pair.control.mean.abs() < 2.0 * pair.control.mean_variance().sqrt() {
        flags.push(Flag::UnstableBaseline);
    }
    flags
}

/// (a + b)^2 / (a^2/(n_A-1) + b^2/(n_B-1)) from the variances of two means, written with shares of the total so that
/// tiny variances do not underflow.
pub(super) fn welch_dof([a, b]: [f64; 2], [n_a, n_b]: [u64; 2]) -> Result<f64, Undefined> {
    let (share_a, share_b) = (a / (a + b), b / (a + b));
    finite(1.0 / (share_a * share_a / (n_a as f64 - 1.0) + share_b * share_b / (n_b as f64 - 1.0)))
}
