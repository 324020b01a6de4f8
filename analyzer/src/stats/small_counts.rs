//! Proportions with few conversions, or few users without one, where Welch's variance means little or is zero.
//!
//! - Interval of one arm: Wilson's score interval (Wilson 1927).
//! - Interval of the difference: Newcombe's hybrid of two Wilson intervals (Newcombe 1998, method 10). Never outside
//!   [-1, 1], and not empty at 0 of n or n of n.
//! - p: Fisher's exact test, two-sided by adding up all tables with the observed margins that are no more probable
//!   than the observed one. Conservative: its true level is below the nominal one.
//! - z with the pooled rate, for comparison; needs conversions and users without in at least one arm.
//!
//! Assumes independent users. Not for large counts in both arms, where Welch agrees and says more (relative effects).

use statrs::function::gamma::ln_gamma;

use super::{Alpha, Undefined, arms::ProportionArm, finite, normal, special::exp_positive};

/// Both arms and their difference, all finite.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SmallCounts {
    /// Treatment minus control.
    pub effect: f64,
    /// Newcombe's interval of the difference at 1 - alpha.
    pub ci: [f64; 2],
    /// Fisher's, two-sided. Never 0; `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
    pub wilson_control: [f64; 2],
    pub wilson_treatment: [f64; 2],
    /// Null when all users or none converted.
    pub pooled_z: Option<f64>,
    pub p_pooled_z: Option<f64>,
}

pub fn small_counts(
    control: &ProportionArm,
    treatment: &ProportionArm,
    alpha: Alpha,
) -> Result<SmallCounts, Undefined> {
    let (a, b) = (control.rate()?, treatment.rate()?);
    let (of_a, of_b) = (wilson(control, alpha)?, wilson(treatment, alpha)?);
    let effect = b - a;
    let below = (b - of_b[0]).hypot(of_a[1] - a);
    let above = (of_b[1] - b).hypot(a - of_a[0]);
    let ln_p = ln_fisher(control, treatment)?;
    let pooled_z = pooled_z(control, treatment, effect);
    Ok(SmallCounts {
        effect,
        ci: [effect - below, effect + above],
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
        wilson_control: of_a,
        wilson_treatment: of_b,
        pooled_z,
        p_pooled_z: pooled_z.map(|z| (2.0 * normal::upper_tail(z.abs())).clamp(f64::MIN_POSITIVE, 1.0)),
    })
}

/// Wilson's interval of an arm's rate at 1 - alpha.
pub fn wilson(arm: &ProportionArm, alpha: Alpha) -> Result<[f64; 2], Undefined> {
    let (n, rate) = (arm.n as f64, arm.rate()?);
    let missing = arm.n.checked_sub(arm.converters).ok_or(Undefined::Inconsistent)?;
    let z = normal::upper_quantile(alpha.get() / 2.0);
    let scale = 1.0 + z * z / n;
    let middle = (rate + z * z / (2.0 * n)) / scale;
    let half = z / scale * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    // At the ends the bound is 0 or 1 exactly.
    let low = if arm.converters == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if missing == 0 { 1.0 } else { (middle + half).min(1.0) };
    Ok([finite(low)?, finite(high)?])
}

fn pooled_z(a: &ProportionArm, b: &ProportionArm, effect: f64) -> Option<f64> {
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let rate = (a.converters as f64 + b.converters as f64) / (n_a + n_b);
    let variance = rate * (1.0 - rate) * (1.0 / n_a + 1.0 / n_b);
    (variance > 0.0).then(|| effect / variance.sqrt())
}

/// ln of Fisher's two-sided p.
fn ln_fisher(a: &ProportionArm, b: &ProportionArm) -> Result<f64, Undefined> {
    let total = a.converters.checked_add(b.converters).ok_or(Undefined::OutOfRange)?;
    let users = a.n.checked_add(b.n).ok_or(Undefined::OutOfRange)?;
    if a.converters > a.n || b.converters > b.n {
        return Err(Undefined::Inconsistent);
    }
    let table = Hypergeometric { n_a: a.n, n_b: b.n, total };
    let (lowest, highest) = (total.saturating_sub(b.n), total.min(a.n));
    let observed = table.ln_weight(a.converters);
    // Equally probable tables must not be told apart by rounding.
    let limit = observed + TIE;
    // The weights rise to the mode and fall behind it.
    let mode = (u128::from(a.n + 1) * u128::from(total + 1) / (u128::from(users) + 2))
        .clamp(u128::from(lowest), u128::from(highest));
    let mode = u64::try_from(mode).map_err(|_| Undefined::OutOfRange)?;
    let left = last_below(lowest, mode, |x| table.ln_weight(x) <= limit);
    let right = last_below(0, highest - mode, |back| table.ln_weight(highest - back) <= limit);
    if left.is_some_and(|left| left == mode) || right.is_some_and(|right| right == highest - mode) {
        // The observed table is a mode: every table is at most as probable.
        return Ok(0.0);
    }
    let mut sum = 0.0;
    if let Some(from) = left {
        sum += table.sum_from(from, observed, |x| (x > lowest).then(|| x - 1));
    }
    if let Some(back) = right {
        sum += table.sum_from(highest - back, observed, |x| (x < highest).then_some(x + 1));
    }
    Ok((observed + sum.ln() - table.ln_normaliser()).min(0.0))
}

/// The largest x of [from, to] for which `holds`, given that it holds up to some x and not behind it.
fn last_below(from: u64, to: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(from) {
        return None;
    }
    let (mut good, mut bad) = (from, to + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

/// Conversions of arm A given the margins.
struct Hypergeometric {
    n_a: u64,
    n_b: u64,
    total: u64,
}

impl Hypergeometric {
    /// ln C(n_a, x) C(n_b, total - x).
    fn ln_weight(&self, x: u64) -> f64 {
        ln_choose(self.n_a, x) + ln_choose(self.n_b, self.total - x)
    }

    fn ln_normaliser(&self) -> f64 {
        ln_choose(self.n_a + self.n_b, self.total)
    }

    /// Sum of the weights relative to e^unit, from x outwards until the rest is nothing.
    fn sum_from(&self, x: u64, unit: f64, next: impl Fn(u64) -> Option<u64>) -> f64 {
        let mut weight = (self.ln_weight(x) - unit).exp();
        let (mut sum, mut at) = (0.0, x);
        loop {
            sum += weight;
            match next(at) {
                Some(following) if weight > sum * 1e-18 => {
                    weight *= self.ratio(at, following);
                    at = following;
                }
                _ => return sum,
            }
        }
    }

    /// Weight of `to` over that of its neighbour `from`.
    fn ratio(&self, from: u64, to: u64) -> f64 {
        let (low, up) = (from.min(to), to > from);
        let (n_a, n_b, total, x) = (self.n_a as f64, self.n_b as f64, self.total as f64, low as f64);
        let rising = (n_a - x) * (total - x) / ((x + 1.0) * (n_b - total + x + 1.0));
        if up { rising } else { 1.0 / rising }
    }
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
}

/// Relative difference of probabilities below which two tables are taken as equally probable.
const TIE: f64 = 1e-7;
