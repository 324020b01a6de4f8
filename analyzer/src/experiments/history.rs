//! What was done to an experiment, by whom, the latest first.

use domain::definition::Definition;
use serde::Serialize;
use serde_json::error::Error;
use service::http::{Problem, Request, Response};
use store::AuditEntry;

use super::difference::Difference;
use crate::answer::{self, Parameters, storage, tagged};
use crate::app::Analyzer;
use crate::paging::{Page, Paging};

#[derive(Serialize)]
struct Entry {
    at: String,
    actor: String,
    request_id: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Event {
    Created {
        definition: Box<Definition>,
    },
    Changed {
        changes: Vec<Difference>,
    },
    Moved {
        status: String,
    },
    Deleted,
    Restored {
        status: String,
    },
    /// All sums were asked for anew.
    Rebuilt,
    /// Of a later release.
    Other {
        name: String,
    },
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor"])?;
    let paging = Paging::of(&parameters)?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    let (tenant, id) = (&experiment.tenant, experiment.id);
    let found = app.store.experiment_history(tenant, id, paging.cursor, paging.wanted()).await;
    let page = paging.page(found.map_err(storage)?, |entry| entry.id);
    let items: Result<Vec<Entry>, Error> = page.items.into_iter().map(Entry::of).collect();
    let items = items.map_err(|error| {
        tracing::error!(%error, "an entry of the audit log cannot be read");
        Problem::internal().retryable(false)
    })?;
    tagged(request, &Page { items, next_cursor: page.next_cursor })
}

impl Entry {
    fn of(entry: AuditEntry) -> Result<Entry, Error> {
        let AuditEntry { at, actor, action, request_id, detail, .. } = entry;
        let event = match action.as_str() {
            "experiment.create" => Event::Created { definition: serde_json::from_str(&detail)? },
            "experiment.change" => Event::Changed { changes: serde_json::from_str(&detail)? },
            "experiment.status" => Event::Moved { status: detail },
            "experiment.delete" => Event::Deleted,
            "experiment.rebuild" => Event::Rebuilt,
            "experiment.restore" => Event::Restored { status: detail },
            _ => Event::Other { name: action },
        };
        Ok(Entry { at: at.to_string(), actor, request_id, event })
    }
}
