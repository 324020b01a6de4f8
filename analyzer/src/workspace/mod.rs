//! Definitions of experiments out of one deployment and into another: `/api/v1/workspace/export|validate|import`.
//!
//! A bundle holds what people wrote, neither ids nor statuses nor events. Where it is imported, keys decide: an experiment
//! that is there as defined is left alone, any other in the way refuses the whole.

pub mod bundle;
pub mod canonical;

use serde::Serialize;
use serde_json::value::RawValue;
use service::http::{Problem, Request, Response, StatusCode};
use store::{Imported, Listing};

use crate::answer::{Parameters, actor, json, storage, tagged};
use crate::app::Analyzer;
use crate::experiments::difference;
use bundle::{Bundle, BundleError, Signature};
use domain::ExperimentId;
use domain::definition::Definition;

/// Experiments read at once.
const PAGE: u32 = 200;
/// Conflicts and differences that a line of text names.
const NAMED: usize = 5;

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    signature: Signature,
    created: usize,
    equal: usize,
    conflicts: usize,
    experiments: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    key: String,
    outcome: Outcome,
    /// Null: it would be given one, or the key is used up.
    id: Option<ExperimentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Created,
    Equal,
    Conflict,
}

pub async fn export(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let mut found = Vec::new();
    let mut after = ExperimentId(0);
    loop {
        let listing = Listing { after, limit: PAGE, status: None, label: None };
        let page = app.store.list_experiments(&request.principal().tenant, listing).await.map_err(storage)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        found.extend(page);
    }
    let definitions = found.iter().map(|experiment| experiment.wanted()).collect();
    let text = bundle::write(definitions, app.signing_key.as_ref()).and_then(RawValue::from_string);
    tagged(request, &text.map_err(unwritable)?)
}

/// `commit`: unless that is given, what would be done.
pub async fn import(app: &Analyzer, mut request: Request, commit: bool) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let sent: Box<RawValue> = json(&mut request, "invalid_bundle").await?;
    let Bundle { signature, definitions } =
        bundle::read(sent.get(), app.signing_key.as_ref()).map_err(refused)?;
    let actor = actor(&request);
    let tenant = &request.principal().tenant;
    let imported =
        app.store.import_experiments(tenant, &definitions, commit, actor).await.map_err(storage)?;
    let mut lines = Vec::with_capacity(imported.len());
    for (definition, one) in definitions.iter().zip(&imported) {
        lines.push(Line::of(definition, one, commit).map_err(unwritable)?);
    }
    let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
    let (created, equal, conflicts) =
        (count(Outcome::Created), count(Outcome::Equal), count(Outcome::Conflict));
    if commit && conflicts > 0 {
        let named: Vec<&str> = lines.iter().filter_map(|line| line.detail.as_deref()).take(NAMED).collect();
        let more = conflicts.saturating_sub(named.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let detail = format!("nothing was imported: {}{more}", named.join("; "));
        return Err(Problem::conflict("bundle_conflicts", detail));
    }
    if commit {
        for one in &imported {
            // What is there already may be what an earlier request could not publish.
            if let Imported::New(experiment) | Imported::Equal(experiment) = one {
                app.catalogue.publish(experiment).await?;
            }
        }
    }
    let report = Report { dry_run: !commit, signature, created, equal, conflicts, experiments: lines };
    Response::json(StatusCode::OK, &report)
}

impl Line {
    fn of(definition: &Definition, imported: &Imported, committed: bool) -> Result<Line, serde_json::Error> {
        let key = definition.key.clone();
        let (outcome, id, detail) = match imported {
            Imported::New(experiment) => (Outcome::Created, committed.then_some(experiment.id), None),
            Imported::Equal(experiment) => (Outcome::Equal, Some(experiment.id), None),
            Imported::Taken(experiment) => {
                let pointers = difference::pointers(experiment.wanted(), definition)?;
                let shown = pointers.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if pointers.len() > NAMED { ", .." } else { "" };
                let id = experiment.id;
                let detail =
                    format!("the key '{key}' has experiment {id} with another definition ({shown}{more})");
                (Outcome::Conflict, Some(id), Some(detail))
            }
            Imported::Used => {
                let detail =
                    format!("the key '{key}' belonged to a deleted experiment; keys are unique for ever");
                (Outcome::Conflict, None, Some(detail))
            }
        };
        Ok(Line { key, outcome, id, detail })
    }
}

fn refused(error: BundleError) -> Problem {
    let code = match &error {
        BundleError::Unsigned => "bundle_unsigned",
        BundleError::Altered(_) => "bundle_altered",
        BundleError::Definition { .. } => "invalid_definition",
        BundleError::Version(_) | BundleError::Form(_) | BundleError::Format => "invalid_bundle",
    };
    Problem::unprocessable(code, error.to_string())
}

fn unwritable(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "a bundle cannot be written as JSON");
    Problem::internal()
}
