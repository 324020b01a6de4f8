//! Where an item goes.

use super::command::Kind;
use super::reader::Entry;
use crate::client::segment;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of a batch, those of an earlier turn are acknowledged before those of a later one are sent.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub turn: usize,
    /// Path and query.
    pub path: String,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// What the route takes.
    pub kind: Kind,
}

impl Target {
    /// Items that name their experiments themselves, or none.
    pub fn of_tenant(kind: Kind) -> Target {
        let path =
            if kind == Kind::Conversions { "/api/v1/conversions?partial=true" } else { "/api/v1/events" };
        Target { turn: 0, path: path.into(), key: None, kind }
    }

    pub fn of(kind: Kind, experiment: &str) -> Target {
        let list = match kind {
            Kind::Exposures => "exposures",
            Kind::Conversions | Kind::Events | Kind::Units => "conversions",
            Kind::PrePeriod => "pre-period",
            Kind::Strata => "strata",
            Kind::Exclusions => "exclusions",
            Kind::Holdout => "holdout",
        };
        let path = format!("/api/v1/experiments/{}/{list}?partial=true", segment(experiment));
        Target { turn: 0, path, key: None, kind }
    }
}

/// In the order of turns; those of one target in the order of the files.
pub fn by_target(entries: Vec<Entry>) -> BTreeMap<Arc<Target>, Vec<Entry>> {
    let mut parts: BTreeMap<Arc<Target>, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        parts.entry(Arc::clone(&entry.target)).or_default().push(entry);
    }
    parts
}
