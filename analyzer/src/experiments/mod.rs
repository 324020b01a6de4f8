//! Experiments over HTTP: created, listed, changed, moved through their statuses, deleted and restored.
//!
//! Creating is idempotent: the same key with the same definition answers 200 with what is there and projects it again,
//! so a creation whose projection failed succeeds on retry. The same key with another definition is 409. [`change`]
//! says how a definition is replaced, [`rules`] what of it may be, [`history`] what became of it.

mod body;
pub mod change;
pub mod difference;
pub mod history;
mod precondition;
pub mod rebuild;
mod rules;
mod view;

use domain::ExperimentId;
use service::http::header::{HeaderValue, LOCATION};
use service::http::{Problem, Request, Response, StatusCode};
use store::{Created, Experiment, Listing, Restored, Status, StoreError, Transition};

use crate::answer::{self, Parameters, actor, storage, tagged, tagged_as, unknown_experiment};
use crate::app::Analyzer;
use crate::paging::Paging;
pub use body::nothing;
pub use view::Rebuilding;
use view::View;

pub async fn create(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let definition = body::definition(&mut request).await?;
    let actor = actor(&request);
    let created = app.store.create_experiment(&request.principal().tenant, &definition, actor).await;
    let (status, experiment) = match created {
        Ok(Created::New(experiment)) => (StatusCode::CREATED, experiment),
        Ok(Created::Exists(experiment)) if experiment.definition == definition => {
            (StatusCode::OK, experiment)
        }
        Ok(Created::Exists(_)) => {
            let detail = format!("the key '{}' has an experiment with another definition", definition.key);
            return Err(Problem::conflict("key_taken", detail));
        }
        Err(StoreError::KeyUsed(key)) => {
            let detail =
                format!("the key '{key}' belonged to a deleted experiment; keys are unique for ever");
            return Err(Problem::conflict("key_used", detail));
        }
        Err(error) => return Err(storage(error)),
    };
    app.catalogue.publish(&experiment).await?;
    let location = HeaderValue::try_from(format!("/api/v1/experiments/{}", experiment.id))
        .map_err(|_| Problem::internal())?;
    Ok(tagged_as(status, &View::of(&experiment))?.with(LOCATION, location))
}

pub async fn list(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor", "status", "label"])?;
    let paging = Paging::of(&parameters)?;
    let status = parameters.parsed("status", "must be draft, running, stopped or archived", Status::parse)?;
    let listing = Listing {
        after: ExperimentId(paging.cursor.unwrap_or(0)),
        limit: paging.wanted(),
        status,
        label: parameters.get("label"),
    };
    let found = app.store.list_experiments(&request.principal().tenant, listing).await;
    let page = paging.page(found.map_err(storage)?, |experiment| experiment.id.0);
    tagged(request, &page.shown(View::of))
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    tagged(request, &View::of(&experiment))
}

/// Start, stop and archive. Idempotent: an experiment that is there already is projected again.
pub async fn become_status(
    app: &Analyzer,
    mut request: Request,
    reference: &str,
    to: Status,
) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    body::nothing(&mut request).await?;
    let experiment = answer::experiment(&*app.store, &request, reference).await?;
    precondition::holds(&request, &experiment)?;
    let actor = actor(&request);
    let changed =
        app.store.set_status(&experiment.tenant, experiment.id, to, actor).await.map_err(storage)?;
    match changed {
        Transition::Done(experiment) => published(app, &experiment).await,
        Transition::Refused(from) => {
            let detail = format!("a {} experiment cannot become {}", from.as_str(), to.as_str());
            Err(Problem::conflict("wrong_status", detail))
        }
        Transition::NotFound => Err(unknown_experiment()),
    }
}

/// What would need raw rows that are gone.
pub fn purged() -> Problem {
    let detail =
        "the experiment's raw rows are purged: its answers stay as they are, and cannot be counted anew";
    Problem::conflict("raw_rows_purged", detail)
}

/// Idempotent, like the other moves.
pub async fn restore(app: &Analyzer, mut request: Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    body::nothing(&mut request).await?;
    let actor = actor(&request);
    let tenant = &request.principal().tenant;
    match app.store.restore_experiment(tenant, reference, actor).await.map_err(storage)? {
        Restored::Done(experiment) => published(app, &experiment).await,
        Restored::Purged => Err(purged()),
        Restored::NotFound => Err(unknown_experiment()),
    }
}

pub async fn delete(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    precondition::holds(request, &experiment)?;
    let actor = actor(request);
    let deleted =
        app.store.delete_experiment(&experiment.tenant, experiment.id, actor).await.map_err(storage)?;
    if !deleted {
        return Err(unknown_experiment());
    }
    app.catalogue.withdraw(&experiment).await;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

/// What a change answers, once the gateways can know of it.
async fn published(app: &Analyzer, experiment: &Experiment) -> Result<Response, Problem> {
    app.catalogue.publish(experiment).await?;
    tagged_as(StatusCode::OK, &View::of(experiment))
}
