//! How many users an experiment needs, and what it can find with those it has.
//!
//! Normal approximation throughout: with z = z_alpha + z_power and r treatment users per control user, control needs
//! z^2 (u1 + u2 / r) / d^2 users to find the difference d of means with unit variances u1, u2 (p q of a proportion, the
//! delta method's of a ratio). Also, for comparison with other calculators: Cohen's h for proportions (the arcsine
//! effect size), and Student's t for means, whose power is a noncentral t tail (Cohen 1988).
//!
//! Assumes a fixed size and one look; a sequential test of the same power needs more users, planned looks a few percent
//! more. Not with fewer than some fifty converters an arm, where the normal is not near; and not after the fact: the
//! power to find the effect that was observed says no more than its p.

use super::{Undefined, finite, normal, special::StudentT};

/// Error level and power, checked: 0 < alpha < power < 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    alpha: f64,
    power: f64,
    sides: f64,
}

/// Which differences are to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    #[default]
    TwoSided,
    /// Those in one direction.
    OneSided,
}

impl Design {
    pub fn new(alpha: f64, power: f64, alternative: Alternative) -> Option<Design> {
        let sides = if alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
        (alpha > 0.0 && power > alpha && power < 1.0).then_some(Design { alpha, power, sides })
    }

    /// Critical value of the test.
    pub fn critical(self) -> f64 {
        normal::upper_quantile(self.alpha / self.sides)
    }

    /// Standard errors that an effect must be away from zero: z_alpha + z_power, as textbooks have it.
    pub fn distance(self) -> f64 {
        self.critical() + normal::upper_quantile(1.0 - self.power)
    }

    /// The same with the other side's rejections counted as well: smaller by some millionths at usual powers.
    pub fn exact_distance(self) -> f64 {
        let mut z = self.distance();
        for _ in 0..50 {
            let slope = normal::density(self.critical() - z) - normal::density(self.critical() + z);
            let step = (self.power_at(z) - self.power) / slope;
            z -= step;
            if step.abs() <= 1e-13 * z {
                break;
            }
        }
        z
    }

    /// Of a test whose estimate lies `z` standard errors from zero on average.
    fn power_at(self, z: f64) -> f64 {
        let critical = self.critical();
        if self.sides == 2.0 {
            normal::upper_tail(critical - z.abs()) + normal::upper_tail(critical + z.abs())
        } else {
            normal::upper_tail(critical - z)
        }
    }
}

/// Two unit variances, and the difference of the means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    pub control_variance: f64,
    pub treatment_variance: f64,
    pub effect: f64,
}

impl Difference {
    /// From the baseline rate to one that is `mde` away, relative to it.
    pub fn of_proportions(baseline: f64, mde: f64) -> Result<Difference, Undefined> {
        let treatment = baseline * (1.0 + mde);
        let possible = |rate: f64| rate > 0.0 && rate < 1.0;
        if !possible(baseline) || !possible(treatment) {
            return Err(Undefined::OutOfRange);
        }
        Ok(Difference {
            control_variance: baseline * (1.0 - baseline),
            treatment_variance: treatment * (1.0 - treatment),
            effect: treatment - baseline,
        })
    }

    /// Users of the control, `ratio` times as many in the treatment, for an effect `distance` standard errors away.
    pub fn control_users(&self, ratio: f64, distance: f64) -> Result<f64, Undefined> {
        let noise = self.control_variance + self.treatment_variance / ratio;
        positive(distance * distance * noise / (self.effect * self.effect))
    }

    /// Variance of the estimated difference with so many users of the control.
    pub fn variance(&self, control_users: f64, ratio: f64) -> f64 {
        (self.control_variance + self.treatment_variance / ratio) / control_users
    }

    pub fn power(&self, control_users: f64, ratio: f64, design: Design) -> f64 {
        design.power_at(self.effect / self.variance(control_users, ratio).sqrt())
    }
}

