//! The standard normal distribution, accurate to the last digits in its far tails too.
//!
//! In the middle by the series P(0 < Z < z) = phi(z) (z + z^3/3 + z^5/(3*5) + ..); beyond it from Mills' ratio
//! m(z) = P(Z > z) / phi(z) by Laplace's continued fraction m(z) = 1/(z + c), c = 1/(z + 2/(z + 3/(z + ..))), which
//! loses nothing where a probability underflows or differences cancel. `statrs` has erfc to eleven digits only.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::erfc_inv;

/// phi(z).
pub fn density(z: f64) -> f64 {
    ln_density(z).exp()
}

/// P(Z > z).
pub fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        1.0 - upper_tail(-z)
    } else if z < FAR {
        0.5 - middle(z)
    } else {
        density(z) / (z + fraction(z))
    }
}

/// P(Z < z) and P(Z > z), from the smaller of them.
pub fn tails(z: f64) -> (f64, f64) {
    let beyond = upper_tail(z.abs());
    if z < 0.0 { (beyond, 1.0 - beyond) } else { (1.0 - beyond, beyond) }
}

/// ln P(Z > z).
pub fn ln_upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        (-upper_tail(-z)).ln_1p()
    } else if z < FAR {
        upper_tail(z).ln()
    } else {
        ln_density(z) - (z + fraction(z)).ln()
    }
}

/// The z with P(Z > z) = probability, 0 < probability < 1.
pub fn upper_quantile(probability: f64) -> f64 {
    if probability > 0.5 {
        return -upper_quantile(1.0 - probability);
    }
    let start = SQRT_2 * erfc_inv(2.0 * probability);
    // One Newton step on the logarithm of the tail: the start is good to about ten digits.
    let ln_tail = ln_upper_tail(start);
    start + (ln_tail - probability.ln()) * (ln_tail - ln_density(start)).exp()
}

/// E[max(Z - z, 0)] = phi(z) - z P(Z > z): what lies beyond z on average.
pub fn loss(z: f64) -> f64 {
    if z < FAR {
        return density(z) - z * upper_tail(z);
    }
    let c = fraction(z);
    density(z) * c / (z + c)
}

fn ln_density(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * PI).ln()
}

/// P(0 < Z < z), z >= 0: every term positive.
fn middle(z: f64) -> f64 {
    let (mut term, mut sum) = (z, z);
    let mut odd = 1.0;
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    density(z) * sum
}

/// c above, from a depth at which it has converged for z >= [`FAR`]: as numerator over denominator, both by the same
/// recurrence of positive terms (below 1e220), so with one division in place of one for each step.
fn fraction(z: f64) -> f64 {
    if z > 1e8 {
        return 1.0 / z;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 20 and 216
    let depth = 20 + (440.0 / (z * z)) as u32;
    let ((mut n1, mut n0), (mut d1, mut d0)) = ((0.0, 1.0), (1.0, 0.0));
    for k in 1..=depth {
        let k = f64::from(k);
        (n1, n0) = (z * n1 + k * n0, n1);
        (d1, d0) = (z * d1 + k * d0, d1);
    }
    n1 / d1
}

/// Where the continued fraction takes over.
const FAR: f64 = 1.5;
