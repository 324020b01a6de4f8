//! `GET .../export`: an experiment's users, their conversions or its results as a file, written as it is read.
//!
//! What is read is some users at a time, each time in a short snapshot of its own: a user is whole, the file is not of
//! one instant. Replayed into an empty deployment with the same definitions, units and conversions give the same
//! answers. An export that cannot be completed breaks the connection off; one that reached its limit says so last.

mod conversions;
mod results;
mod sheet;
mod units;

use std::sync::Arc;

use domain::UnitId;
use service::auth::Scopes;
use service::http::header::{CONTENT_DISPOSITION, HeaderValue};
use service::http::{Broken, Problem, Request, Response, StatusCode};
use service::logs::causes;
use store::{Experiment, Store, StoreError, UnitRow};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Parameters, storage};
use crate::app::Analyzer;
use crate::clock;
use crate::experiments;
use crate::known::{Known, rows_needed};
use sheet::{End, Sheet};

/// Exports of this process at a time; more are refused.
pub const MAX_EXPORTS: usize = 4;
/// Users read at once.
const CHUNK: i64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Units,
    Conversions,
    Results,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    NdJson,
}

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the experiment's plan was changed meanwhile")]
    PlanChanged,
    #[error("a row cannot be written")]
    Json(#[from] serde_json::Error),
    #[error("a row cannot be written")]
    Csv(#[from] csv::Error),
    #[error(transparent)]
    Ended(#[from] End),
}

/// Slots for exports, and the end of the process.
pub struct Exports {
    slots: Arc<Semaphore>,
    stop: CancellationToken,
}

/// What an export reads from.
struct Source {
    store: Arc<dyn Store>,
    experiment: Experiment,
}

impl Exports {
    pub fn new(stop: CancellationToken) -> Exports {
        Exports { slots: Arc::new(Semaphore::new(MAX_EXPORTS)), stop }
    }
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["format", "kind", "limit", "as_of"])?;
    let kind = parameters.parsed("kind", "must be units, conversions or results", Kind::parse)?;
    let kind = kind.unwrap_or(Kind::Units);
    let format = parameters.parsed("format", "must be csv or ndjson", Format::parse)?.unwrap_or(Format::Csv);
    let positive = |text: &str| text.parse().ok().filter(|n: &u64| *n > 0);
    let limit = parameters.parsed("limit", "must be a number from 1 on", positive)?.unwrap_or(u64::MAX);
    let as_of = parameters.as_of()?;
    if kind != Kind::Results {
        // As a user's timeline does, they tell who did what.
        if !request.principal().can(Scopes::ADMIN) {
            let detail = "units and conversions name users: they need a key with the scope admin";
            return Err(Problem::forbidden("missing_scope", detail));
        }
        if as_of.is_some() {
            let detail = "the parameter `as_of` is for results: units and conversions are as they are now";
            return Err(Problem::unprocessable("invalid_parameter", detail));
        }
    }
    if kind == Kind::Results {
        let asked = store::Asked::of(as_of, rows_needed);
        let snapshot = answer::snapshot(&*app.store, request, reference, &asked).await?;
        let known = Known::from(&snapshot, as_of, clock::now())?;
        let body = results::written(&known, format, limit).map_err(|failure| {
            tracing::error!(error = causes(&failure), "results cannot be written");
            Problem::internal()
        })?;
        let response = Response::bytes(StatusCode::OK, format.media_type(), body);
        return Ok(response.with(CONTENT_DISPOSITION, attachment(&snapshot.experiment, kind, format)?));
    }
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    // Users keep their sums; of their conversions some may be gone.
    if kind == Kind::Conversions && experiment.purged_at.is_some() {
        return Err(experiments::purged());
    }
    let slot = Arc::clone(&app.exports.slots).try_acquire_owned().map_err(|_| {
        Problem::unavailable("too_many_streams", "the service is writing too many exports: try again", 10)
    })?;
    let named = attachment(&experiment, kind, format)?;
    let source = Source { store: Arc::clone(&app.store), experiment };
    // The first read tells whether there is a database to read from.
    let first = source.chunk(None).await.map_err(storage)?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(export(
        source,
        first,
        kind,
        Sheet::new(format, limit, sender),
        app.exports.stop.clone(),
        slot,
    ));
    Ok(Response::stream(StatusCode::OK, format.media_type(), receiver).with(CONTENT_DISPOSITION, named))
}

/// Until everything is written, or nobody reads it any more.
async fn export(
    source: Source,
    first: Vec<UnitRow>,
    kind: Kind,
    mut sheet: Sheet,
    stop: CancellationToken,
    _slot: OwnedSemaphorePermit,
) {
    let written = stop.run_until_cancelled(source.write(first, kind, &mut sheet)).await;
    match written {
        Some(Ok(())) | Some(Err(Failure::Ended(End::Limit))) => return,
        Some(Err(Failure::Ended(End::Unread))) => return,
        Some(Err(failure)) => {
            tracing::warn!(error = causes(&failure), "an export was broken off");
        }
        None => {}
    }
    sheet.break_off().await;
}

impl Source {
    async fn write(&self, first: Vec<UnitRow>, kind: Kind, sheet: &mut Sheet) -> Result<(), Failure> {
        match kind {
            Kind::Conversions => conversions::head(sheet)?,
            Kind::Units | Kind::Results => units::head(sheet, &self.experiment)?,
        }
        let mut chunk = first;
        while let Some(last) = chunk.last().map(|unit| unit.id) {
            chunk.retain(|unit| unit.tenant == self.experiment.tenant && !unit.unit.erased);
            match kind {
                Kind::Conversions => conversions::write(self, &chunk, sheet).await?,
                Kind::Units | Kind::Results => units::write(&self.experiment, &chunk, sheet).await?,
            }
            chunk = self.chunk(Some(last)).await?;
        }
        Ok(sheet.end().await?)
    }

    /// The next users of all tenants: what bounds the time of a statement is how many rows it reads.
    async fn chunk(&self, after: Option<UnitId>) -> Result<Vec<UnitRow>, StoreError> {
        self.store.units((UnitId([0; 16]), UnitId([u8::MAX; 16])), after, CHUNK).await
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        [Kind::Units, Kind::Conversions, Kind::Results].into_iter().find(|kind| kind.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Kind::Units => "units",
            Kind::Conversions => "conversions",
            Kind::Results => "results",
        }
    }
}

impl Format {
    fn parse(text: &str) -> Option<Format> {
        match text {
            "csv" => Some(Format::Csv),
            "ndjson" => Some(Format::NdJson),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::NdJson => "application/x-ndjson",
        }
    }
}

/// A key is a slug: it can be part of a file's name.
fn attachment(experiment: &Experiment, kind: Kind, format: Format) -> Result<HeaderValue, Problem> {
    let ending = if format == Format::Csv { "csv" } else { "ndjson" };
    let name = format!("attachment; filename=\"{}-{}.{ending}\"", experiment.key, kind.as_str());
    HeaderValue::try_from(name).map_err(|_| Problem::internal())
}

type Client = mpsc::Sender<Result<Bytes, Broken>>;
