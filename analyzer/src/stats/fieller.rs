//! Fieller's interval of the relative effect: right where the delta method's linearisation is not, with a control mean
//! that is close to zero measured by its own noise.
//!
//! The ratio r = m_B / m_A is accepted where (m_B - r m_A)^2 <= c (b + r^2 a), with a, b the variances of the two means
//! and c the squared critical value (Fieller 1954). That is a bounded interval only if m_A^2 > c a, that is if the
//! control mean differs from zero at the same level. Assumes nearly normal means of independent arms.
//! Not needed where the control's mean is clear of zero: there the delta method's interval is nearly the same. It has no
//! variance, so nothing sequential or Bayesian can be made of it.

use super::{Undefined, arms::Pair, finite};

/// Interval of (m_B - m_A) / |m_A|; `critical` is the quantile of t or z that belongs to the level.
pub fn fieller(pair: &Pair, critical: f64) -> Result<[f64; 2], Undefined> {
    let (m_a, m_b) = (pair.control.mean, pair.treatment.mean);
    let (a, b) = (pair.control.mean_variance(), pair.treatment.mean_variance());
    let c = critical * critical;
    let leading = m_a * m_a - c * a;
    if leading <= 0.0 {
        return Err(Undefined::Unbounded);
    }
    let half = (c * (a * m_b * m_b + b * leading)).sqrt();
    let [low, high] = [m_a * m_b - half, m_a * m_b + half].map(|root| root / leading - 1.0);
    // Against a negative control mean the ratio grows when the treatment gets worse.
    let [low, high] = if m_a > 0.0 { [low, high] } else { [-high, -low] };
    Ok([finite(low)?, finite(high)?])
}
