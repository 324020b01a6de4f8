//! Answers that stay valid however often one looks: the asymptotic confidence sequence of a normal mixture
//! (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021; Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021,
//! equations 9, 134, 155, 161).
//!
//! With N users in both arms, V the variance of the effect, rho the scale of the mixture and k = N rho^2 + 1, the
//! interval is effect +- sqrt(V 2k/(N rho^2) ln(sqrt(k)/alpha)). The probability that it *ever* leaves out the truth is
//! at most alpha; p is the level at which it would just leave out zero. It is narrowest near the size it is tuned to.
//! The mixture sequential probability ratio test with a N(0, tau^2) mixture is the same thing with rho^2 = tau^2/(V N).
//!
//! Assumes arms that fill at roughly constant shares, and means that are nearly normal: not for the first hundred
//! users. Wider than a single fixed test at its planned size; that is the price of looking.

use super::{Alpha, Undefined, effect::Effect, finite, special::exp_positive};

/// One look at an effect, all fields finite.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sequential {
    pub effect: f64,
    pub standard_error: f64,
    /// Scale of the mixture.
    pub rho: f64,
    pub half_width: f64,
    /// Two-sided at 1 - alpha, over all looks together.
    pub ci: [f64; 2],
    /// Two-sided, valid at every look. Never 0: `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
}

/// The squared scale of the mixture that makes the two-sided interval narrowest when both arms together have `users`.
pub fn tuned_to(users: f64, alpha: Alpha) -> f64 {
    let ln = alpha.get().ln();
    (-2.0 * ln + (-2.0 * ln).ln_1p()) / users
}

/// The two-sided sequence at the present look.
pub fn sequential(effect: &Effect, rho_squared: f64, alpha: Alpha) -> Result<Sequential, Undefined> {
    let users = enough(effect)?;
    let (rate, k) = (users * rho_squared, users * rho_squared + 1.0);
    let standard_error = effect.variance.sqrt();
    let half_width = finite(half_width(effect.variance, users, rho_squared, alpha))?;
    let z = effect.estimate / standard_error;
    let ln_p = -finite(0.5 * z * z * rate / k - 0.5 * k.ln())?.max(0.0);
    Ok(Sequential {
        effect: effect.estimate,
        standard_error,
        rho: finite(rho_squared.sqrt())?,
        half_width,
        ci: [finite(effect.estimate - half_width)?, finite(effect.estimate + half_width)?],
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
    })
}

/// Of the two-sided interval, with `users` in both arms together.
pub fn half_width(variance: f64, users: f64, rho_squared: f64, alpha: Alpha) -> f64 {
    let (rate, k) = (users * rho_squared, users * rho_squared + 1.0);
    (variance * 2.0 * k / rate * (0.5 * k.ln() - alpha.get().ln())).sqrt()
}

/// Half of the two-sided interval's width in standard errors, where it is narrowest.
pub fn widths_at_tuning(alpha: Alpha) -> f64 {
    half_width(1.0, 1.0, tuned_to(1.0, alpha), alpha)
}

/// How far below the estimate (or above it) the one-sided bound at 1 - alpha lies, tuned to `users` like the two-sided
/// sequence: sqrt(V 2k/(N rho^2) ln(1 + sqrt(k)/(2 alpha))), rho from 2 alpha. Each side on its own.
pub fn one_sided(effect: &Effect, tuning: f64, alpha: Alpha) -> Result<f64, Undefined> {
    let users = enough(effect)?;
    let doubled = Alpha::new(2.0 * alpha.get()).ok_or(Undefined::OutOfRange)?;
    let rate = users * tuned_to(tuning, doubled);
    let k = rate + 1.0;
    let width = 2.0 * k / rate * (k.sqrt() / (2.0 * alpha.get())).ln_1p();
    finite((effect.variance * width).sqrt())
}

fn enough(effect: &Effect) -> Result<f64, Undefined> {
    if effect.users.iter().any(|n| *n < MIN_USERS) {
        return Err(Undefined::NotEnoughUsers);
    }
    Ok(effect.users.iter().map(|n| *n as f64).sum())
}

/// In each arm: below it the normal approximation that the sequence rests on is not to be trusted at every look.
pub const MIN_USERS: u64 = 100;
