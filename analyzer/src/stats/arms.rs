//! From exact per-arm sums to means, unit variances and the difference of two arms.
//!
//! Mean S/n, unit variance (n Q - S^2) / (n (n - 1)) of a value with sum S and sum of squares Q; p (1 - p) of a
//! proportion, without the n/(n-1), as GrowthBook and PostHog have it (scipy on zeros and ones differs by 1/n). The
//! numerators are exact integers. Assumes independent users: events of one user are summed first, so that a user who
//! acts often is one observation. Not for percentiles, which have no such sums.

use ethnum::I256;

use super::{Undefined, finite, special::to_f64};

/// What one step of the integers stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Sums are plain counts.
    Ones,
    /// Sums are millionths (1e-6), sums of products 1e-12.
    Millionths,
}

impl Scale {
    pub(super) fn steps_per_one(self) -> f64 {
        match self {
            Scale::Ones => 1.0,
            Scale::Millionths => 1e6,
        }
    }
}

/// A per-user value y over the users of one arm: users without a conversion have y = 0 and are part of `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArmMoments {
    pub n: u64,
    /// Sum of y, in steps of `scale`.
    pub sum: I256,
    /// Sum of y^2, in squared steps of `scale`.
    pub sum_sq: I256,
    pub scale: Scale,
}

/// Users of one arm, and how many of them converted. Invariant of the caller: `converters <= n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProportionArm {
    pub n: u64,
    pub converters: u64,
}

/// Mean of an arm and the variance of one unit in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub n: u64,
    pub mean: f64,
    /// Sample variance (n - 1) of a mean; p(1-p) of a proportion.
    pub unit_variance: f64,
    /// Below the counts from which the normal approximation is trusted.
    pub low_data: bool,
}

impl Summary {
    /// Variance of the arm's mean.
    pub fn mean_variance(&self) -> f64 {
        self.unit_variance / self.n as f64
    }
}

/// Control and treatment, with the difference of their means taken before rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    pub control: Summary,
    pub treatment: Summary,
    /// Treatment minus control, correctly rounded even when both means are huge and close.
    pub difference: f64,
}

impl ArmMoments {
    /// Sum of y in units of y.
    pub fn total(&self) -> f64 {
        to_f64(self.sum) / self.scale.steps_per_one()
    }

    /// Mean of y. Needs one user.
    pub fn mean(&self) -> Result<f64, Undefined> {
        if self.n == 0 {
            return Err(Undefined::NoUnits);
        }
        finite(to_f64(self.sum) / self.n as f64 / self.scale.steps_per_one())
    }

    /// Sample variance of y, from (n Q - S^2) / (n (n - 1)) with an exact numerator. Needs two users.
    pub fn variance(&self) -> Result<f64, Undefined> {
        match self.n {
            0 => return Err(Undefined::NoUnits),
            1 => return Err(Undefined::TooFewUnits),
            _ => {}
        }
        let numerator = centred(self.n, self.sum_sq, self.sum, self.sum)?;
        if numerator < 0 {
            return Err(Undefined::Inconsistent);
        }
        let n = self.n as f64;
        let steps = self.scale.steps_per_one();
        finite(to_f64(numerator) / n / (n - 1.0) / steps / steps)
    }

    fn summary(&self) -> Result<Summary, Undefined> {
        Ok(Summary {
            n: self.n,
            mean: self.mean()?,
            unit_variance: self.variance()?,
            low_data: self.n < MEAN_MIN_USERS,
        })
    }
}

impl ProportionArm {
    /// Share of users who converted. Needs one user.
    pub fn rate(&self) -> Result<f64, Undefined> {
        if self.n == 0 {
            return Err(Undefined::NoUnits);
        }
        Ok(self.converters as f64 / self.n as f64)
    }

    /// p(1-p), without n/(n-1). Needs two users.
    pub fn variance(&self) -> Result<f64, Undefined> {
        let missing = self.n.checked_sub(self.converters).ok_or(Undefined::Inconsistent)?;
        if self.n == 1 {
            return Err(Undefined::TooFewUnits);
        }
        Ok(self.rate()? * (missing as f64 / self.n as f64))
    }

    fn summary(&self) -> Result<Summary, Undefined> {
        Ok(Summary {
            n: self.n,
            mean: self.rate()?,
            unit_variance: self.variance()?,
            low_data: self.converters.min(self.n - self.converters) < PROPORTION_MIN_COUNT,
        })
    }
}

impl Pair {
    /// Two arms of a mean or a count.
    pub fn of_means(control: &ArmMoments, treatment: &ArmMoments) -> Result<Pair, Undefined> {
        if control.scale != treatment.scale {
            return Err(Undefined::Inconsistent);
        }
        let (a, b) = (control.summary()?, treatment.summary()?);
        let steps = mean_difference((control.sum, control.n), (treatment.sum, treatment.n))?;
        Ok(Pair { control: a, treatment: b, difference: finite(steps / control.scale.steps_per_one())? })
    }

    /// Two arms of a proportion.
    pub fn of_proportions(control: &ProportionArm, treatment: &ProportionArm) -> Result<Pair, Undefined> {
        let (a, b) = (control.summary()?, treatment.summary()?);
        let sums = (I256::from(control.converters), I256::from(treatment.converters));
        let difference = mean_difference((sums.0, control.n), (sums.1, treatment.n))?;
        Ok(Pair { control: a, treatment: b, difference })
    }
}

/// (S_B n_A - S_A n_B) / (n_A n_B), exact up to the division.
pub(super) fn mean_difference((s_a, n_a): (I256, u64), (s_b, n_b): (I256, u64)) -> Result<f64, Undefined> {
    let treatment = s_b.checked_mul(I256::from(n_a)).ok_or(Undefined::OutOfRange)?;
    let control = s_a.checked_mul(I256::from(n_b)).ok_or(Undefined::OutOfRange)?;
    let numerator = treatment.checked_sub(control).ok_or(Undefined::OutOfRange)?;
    Ok(to_f64(numerator) / to_f64(I256::from(n_a) * I256::from(n_b)))
}

/// n P - S T, where P sums the products of what S and T sum: n (n - 1) times the sample covariance, exact.
pub(super) fn centred(n: u64, products: I256, s: I256, t: I256) -> Result<I256, Undefined> {
    let n_times_p = products.checked_mul(I256::from(n)).ok_or(Undefined::OutOfRange)?;
    let s_times_t = s.checked_mul(t).ok_or(Undefined::OutOfRange)?;
    n_times_p.checked_sub(s_times_t).ok_or(Undefined::OutOfRange)
}

/// Users below which a mean is flagged.
pub(super) const MEAN_MIN_USERS: u64 = 30;
/// Converters, and users who did not convert, below which a proportion is flagged.
const PROPORTION_MIN_COUNT: u64 = 5;
