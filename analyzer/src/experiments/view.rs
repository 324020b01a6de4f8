//! An experiment as clients see it.

use domain::ExperimentId;
use domain::definition::Definition;
use serde::Serialize;
use store::Experiment;

#[derive(Serialize)]
pub struct View<'a> {
    id: ExperimentId,
    status: &'static str,
    plan_version: u32,
    /// Raised by every change.
    revision: u64,
    created_at: String,
    started_at: Option<String>,
    stopped_at: Option<String>,
    /// Since when its raw rows are purged: answers stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    purged_at: Option<String>,
    /// Sums of the definition shown are being built; answers are of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilding: Option<Rebuilding>,
    #[serde(flatten)]
    definition: &'a Definition,
}

/// How far a plan version is that is not served yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rebuilding {
    pub version: u32,
    pub done_partitions: u16,
    pub partitions: u16,
}

impl Rebuilding {
    pub fn of(e: &Experiment) -> Option<Rebuilding> {
        let next = e.rebuild.as_ref()?;
        let (done_partitions, partitions) = (next.done_partitions, next.partitions);
        Some(Rebuilding { version: next.version, done_partitions, partitions })
    }
}

impl<'a> View<'a> {
    pub fn of(e: &'a Experiment) -> View<'a> {
        View {
            id: e.id,
            status: e.status.as_str(),
            plan_version: e.plan_version,
            revision: e.revision,
            created_at: e.created_at.to_string(),
            started_at: e.started_at.map(|t| t.to_string()),
            stopped_at: e.stopped_at.map(|t| t.to_string()),
            purged_at: e.purged_at.map(|t| t.to_string()),
            rebuilding: Rebuilding::of(e),
            definition: e.wanted(),
        }
    }
}
