//! Sample ratio mismatch that may be checked at every look: a Bayes factor of "some other shares" against the planned
//! ones (Lindon, Malek 2022, anytime-valid inference for multinomial count data).
//!
//! With a Dirichlet prior of total mass k centred on the planned shares w,
//! ln BF = lnG(k) - lnG(k + n) + sum(lnG(k w_i + O_i) - lnG(k w_i)) - sum O_i ln w_i. Under the planned shares BF ever
//! exceeds 1/alpha with probability at most alpha, so p = min(1, 1/BF) holds at any look, and so does its running
//! minimum. A large k finds small deviations late, a small one large deviations early.
//! Assumes independent users and weights that are constant within each period. Less powerful than one
//! [`super::srm`] at a single look.

use statrs::function::gamma::ln_gamma;

use super::{Alpha, Undefined, finite, special::exp_positive, srm::SrmArm};

#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct AnytimeSrm {
    /// Of this look.
    pub ln_bayes_factor: f64,
    /// The least of this look and those before. Never 0: `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
    pub mismatch: bool,
}

/// One check per look, each with the arms of every period of constant weights as they stand by then. Arms of weight 0
/// take no part.
pub fn srm_anytime(looks: &[Vec<Vec<SrmArm>>], alpha: Alpha) -> Result<Vec<AnytimeSrm>, Undefined> {
    let mut least = 0.0_f64;
    let mut checked = Vec::with_capacity(looks.len());
    for periods in looks {
        let mut ln_bayes_factor = 0.0;
        for arms in periods {
            ln_bayes_factor += ln_factor(arms)?;
        }
        least = least.min(-finite(ln_bayes_factor)?);
        checked.push(AnytimeSrm {
            ln_bayes_factor,
            p_value: exp_positive(least),
            ln_p_value: least,
            mismatch: least < alpha.get().ln(),
        });
    }
    Ok(checked)
}

fn ln_factor(arms: &[SrmArm]) -> Result<f64, Undefined> {
    if arms.iter().any(|arm| !(arm.weight >= 0.0 && arm.weight.is_finite())) {
        return Err(Undefined::Inconsistent);
    }
    let taking_part = || arms.iter().filter(|arm| arm.weight > 0.0);
    let weights: f64 = taking_part().map(|arm| arm.weight).sum();
    let total: f64 = taking_part().map(|arm| arm.observed as f64).sum();
    let of_arm = |arm: &SrmArm| {
        let (share, observed) = (arm.weight / weights, arm.observed as f64);
        let expected = CONCENTRATION * share;
        ln_gamma(expected + observed) - ln_gamma(expected) - observed * share.ln()
    };
    let together = ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + total);
    finite(together + taking_part().map(of_arm).sum::<f64>())
}

/// k: found good for traffic of the size experiments have by Optimizely's `ssrm-test`.
const CONCENTRATION: f64 = 10_000.0;
