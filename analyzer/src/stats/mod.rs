//! Statistics of an experiment, one method family per file. Pure: no I/O, no clock, no state.
//!
//! Everything starts from per-arm sums that are exact integers ([`arms`]). They are combined exactly and become
//! floating point in the last step, so cancellation cannot eat the answer. A result is either finite numbers or an
//! [`Undefined`] reason; NaN, infinity and a made-up p = 1 do not exist here.
//!
//! - [`arms`]: means, variances and differences from exact sums
//! - [`ratio`]: the same for a ratio of two sums
//! - [`effect`]: absolute and relative effect with its variance
//! - [`cuped`]: the same, adjusted by what users did before the exposure
//! - [`strata`]: the same, averaged over strata and phases
//! - [`welch`]: Welch's t test on an effect
//! - [`sequential`]: tests and intervals that hold at every look
//! - [`group_sequential`]: boundaries at planned looks
//! - [`bayes`]: the effect as a belief; [`beta_binomial`] exactly, for proportions; [`best`] of several arms
//! - [`fieller`]: interval of a relative effect with an unstable baseline
//! - [`small_counts`]: proportions with few conversions
//! - [`margin`]: worse by less than a margin?
//! - [`multiple`]: several tests at once
//! - [`power`]: how many users, and what they can find
//! - [`srm`]: sample ratio mismatch; [`srm_anytime`] for any number of looks; [`imbalance`] of what befell users
//! - [`normal`], [`special`]: tails and quantiles of the distributions used

pub mod arms;
pub mod bayes;
pub mod best;
pub mod beta_binomial;
pub mod cuped;
pub mod effect;
pub mod fieller;
pub mod group_sequential;
pub mod imbalance;
pub mod margin;
pub mod multiple;
pub mod normal;
pub mod power;
pub mod ratio;
pub mod sequential;
pub mod small_counts;
pub mod special;
pub mod srm;
pub mod srm_anytime;
pub mod strata;
pub mod welch;

/// Why there is no number. Stable codes, shown to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    #[error("an arm has no users")]
    NoUnits,
    #[error("an arm has fewer than two users")]
    TooFewUnits,
    #[error("the values do not vary")]
    ZeroVariance,
    #[error("the control's mean is zero, so there is nothing to be relative to")]
    ZeroBaseline,
    #[error("an arm's denominators sum to zero")]
    ZeroDenominator,
    #[error("the control's mean does not differ from zero, so the relative effect could be anything")]
    Unbounded,
    #[error("an arm has too few users for an answer that holds at every look")]
    NotEnoughUsers,
    #[error("no planned look has been taken yet")]
    NoLook,
    #[error("fewer than two arms have a weight")]
    TooFewArms,
    #[error("the sums are beyond the range of exact arithmetic")]
    OutOfRange,
    /// Sums that no set of users can have, such as a sum of squares smaller than the mean allows.
    #[error("the sums contradict each other")]
    Inconsistent,
}

/// A caution that does not hide the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Too few users or conversions for the normal approximation: prefer a small-count method.
    LowData,
    /// The control's mean is within two standard errors of zero: prefer the absolute effect.
    UnstableBaseline,
}

/// A significance level, strictly between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alpha(f64);

impl Alpha {
    /// None unless 0 < value < 1.
    pub fn new(value: f64) -> Option<Alpha> {
        (value > 0.0 && value < 1.0).then_some(Alpha(value))
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

/// The number, or `out_of_range` when arithmetic left the finite range.
fn finite(value: f64) -> Result<f64, Undefined> {
    if value.is_finite() { Ok(value) } else { Err(Undefined::OutOfRange) }
}
