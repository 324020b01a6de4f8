//! Several tests at once: p-values adjusted so that comparing each with alpha bounds the error of all together.
//!
//! - Holm (1979): bounds the probability of any false positive, whatever the dependence. Ascending,
//!   adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).
//! - Benjamini, Hochberg (1995): bounds the expected share of false ones among the positives, for independent or
//!   positively dependent tests. Descending, adjusted_(i) = min over j >= i of min(1, m p_(j) / j).
//!
//! Always-valid p-values may be adjusted like any others. Tests without a result are no part of the family.
//! Not for guardrails, where all must pass: there adjusting would only make it easier to miss harm.

use super::Alpha;

/// In the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (rank, i) in ascending(p_values).into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        highest = highest.max((left * p_values[i]).min(1.0));
        adjusted[i] = highest;
    }
    adjusted
}

/// In the order given.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p_values.len()];
    let mut lowest = 1.0_f64;
    for (rank, i) in ascending(p_values).into_iter().enumerate().rev() {
        let share = p_values.len() as f64 / (rank + 1) as f64;
        lowest = lowest.min((share * p_values[i]).min(1.0));
        adjusted[i] = lowest;
    }
    adjusted
}

pub fn rejected(adjusted_p_value: f64, alpha: Alpha) -> bool {
    adjusted_p_value <= alpha.get()
}

/// Indexes by ascending p; ties keep their order.
fn ascending(p_values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    order
}
