//! Dead letters over HTTP: what was accepted and could not be applied, looked at, sent again, dropped.
//!
//! A tenant's letters are its admins'; those whose tenant is unknown, because the frame could not be read, are for
//! operators.

mod erase;
mod frames;
mod redrive;
mod view;

pub use erase::erase;
pub use redrive::redrive;

use domain::ExperimentId;
use serde::{Deserialize, Serialize};
use service::auth::Scopes;
use service::http::{Problem, Request, Response, StatusCode};
use store::{Letter, LetterFilter, Removal};

use crate::answer::{self, Parameters, actor, storage, tagged};
use crate::app::Analyzer;
use crate::paging::Paging;
use view::{Summary, Whole};

/// Most letters of one request to redrive or to drop.
const IDS_MAX: usize = 1_000;

/// The tenant of letters that nobody knows the tenant of.
const UNKNOWN: &str = "";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<i64>,
}

#[derive(Serialize)]
struct Outcomes {
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    id: i64,
    outcome: Outcome,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Its events are in the queue, and it is gone.
    Redriven,
    Dropped,
    /// There is none of this id, or not any more.
    NotFound,
    /// Past the bound of its tenant only a digest was kept.
    NoPayload,
    /// This release cannot apply what it holds.
    Unreadable,
    /// The queue did not take it in time: it is still there.
    NotSent,
}

pub async fn list(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor", "experiment", "reason", "unknown_tenant"])?;
    let paging = Paging::of(&parameters)?;
    let unknown = parameters.parsed("unknown_tenant", "must be true or false", |t| t.parse().ok())?;
    let tenant = match unknown {
        Some(true) => allowed(request, Scopes::OPERATOR, UNKNOWN)?,
        Some(false) | None => allowed(request, Scopes::ADMIN, &request.principal().tenant)?,
    };
    let experiment = match parameters.get("experiment") {
        Some(reference) => Some(experiment(app, request, reference).await?),
        None => None,
    };
    let filter = LetterFilter { experiment, reason: parameters.get("reason") };
    let found = app.store.dead_letters(tenant, filter, paging.cursor.unwrap_or(0), paging.wanted()).await;
    let page = paging.page(found.map_err(storage)?, |letter| letter.id);
    tagged(request, &page.shown(Summary::of))
}

pub async fn get(app: &Analyzer, request: &Request, id: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let unknown = || Problem::not_found("unknown_dead_letter", "there is no such dead letter");
    let id = id.parse().map_err(|_| unknown())?;
    let (_, letter, payload) = find(app, request, id).await?.ok_or_else(unknown)?;
    tagged(request, &Whole::of(&letter, &payload, app.partitions))
}

pub async fn drop(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let ids = read_ids(&mut request).await?;
    let actor = actor(&request);
    let mut dropped = Vec::new();
    for tenant in tenants(&request) {
        let deleted = app.store.delete_dead_letters(tenant, &ids, Removal::Dropped, actor);
        dropped.extend(deleted.await.map_err(storage)?);
    }
    let outcome = |id| if dropped.contains(&id) { Outcome::Dropped } else { Outcome::NotFound };
    let items = ids.into_iter().map(|id| Item { id, outcome: outcome(id) }).collect();
    Response::json(StatusCode::OK, &Outcomes { items })
}

/// Ascending, each once.
async fn read_ids(request: &mut Request) -> Result<Vec<i64>, Problem> {
    let Ids { mut ids } = answer::json(request, "invalid_ids").await?;
    if !(1..=IDS_MAX).contains(&ids.len()) {
        return Err(Problem::unprocessable("invalid_ids", format!("`ids` must hold 1 to {IDS_MAX} ids")));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// A letter that the key may see, with the tenant it is kept under and its payload.
async fn find<'r>(
    app: &Analyzer,
    request: &'r Request,
    id: i64,
) -> Result<Option<(&'r str, Letter, Vec<u8>)>, Problem> {
    for tenant in tenants(request) {
        if let Some((letter, payload)) = app.store.dead_letter(tenant, id).await.map_err(storage)? {
            return Ok(Some((tenant, letter, payload)));
        }
    }
    Ok(None)
}

/// Whose letters the key may see.
fn tenants(request: &Request) -> impl Iterator<Item = &str> {
    let principal = request.principal();
    let own = principal.can(Scopes::ADMIN).then_some(&*principal.tenant);
    let unknown = principal.can(Scopes::OPERATOR).then_some(UNKNOWN);
    own.into_iter().chain(unknown)
}

fn allowed<'t>(request: &Request, scope: Scopes, tenant: &'t str) -> Result<&'t str, Problem> {
    if request.principal().can(scope) {
        Ok(tenant)
    } else {
        Err(Problem::forbidden("missing_scope", "the key lacks the scope these letters need"))
    }
}

/// By key, or by id: that of a deleted experiment too, and 0 for events that named none.
async fn experiment(app: &Analyzer, request: &Request, reference: &str) -> Result<ExperimentId, Problem> {
    match reference.parse() {
        Ok(id) => Ok(ExperimentId(id)),
        Err(_) => Ok(answer::experiment(&*app.store, request, reference).await?.id),
    }
}
