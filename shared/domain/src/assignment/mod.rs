//! Which variation a user is to see: namespace, targeting, coverage, weights; the same answer for ever, from the id alone.
//!
//! Compatible with GrowthBook's SDKs at hash version 2, seed = the experiment's key, hash attribute = the user id, so that
//! a client of either kind and `POST .../assign` agree. Ids are hashed by UTF-16 code units, as its JavaScript SDK does.

pub mod bucket;
pub mod targeting;

use serde_json::{Map, Value};

use crate::definition::Definition;
use bucket::{bucket_ranges, choose, hash_v1, hash_v2};

/// Where a user falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    Variation(usize),
    /// The user belongs to other experiments of the namespace.
    NotInNamespace,
    /// The user's attributes do not meet the targeting condition.
    NotTargeted,
    /// The experiment covers a part of its users, and this is not one of them.
    NotCovered,
}

/// `attributes`: what targeting asks about; `id` is the user's id if nothing else is given under that name.
pub fn assign(definition: &Definition, user_id: &str, attributes: &Map<String, Value>) -> Assigned {
    let outside = |space: &crate::definition::Namespace| !space.holds(user_id);
    if definition.namespace.as_ref().is_some_and(outside) {
        return Assigned::NotInNamespace;
    }
    if let Some(condition) = &definition.targeting {
        let mut asked = attributes.clone();
        asked.entry("id").or_insert_with(|| user_id.into());
        if !targeting::holds(condition, &asked) {
            return Assigned::NotTargeted;
        }
    }
    let ranges = bucket_ranges(definition.variations.len(), definition.coverage, Some(&shares(definition)));
    match choose(hash_v2(&definition.key, user_id), &ranges) {
        Some(variation) => Assigned::Variation(variation),
        None => Assigned::NotCovered,
    }
}

/// Whether a value between `start` and `end` is the user's in a namespace.
pub(crate) fn in_namespace(user_id: &str, name: &str, start: f64, end: f64) -> bool {
    (start..end).contains(&hash_v1(&format!("__{name}"), user_id))
}

/// Weights that are shares stay as they were written, digit for digit; others are relative.
fn shares(definition: &Definition) -> Vec<f64> {
    let weights = || definition.variations.iter().map(|v| v.weight);
    let total: f64 = weights().sum();
    if bucket::ARE_SHARES.contains(&total) {
        weights().collect()
    } else {
        weights().map(|w| w / total).collect()
    }
}
