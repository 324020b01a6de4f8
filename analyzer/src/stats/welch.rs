//! Welch's t test on an effect: t = effect / standard error against Student's t with the degrees of freedom of
//! [`super::effect`], interval effect +- t_{1-alpha/2} standard errors (Welch 1947).
//!
//! Assumes independent users and nearly normal means. Not for few conversions ([`super::small_counts`]), and for one
//! look at a planned size only: whoever looks again and again takes [`super::sequential`].

use super::{
    Alpha, Flag, Undefined,
    effect::Effect,
    finite,
    special::{StudentT, exp_positive},
};

/// Result of a test of "no effect", all fields finite.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TTest {
    pub effect: f64,
    pub standard_error: f64,
    pub dof: f64,
    pub t_statistic: f64,
    /// Two-sided. Never 0: below the smallest normal double, that double; `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
    /// Against "not greater": small when the treatment is higher.
    pub p_value_greater: f64,
    /// Against "not less": small when the treatment is lower.
    pub p_value_less: f64,
    /// Two-sided interval at 1 - alpha.
    pub ci: [f64; 2],
    /// One-sided bounds at 1 - alpha, each on its own.
    pub lower_bound: f64,
    pub upper_bound: f64,
    pub flags: Vec<Flag>,
}

/// Tests an effect against "none". Assumes nearly normal means; for few conversions see [`super::small_counts`]. Valid
/// for one look, at a size that was planned: p falls below any level sooner or later if one looks often enough.
pub fn welch(effect: &Effect, alpha: Alpha) -> Result<TTest, Undefined> {
    let standard_error = effect.variance.sqrt();
    let t = finite(effect.estimate / standard_error)?;
    let distribution = StudentT::new(effect.dof)?;
    let ln_tail = distribution.ln_upper_tail(t.abs());
    let beyond = exp_positive(ln_tail);
    let within = 1.0 - beyond;
    let (greater, less) = if t >= 0.0 { (beyond, within) } else { (within, beyond) };
    let ln_p = (ln_tail + std::f64::consts::LN_2).min(0.0);
    let two_sided = distribution.upper_quantile(alpha.get() / 2.0) * standard_error;
    let one_sided = distribution.upper_quantile(alpha.get()) * standard_error;
    let at = effect.estimate;
    Ok(TTest {
        effect: at,
        standard_error,
        dof: effect.dof,
        t_statistic: t,
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
        p_value_greater: greater,
        p_value_less: less,
        ci: [finite(at - two_sided)?, finite(at + two_sided)?],
        lower_bound: finite(at - one_sided)?,
        upper_bound: finite(at + one_sided)?,
        flags: effect.flags.clone(),
    })
}
