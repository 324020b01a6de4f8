//! Sample ratio mismatch: do the arms have the sizes their weights promise?
//!
//! Pearson's goodness of fit (Pearson 1900), the sum of (observed - expected)^2 / expected with arms - 1 degrees of
//! freedom, within each period of constant weights; statistics and degrees of freedom add up over periods. As a check
//! before reading any effect: Fabijan et al. 2019.
//!
//! Assumes independent users and at least five expected in every arm. For one look: whoever checks every day takes
//! [`super::srm_anytime`]. It cannot see users who are swapped between arms, nor losses that befall all arms alike.

use super::{
    Alpha, Flag, Undefined,
    special::{exp_positive, ln_chi_square_upper_tail},
};

/// One arm of one period of constant weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SrmArm {
    /// Enrolled users, whatever was later filtered or excluded.
    pub observed: u64,
    /// Planned share, in any unit; >= 0.
    pub weight: f64,
}

/// Outcome of the check.
#[derive(Debug, Clone, PartialEq)]
pub enum Srm {
    Tested(ChiSquare),
    /// Users in an arm that should get none: no test needed.
    CertainMismatch,
}

/// Pearson's goodness of fit.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ChiSquare {
    pub chi_square: f64,
    pub dof: u32,
    /// Never 0: below the smallest normal double, that double; `ln_p_value` tells the rest.
    pub p_value: f64,
    pub ln_p_value: f64,
    /// p below alpha, with at least five users expected in every arm (`low_data` otherwise).
    pub mismatch: bool,
    pub flags: Vec<Flag>,
}

impl Srm {
    pub fn mismatch(&self) -> bool {
        match self {
            Srm::Tested(test) => test.mismatch,
            Srm::CertainMismatch => true,
        }
    }
}

/// Compares observed with planned shares within each period and adds statistic and degrees of freedom over periods.
/// Periods without users say nothing. Arms of weight 0 take no part, but users in one are a mismatch for certain.
pub fn srm(periods: &[Vec<SrmArm>], alpha: Alpha) -> Result<Srm, Undefined> {
    let arms = || periods.iter().flatten();
    if arms().any(|a| !(a.weight >= 0.0 && a.weight.is_finite())) {
        return Err(Undefined::Inconsistent);
    }
    if arms().any(|a| a.weight == 0.0 && a.observed > 0) {
        return Ok(Srm::CertainMismatch);
    }
    let (mut statistic, mut dof, mut smallest_expected) = (0.0, 0, f64::INFINITY);
    let mut users = 0u128;
    for period in periods {
        let arms: Vec<&SrmArm> = period.iter().filter(|a| a.weight > 0.0).collect();
        let total: u128 = arms.iter().map(|a| u128::from(a.observed)).sum();
        if total == 0 {
            continue;
        }
        users += total;
        let weights: f64 = arms.iter().map(|a| a.weight).sum();
        for arm in &arms {
            let expected = total as f64 * (arm.weight / weights);
            let off = arm.observed as f64 - expected;
            statistic += off * off / expected;
            smallest_expected = expected.min(smallest_expected);
        }
        dof += u32::try_from(arms.len() - 1).unwrap_or(u32::MAX);
    }
    if users == 0 {
        return Err(Undefined::NoUnits);
    }
    if dof == 0 {
        return Err(Undefined::TooFewArms);
    }
    let statistic = super::finite(statistic)?;
    let ln_p = ln_chi_square_upper_tail(statistic, dof);
    let low_data = smallest_expected < MIN_EXPECTED;
    Ok(Srm::Tested(ChiSquare {
        chi_square: statistic,
        dof,
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
        mismatch: !low_data && ln_p < alpha.get().ln(),
        flags: if low_data { vec![Flag::LowData] } else { Vec::new() },
    }))
}

/// Expected users per arm below which chi-square is not trusted.
pub(super) const MIN_EXPECTED: f64 = 5.0;
