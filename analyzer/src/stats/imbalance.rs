//! Whether something befell the users of some arms more often than of others: Pearson's chi-square test of equal
//! proportions (Pearson 1900). What removes users from the analysis must not depend on the arm, or the arms left are not
//! comparable.
//!
//! With n_i users of an arm, a_i of them affected and p = sum a / sum n: the sum of (a_i - n_i p)^2 / (n_i p (1 - p)),
//! arms - 1 degrees of freedom. Assumes independent users, and at least five affected and five others expected in every
//! arm (`low_data` otherwise). Not for what a treatment may rightly change, such as conversions.

use super::{
    Alpha, Flag, Undefined, finite,
    special::{exp_positive, ln_chi_square_upper_tail},
    srm::{ChiSquare, MIN_EXPECTED},
};

/// Users of an arm, and those of them it befell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Befallen {
    pub users: u64,
    pub affected: u64,
}

/// Arms without users take no part. Where it befell nobody, or everybody, there is nothing to compare.
pub fn imbalance(arms: &[Befallen], alpha: Alpha) -> Result<ChiSquare, Undefined> {
    let arms: Vec<&Befallen> = arms.iter().filter(|arm| arm.users > 0).collect();
    let dof = match arms.len() {
        0 => return Err(Undefined::NoUnits),
        1 => return Err(Undefined::TooFewArms),
        n => u32::try_from(n - 1).unwrap_or(u32::MAX),
    };
    if arms.iter().any(|arm| arm.affected > arm.users) {
        return Err(Undefined::Inconsistent);
    }
    let sum = |of: fn(&Befallen) -> u64| arms.iter().map(|arm| of(arm) as f64).sum::<f64>();
    let rate = sum(|arm| arm.affected) / sum(|arm| arm.users);
    if rate == 0.0 || rate == 1.0 {
        return Err(Undefined::ZeroVariance);
    }
    let (mut statistic, mut smallest_expected) = (0.0, f64::INFINITY);
    for arm in arms {
        let users = arm.users as f64;
        let off = arm.affected as f64 - users * rate;
        statistic += off * off / (users * rate * (1.0 - rate));
        smallest_expected = smallest_expected.min(users * rate).min(users * (1.0 - rate));
    }
    let ln_p = ln_chi_square_upper_tail(finite(statistic)?, dof);
    let low_data = smallest_expected < MIN_EXPECTED;
    Ok(ChiSquare {
        chi_square: statistic,
        dof,
        p_value: exp_positive(ln_p),
        ln_p_value: ln_p,
        mismatch: !low_data && ln_p < alpha.get().ln(),
        flags: if low_data { vec![Flag::LowData] } else { Vec::new() },
    })
}
