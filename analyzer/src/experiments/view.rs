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
    #[serde(flatten)]
    definition: &'a Definition,
}

#[derive(Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
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
            definition: &e.definition,
        }
    }
}
