//! Who takes part in an experiment: a share of those whom targeting and namespace let in.

use super::{Definition, Invalid, check_name, ensure};
use crate::assignment::{in_namespace, targeting};
use serde::{Deserialize, Serialize};

/// Name, start and end: users are spread over [0, 1) of a namespace, and experiments with disjoint ranges never share
/// one. Written as GrowthBook writes it, `["checkout", 0, 0.5]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespace(pub String, pub f64, pub f64);

impl Namespace {
    pub fn holds(&self, user_id: &str) -> bool {
        in_namespace(user_id, &self.0, self.1, self.2)
    }
}

pub(super) fn everybody() -> f64 {
    1.0
}

pub(super) fn check(definition: &Definition) -> Result<(), Invalid> {
    ensure("/coverage", (0.0..=1.0).contains(&definition.coverage), "must be between 0 and 1")?;
    if let Some(Namespace(name, start, end)) = &definition.namespace {
        check_name("/namespace/0", name)?;
        let range = 0.0 <= *start && start < end && *end <= 1.0;
        ensure("/namespace", range, "must be a name and a range within 0 and 1, its start before its end")?;
    }
    match definition.targeting.as_ref().map(targeting::check) {
        Some(Err(unusable)) => Err(Invalid { pointer: "/targeting".into(), reason: unusable.to_string() }),
        _ => Ok(()),
    }
}
