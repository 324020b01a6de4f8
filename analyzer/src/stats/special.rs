//! Tails and quantiles, as logarithms so that nothing underflows.
//!
//! The t tail is not taken from `statrs`: its t quantile did not return for large degrees of freedom, and live
//! experiments have millions of them. Here one integral serves every dof. With y = ln(1 + u^2/dof) and s^2 = dof * y,
//!
//! P(T > t) = C * integral from s(t) of exp(-s^2/2) * sqrt(y / (1 - e^-y)) ds
//!
//! which is a normal tail times a smooth factor that tends to 1 for large dof.

use std::f64::consts::{LN_2, PI};

use ethnum::I256;
use statrs::function::gamma::ln_gamma;

use super::{Undefined, finite, normal};

/// Nearest float, within one unit in the last place, of a 256-bit integer.
pub fn to_f64(value: I256) -> f64 {
    // By magnitude: converting the two's complement words of a small negative number would cancel.
    let (high, low) = value.unsigned_abs().into_words();
    let magnitude = high as f64 * 2f64.powi(128) + low as f64;
    if value < 0 { -magnitude } else { magnitude }
}

/// e^x for x <= 0, at least the smallest normal double: a probability that is never printed as 0.
pub fn exp_positive(ln: f64) -> f64 {
    ln.exp().clamp(f64::MIN_POSITIVE, 1.0)
}

/// Student's t distribution.
#[derive(Debug, Clone, Copy)]
pub struct StudentT {
    dof: f64,
    /// ln of the factor C above, with the normal's 1/sqrt(2 pi) in it.
    ln_factor: f64,
}

impl StudentT {
    /// Degrees of freedom must be finite and at least 1 (a Welch dof always is, rounding aside).
    pub fn new(dof: f64) -> Result<StudentT, Undefined> {
        let dof = finite(dof)?.max(1.0);
        let half = dof / 2.0;
        let ln_factor = ln_gamma_half_step(half) - 0.5 * half.ln() - 0.5 * (2.0 * PI).ln();
        Ok(StudentT { dof, ln_factor })
    }

    /// ln P(T > t), t >= 0.
    pub fn ln_upper_tail(&self, t: f64) -> f64 {
        if t == 0.0 {
            return -LN_2;
        }
        self.ln_tail_from(self.normal_scale(t))
    }

    /// The x with P(T > x) = probability, 0 < probability < 1.
    pub fn upper_quantile(&self, probability: f64) -> f64 {
        if probability > 0.5 {
            return -self.upper_quantile(1.0 - probability);
        }
        if probability == 0.5 {
            return 0.0;
        }
        let target = probability.ln();
        // In s the tail is nearly normal for every dof, so Newton on its logarithm converges in a step or two.
        let mut s = normal::upper_quantile(probability).max(0.01);
        for _ in 0..MAX_NEWTON_STEPS {
            let ln_tail = self.ln_tail_from(s);
            let hazard = (self.ln_density(s) - ln_tail).exp();
            let step = (ln_tail - target) / hazard;
            let next = (s + step).max(s / 8.0);
            // Quadratic convergence: the error left is the square of the step.
            let done = (next - s).abs() <= 1e-9 * s;
            s = next;
            if done {
                break;
            }
        }
        // sqrt(dof * (e^y - 1)), by e^(y/2) because e^y overflows first.
        let y = s * s / self.dof;
        (0.5 * y).exp() * (self.dof * -(-y).exp_m1()).sqrt()
    }

    /// s(t) = sqrt(dof * ln(1 + t^2/dof)).
    fn normal_scale(&self, t: f64) -> f64 {
        let y = if t < 1e100 { (t * t / self.dof).ln_1p() } else { 2.0 * t.ln() - self.dof.ln() };
        (self.dof * y).sqrt()
    }

    fn ln_density(&self, s: f64) -> f64 {
        self.ln_factor - 0.5 * s * s + smooth_factor(s * s / self.dof).ln()
    }

    /// ln of the integral from s, with exp(-s^2/2) taken out.
    fn ln_tail_from(&self, s: f64) -> f64 {
        // Where s*v + v^2/2 = DROP, the integrand has fallen to e^-DROP of its start.
        let length = 2.0 * DROP / (s + (s * s + 2.0 * DROP).sqrt());
        let half_panel = 0.5 * length / f64::from(PANELS);
        let mut sum = 0.0;
        for panel in 0..PANELS {
            let middle = half_panel * f64::from(2 * panel + 1);
            for (node, weight) in GAUSS_LEGENDRE_16 {
                for v in [middle - half_panel * node, middle + half_panel * node] {
                    let at = s + v;
                    sum += weight * (-v * (s + 0.5 * v)).exp() * smooth_factor(at * at / self.dof);
                }
            }
        }
        self.ln_factor - 0.5 * s * s + (sum * half_panel).ln()
    }
}

/// sqrt(y / (1 - e^-y)), 1 at y = 0.
fn smooth_factor(y: f64) -> f64 {
    if y == 0.0 { 1.0 } else { (y / -(-y).exp_m1()).sqrt() }
}

/// ln(gamma(a + 1/2) / gamma(a)), a > 0: the difference of two huge logarithms, without taking it.
fn ln_gamma_half_step(mut a: f64) -> f64 {
    let mut ln = 0.0;
    while a < 30.0 {
        ln += (a / (a + 0.5)).ln();
        a += 1.0;
    }
    let r = 1.0 / a;
    let r2 = r * r;
    // Asymptotic series; the first term left out is below 1e-16 from a = 30 on.
    ln + 0.5 * a.ln() + r * (-1.0 / 8.0 + r2 * (1.0 / 192.0 + r2 * (-1.0 / 640.0 + r2 * 17.0 / 14336.0)))
}

/// ln P(X > x) of a chi-square with `dof` >= 1, x >= 0.
pub fn ln_chi_square_upper_tail(x: f64, dof: u32) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (a, x) = (f64::from(dof) / 2.0, x / 2.0);
    let ln_front = a * x.ln() - x - ln_gamma(a);
    if x < a + 1.0 {
        (-(ln_front.exp() * lower_gamma_series(a, x)).min(1.0)).ln_1p()
    } else {
        ln_front + upper_gamma_fraction(a, x).ln()
    }
}

/// sum of x^k / (a (a+1) .. (a+k)): converges fast for x < a + 1.
fn lower_gamma_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    for k in 1..MAX_TERMS {
        term *= x / (a + f64::from(k));
        sum += term;
        if term <= sum * 1e-17 {
            break;
        }
    }
    sum
}

/// The continued fraction 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(..))) by Lentz's method, for x >= a + 1.
fn upper_gamma_fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut value = d;
    for k in 1..MAX_TERMS {
        let k = f64::from(k);
        let numerator = -k * (k - a);
        b += 2.0;
        d = numerator * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + numerator / c;
        c = if c.abs() < TINY { TINY } else { c };
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

const MAX_TERMS: u32 = 100_000;
const MAX_NEWTON_STEPS: u32 = 50;
/// e^-48 is below half a unit in the last place of the integral.
const DROP: f64 = 48.0;
/// Enough for sixteen nodes each to integrate to full precision, at any dof and t (tests compare with 60 digits).
const PANELS: u32 = 10;
/// Positive nodes and their weights on [-1, 1].
pub(super) const GAUSS_LEGENDRE_16: [(f64, f64); 8] = [
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.755_404_408_355_003, 0.124_628_971_255_533_88),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_58),
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
];
