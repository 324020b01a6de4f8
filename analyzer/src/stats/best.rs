//! Which of several arms is best: their means as independent normal beliefs with flat priors.
//!
//! P(i is best) is the integral of phi_i times the product of the other Phi_j; what choosing i loses on average,
//! E[max_j mu_j - mu_i], that of Phi_i (1 - product of the other Phi_j). Both by Gauss-Legendre between points that
//! follow every arm's own scale, so that arms of very different noise are integrated alike. For two arms it is the
//! chance to win of [`super::bayes`] without a prior. Assumes nearly normal means of independent arms. Not a test: the
//! best of ten arms without any effect is one of them, with a chance far above one in ten for whoever leads.

use super::{Undefined, bayes::Better, normal, special::GAUSS_LEGENDRE_16};

/// An arm's mean and the standard deviation of that mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub mean: f64,
    /// > 0.
    pub stddev: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Chance {
    /// To be the best of all.
    pub best: f64,
    /// In units of the metric.
    pub expected_loss: f64,
}

pub fn best(arms: &[Candidate], better: Better) -> Result<Vec<Chance>, Undefined> {
    if arms.len() < 2 {
        return Err(Undefined::TooFewArms);
    }
    if !arms.iter().all(|arm| arm.mean.is_finite() && arm.stddev.is_finite()) {
        return Err(Undefined::OutOfRange);
    }
    if arms.iter().any(|arm| arm.stddev <= 0.0) {
        return Err(Undefined::ZeroVariance);
    }
    let sign = if better == Better::Higher { 1.0 } else { -1.0 };
    // From the first arm on: means may be huge and close.
    let from_first = |arm: &Candidate| Candidate { mean: sign * (arm.mean - arms[0].mean), ..*arm };
    let arms: Vec<Candidate> = arms.iter().map(from_first).collect();
    let mut points: Vec<f64> = arms
        .iter()
        .flat_map(|arm| (-STEPS..=STEPS).map(|step| arm.mean + f64::from(step) * STEP * arm.stddev))
        .collect();
    points.sort_by(f64::total_cmp);
    let mut chances = vec![Chance { best: 0.0, expected_loss: 0.0 }; arms.len()];
    for pair in points.windows(2) {
        let (middle, half) = (0.5 * (pair[0] + pair[1]), 0.5 * (pair[1] - pair[0]));
        for (node, weight) in GAUSS_LEGENDRE_16 {
            for x in [middle - half * node, middle + half * node] {
                add(&mut chances, &arms, x, weight * half);
            }
        }
    }
    Ok(chances)
}

/// The integrands at `x`.
fn add(chances: &mut [Chance], arms: &[Candidate], x: f64, weight: f64) {
    let at = |arm: &Candidate| (x - arm.mean) / arm.stddev;
    let tails: Vec<(f64, f64)> = arms.iter().map(|arm| normal::tails(at(arm))).collect();
    for (i, (chance, arm)) in chances.iter_mut().zip(arms).enumerate() {
        // All others below x, and some of them above it: 1 - the former, but without losing what is left of it near 1.
        let (mut all_below, mut some_above) = (1.0, 0.0);
        for (_, (below, above)) in tails.iter().enumerate().filter(|(j, _)| *j != i) {
            some_above += all_below * above;
            all_below *= below;
        }
        chance.best += weight * normal::density(at(arm)) / arm.stddev * all_below;
        chance.expected_loss += weight * tails[i].0 * some_above;
    }
}

/// Points per arm, on either side of its mean, and their distance in its standard deviations.
const STEPS: i32 = 8;
const STEP: f64 = 1.5;
