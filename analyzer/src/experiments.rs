//! Experiments over HTTP: created, listed, moved through their statuses, deleted.
//!
//! Creating is idempotent: the same key with the same definition answers 200 with what is there and projects it again,
//! so a creation whose projection failed succeeds on retry. The same key with another definition is 409.

use domain::ExperimentId;
use domain::definition::Definition;
use serde::Serialize;
use service::http::header::{HeaderValue, LOCATION};
use service::http::{Problem, Request, Response, StatusCode, check_depth};
use store::{Actor, Created, Experiment, Status, StoreError, Transition};

use crate::answer::{self, Parameters, actor_name, json, storage, tagged, unknown_experiment, unreadable};
use crate::app::Analyzer;

const INVALID: &str = "invalid_definition";
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// An experiment as clients see it.
#[derive(Serialize)]
struct View<'a> {
    id: ExperimentId,
    status: &'static str,
    plan_version: u32,
    created_at: String,
    started_at: Option<String>,
    stopped_at: Option<String>,
    #[serde(flatten)]
    definition: &'a Definition,
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<View<'a>>,
    next_cursor: Option<String>,
}

impl<'a> View<'a> {
    fn of(e: &'a Experiment) -> View<'a> {
        View {
            id: e.id,
            status: e.status.as_str(),
            plan_version: e.plan_version,
            created_at: e.created_at.to_string(),
            started_at: e.started_at.map(|t| t.to_string()),
            stopped_at: e.stopped_at.map(|t| t.to_string()),
            definition: &e.definition,
        }
    }
}

pub async fn create(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let definition = read_definition(&mut request).await?;
    let name = actor_name(&request);
    let actor = Actor { name: &name, request_id: request.id() };
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
    Ok(Response::json(status, &View::of(&experiment))?.with(LOCATION, location))
}

pub async fn list(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor"])?;
    let in_range = |n: &u32| (1..=LIMIT_MAX).contains(n);
    let limit =
        parameters.parsed("limit", "must be a number from 1 to 200", |t| t.parse().ok().filter(in_range))?;
    let after = parameters
        .parsed("cursor", "must be a `next_cursor`", |t| t.parse().ok().filter(|id: &i64| *id >= 0))?;
    let (limit, after) = (limit.unwrap_or(LIMIT), ExperimentId(after.unwrap_or(0)));
    let tenant = &request.principal().tenant;
    // One more than asked for tells whether there is a next page.
    let mut found = app.store.list_experiments(tenant, after, limit + 1).await.map_err(storage)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|e| e.id.to_string());
    tagged(request, &Page { items: found.iter().map(View::of).collect(), next_cursor })
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
    expect_nothing(&mut request).await?;
    let experiment = answer::experiment(&*app.store, &request, reference).await?;
    let name = actor_name(&request);
    let actor = Actor { name: &name, request_id: request.id() };
    let changed =
        app.store.set_status(&experiment.tenant, experiment.id, to, actor).await.map_err(storage)?;
    match changed {
        Transition::Done(experiment) => {
            app.catalogue.publish(&experiment).await?;
            Response::json(StatusCode::OK, &View::of(&experiment))
        }
        Transition::Refused(from) => {
            let detail = format!("a {} experiment cannot become {}", from.as_str(), to.as_str());
            Err(Problem::conflict("wrong_status", detail))
        }
        Transition::NotFound => Err(unknown_experiment()),
    }
}

pub async fn delete(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    let name = actor_name(request);
    let actor = Actor { name: &name, request_id: request.id() };
    let deleted =
        app.store.delete_experiment(&experiment.tenant, experiment.id, actor).await.map_err(storage)?;
    if !deleted {
        return Err(unknown_experiment());
    }
    app.catalogue.withdraw(&experiment).await;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

async fn read_definition(request: &mut Request) -> Result<Definition, Problem> {
    let definition: Definition = json(request, INVALID).await?;
    definition.checked().map_err(|invalid| Problem::unprocessable(INVALID, invalid.to_string()))
}

/// Actions take no body; `{}` is none.
async fn expect_nothing(request: &mut Request) -> Result<(), Problem> {
    let body = request.read_body().await?;
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    check_depth(&body)?;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    serde_json::from_slice(&body).map(|Nothing {}| ()).map_err(|error| unreadable(&error, INVALID))
}