/// Control users by Cohen's h instead of the difference of rates.
pub fn control_users_by_arcsine(
    baseline: f64,
    mde: f64,
    ratio: f64,
    design: Design,
) -> Result<f64, Undefined> {
    let h = 2.0 * ((baseline * (1.0 + mde)).sqrt().asin() - baseline.sqrt().asin());
    positive(design.exact_distance().powi(2) * (1.0 + 1.0 / ratio) / (h * h))
}

/// Of the test of two proportions that takes its variance under "no difference", both arms with `users`.
pub fn power_of_pooled_proportions(baseline: f64, treatment: f64, users: f64, design: Design) -> f64 {
    let pooled = 0.5 * (baseline + treatment);
    let null = (2.0 * pooled * (1.0 - pooled) / users).sqrt();
    let real = ((baseline * (1.0 - baseline) + treatment * (1.0 - treatment)) / users).sqrt();
    let apart = (treatment - baseline).abs();
    let bound = design.critical() * null;
    let other = if design.sides == 2.0 { normal::upper_tail((bound + apart) / real) } else { 0.0 };
    normal::upper_tail((bound - apart) / real) + other
}

/// Of Student's t test of two arms of `users` each, for means this many standard deviations apart.
pub fn power_by_t(effect_over_stddev: f64, users: f64, design: Design) -> Result<f64, Undefined> {
    let dof = 2.0 * users - 2.0;
    if dof < 1.0 {
        return Err(Undefined::TooFewUnits);
    }
    let critical = StudentT::new(dof)?.upper_quantile(design.alpha / design.sides);
    let shift = effect_over_stddev.abs() * (0.5 * users).sqrt();
    let other = if design.sides == 2.0 { noncentral_tail(dof, shift, -critical, -1.0) } else { 0.0 };
    finite(noncentral_tail(dof, shift, critical, 1.0) + other)
}

/// Users per arm at which Student's t test has the power of the design.
pub fn users_by_t(effect_over_stddev: f64, design: Design) -> Result<f64, Undefined> {
    let normal = positive(2.0 * (design.distance() / effect_over_stddev).powi(2))?;
    // A little more than the normal approximation says; the bracket holds the answer for any design.
    let (mut low, mut high) = (normal.max(1.5 + 1e-9), normal.max(1.5) + 1000.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if power_by_t(effect_over_stddev, middle, design)? < design.power {
            low = middle
        } else {
            high = middle
        }
        if high - low <= 1e-9 * high {
            break;
        }
    }
    Ok(high)
}

/// Power for an effect of `mde` now, or with `1 + more` times the data, from the standard error seen so far.
pub fn mid_experiment_power(
    mde: f64,
    standard_error: f64,
    more: f64,
    design: Design,
) -> Result<f64, Undefined> {
    finite(design.power_at(finite(mde * (1.0 + more).sqrt() / standard_error)?))
}

/// P(side * T' > side * t) of a noncentral t: E[Phi(..)] over the distribution of the standard deviation s, whose
/// density is proportional to s^(dof - 1) exp(-dof s^2 / 2), by quadrature around its bulk.
fn noncentral_tail(dof: f64, shift: f64, t: f64, side: f64) -> f64 {
    let spread = 1.0 / (2.0 * dof).sqrt();
    let (from, to) = ((1.0 - REACH * spread).max(0.0), 1.0 + REACH * spread);
    let half = 0.5 * (to - from) / f64::from(PANELS);
    let (mut weights, mut tails) = (0.0, 0.0);
    for panel in 0..PANELS {
        let middle = from + half * f64::from(2 * panel + 1);
        for (node, weight) in super::special::GAUSS_LEGENDRE_16 {
            for s in [middle - half * node, middle + half * node] {
                let density = weight * ((dof - 1.0) * s.ln() - 0.5 * dof * (s * s - 1.0)).exp();
                weights += density;
                tails += density * normal::upper_tail(side * (t * s - shift));
            }
        }
    }
    tails / weights
}

fn positive(value: f64) -> Result<f64, Undefined> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(Undefined::OutOfRange) }
}

/// Standard deviations of s around its middle, and panels between them.
const REACH: f64 = 10.0;
const PANELS: u32 = 12;
