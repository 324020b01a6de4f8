//! A ratio of two per-user quantities, R = sum(numerator) / sum(denominator), with the user as the unit.
//!
//! Unit variance (v_num - 2 R c + R^2 v_den) / mean_den^2 by the delta method, c the covariance of the two within users
//! (Deng, Knoblich, Lu 2018): sessions, orders or views of one user are not independent, so they are never the unit.
//!
//! Assumes enough users that the mean denominator is far from zero by its own noise. Not where the treatment changes
//! the denominator and that is itself the question (fewer, larger baskets): then read numerator and denominator apart.

use ethnum::I256;

use super::{
    Undefined,
    arms::{MEAN_MIN_USERS, Pair, Scale, Summary, centred},
    finite,
    special::to_f64,
};

/// Sums over the users of one arm; users with denominator 0 are part of `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioArm {
    pub n: u64,
    pub numerator: I256,
    pub numerator_sq: I256,
    pub denominator: I256,
    pub denominator_sq: I256,
    /// Sum of numerator times denominator.
    pub product: I256,
    pub numerator_scale: Scale,
    pub denominator_scale: Scale,
}

/// Of a variance: what rounding alone can leave of a true zero.
const ROUNDING: f64 = 1e-12;

impl RatioArm {
    /// R. Needs a denominator.
    pub fn ratio(&self) -> Result<f64, Undefined> {
        if self.n == 0 {
            return Err(Undefined::NoUnits);
        }
        if self.denominator == 0 {
            return Err(Undefined::ZeroDenominator);
        }
        let steps = self.denominator_scale.steps_per_one() / self.numerator_scale.steps_per_one();
        finite(to_f64(self.numerator) / to_f64(self.denominator) * steps)
    }

    /// The delta method's variance of one unit: (v_num - 2 R c + R^2 v_den) / mean_den^2.
    pub fn variance(&self) -> Result<f64, Undefined> {
        let r = self.ratio()?;
        if self.n < 2 {
            return Err(Undefined::TooFewUnits);
        }
        let (num, den) = (self.numerator_scale.steps_per_one(), self.denominator_scale.steps_per_one());
        let v_num = to_f64(centred(self.n, self.numerator_sq, self.numerator, self.numerator)?) / num / num;
        let v_den =
            to_f64(centred(self.n, self.denominator_sq, self.denominator, self.denominator)?) / den / den;
        let c = to_f64(centred(self.n, self.product, self.numerator, self.denominator)?) / num / den;
        let (linear, square) = (2.0 * r * c, r * r * v_den);
        let variance = v_num - linear + square;
        let noise = ROUNDING * (v_num + square);
        if v_num < 0.0 || v_den < 0.0 || variance < -noise {
            return Err(Undefined::Inconsistent);
        }
        if variance <= noise {
            return Ok(0.0);
        }
        let total = to_f64(self.denominator) / den;
        let n = self.n as f64;
        // n (n-1) under the variances, and n^2 / total^2 for the mean of the denominators.
        finite(variance / total / total * (n / (n - 1.0)))
    }

    fn summary(&self) -> Result<Summary, Undefined> {
        let low_data = self.n < MEAN_MIN_USERS;
        Ok(Summary { n: self.n, mean: self.ratio()?, unit_variance: self.variance()?, low_data })
    }
}

impl Pair {
    /// Two arms of a ratio.
    pub fn of_ratios(control: &RatioArm, treatment: &RatioArm) -> Result<Pair, Undefined> {
        let (a, b) = (control.summary()?, treatment.summary()?);
        Ok(Pair { control: a, treatment: b, difference: finite(difference(control, treatment)?)? })
    }
}

/// R_B - R_A over a common denominator, exact up to the division; where that needs more than 256 bits, the
/// difference of the rounded ratios.
fn difference(a: &RatioArm, b: &RatioArm) -> Result<f64, Undefined> {
    let crossed = || {
        let (up, down) = (b.numerator.checked_mul(a.denominator)?, a.numerator.checked_mul(b.denominator)?);
        Some((up.checked_sub(down)?, a.denominator.checked_mul(b.denominator)?))
    };
    let Some((numerator, denominator)) = crossed() else { return Ok(b.ratio()? - a.ratio()?) };
    let steps = a.denominator_scale.steps_per_one() / a.numerator_scale.steps_per_one();
    Ok(to_f64(numerator) / to_f64(denominator) * steps)
}
