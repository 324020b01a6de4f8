//! The effect as a belief: a normal likelihood from the estimate and its variance, and a normal prior on the relative
//! effect or none (flat).
//!
//! precision = 1/V + 1/s0^2, mean = (d/V + p0/s0^2) / precision. Chance to win is the posterior probability that the
//! treatment is better; the risk of an arm is what choosing it costs on average where the other one is better,
//! E[max(-delta, 0)] and E[max(delta, 0)], in closed form (GrowthBook calls it risk, others expected loss).
//!
//! Assumes a nearly normal estimate: for few conversions see [`super::beta_binomial`]. A flat prior believes in any lift;
//! stopping by the posterior alone bounds no error rate, whatever the prior.

use super::{
    Alpha, Undefined,
    effect::{Effect, Measure},
    finite, normal,
};

/// Normal, on the relative effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    pub mean: f64,
    /// > 0.
    pub stddev: f64,
}

/// Which sign of an effect is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// All fields finite; risks in units of the effect.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Posterior {
    pub posterior_mean: f64,
    pub posterior_stddev: f64,
    /// That the treatment is better.
    pub chance_to_win: f64,
    pub ln_chance_to_lose: f64,
    /// Credible interval at 1 - alpha.
    pub ci: [f64; 2],
    /// Of keeping the control.
    pub risk_control: f64,
    /// Of shipping the treatment.
    pub risk_treatment: f64,
}

pub fn posterior(
    effect: &Effect,
    prior: Option<Prior>,
    better: Better,
    alpha: Alpha,
) -> Result<Posterior, Undefined> {
    let scale = match (effect.measure, prior) {
        (Measure::Absolute, Some(_)) if effect.baseline == 0.0 => return Err(Undefined::ZeroBaseline),
        (Measure::Absolute, _) => effect.baseline.abs(),
        (Measure::Relative, _) => 1.0,
    };
    let (mean, variance) = match prior {
        None => (effect.estimate, effect.variance),
        Some(prior) => {
            // Shares of the precision, which cannot overflow.
            let believed = (prior.stddev * scale) * (prior.stddev * scale);
            let of_data = believed / (believed + effect.variance);
            let mean = effect.estimate * of_data + prior.mean * scale * (1.0 - of_data);
            (mean, effect.variance * of_data)
        }
    };
    let sd = finite(variance.sqrt())?;
    if sd == 0.0 {
        return Err(Undefined::OutOfRange);
    }
    let sign = if better == Better::Higher { 1.0 } else { -1.0 };
    let z = finite(sign * mean / sd)?;
    let width = normal::upper_quantile(alpha.get() / 2.0) * sd;
    Ok(Posterior {
        posterior_mean: finite(mean)?,
        posterior_stddev: sd,
        chance_to_win: normal::upper_tail(-z),
        ln_chance_to_lose: normal::ln_upper_tail(z),
        ci: [finite(mean - width)?, finite(mean + width)?],
        risk_control: sd * normal::loss(-z),
        risk_treatment: sd * normal::loss(z),
    })
}
