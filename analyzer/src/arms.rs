//! From stored rows to the sums of each arm.

use domain::{Moments, Overflow};
use store::{ArmRow, Experiment};

/// The stored rows do not fit the stored experiment.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error("the experiment has rows of a variation {0} it does not have")]
    Variation(i16),
    #[error("the experiment's error levels are not between 0 and 1")]
    Alpha,
}

/// The sums of each arm over partitions, strata and phases. The holdout (variation -1) is no arm.
pub fn arms_of(experiment: &Experiment, rows: &[ArmRow]) -> Result<Vec<Moments>, Unanswerable> {
    let mut arms = vec![Moments::default(); experiment.definition.variations.len()];
    for row in rows.iter().filter(|row| row.key.variation >= 0) {
        let variation = row.key.variation;
        let arm = usize::try_from(variation).ok().and_then(|v| arms.get_mut(v));
        arm.ok_or(Unanswerable::Variation(variation))?.add(&row.moments)?;
    }
    Ok(arms)
}
