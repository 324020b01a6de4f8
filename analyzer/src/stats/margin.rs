//! Non-inferiority: is the treatment worse by less than a margin? One-sided tests of the relative effect d against the
//! margin g: t = (d - g) / se for a metric that should be high (g < 0), mirrored for one that should be low (g > 0).
//! Passing is the same statement as a bound at 1 - alpha that lies on the good side of the margin. Welch's t, so valid
//! for one look at a planned size; [`super::sequential::one_sided`] has the bound for any number of looks. The margin is
//! a judgement made before the data is seen (ICH E9, E10): not for one that is chosen to fit.

use super::{
    Alpha, Undefined,
    bayes::Better,
    effect::Effect,
    finite,
    special::{StudentT, exp_positive},
};

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct NonInferiority {
    pub effect: f64,
    /// Against "worse by the margin or more". Never 0: `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
    /// One-sided at 1 - alpha, each on its own.
    pub lower_bound: f64,
    pub upper_bound: f64,
    pub non_inferior: bool,
}

pub fn non_inferiority(
    effect: &Effect,
    margin: f64,
    better: Better,
    alpha: Alpha,
) -> Result<NonInferiority, Undefined> {
    let standard_error = effect.variance.sqrt();
    let sign = if better == Better::Higher { 1.0 } else { -1.0 };
    let t = finite(sign * (effect.estimate - margin) / standard_error)?;
    let distribution = StudentT::new(effect.dof)?;
    let beyond = distribution.ln_upper_tail(t.abs());
    let ln_p = if t >= 0.0 { beyond } else { (-exp_positive(beyond)).ln_1p() };
    let width = distribution.upper_quantile(alpha.get()) * standard_error;
    Ok(NonInferiority {
        effect: effect.estimate,
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
        lower_bound: finite(effect.estimate - width)?,
        upper_bound: finite(effect.estimate + width)?,
        non_inferior: ln_p < alpha.get().ln(),
    })
}
