//! What an operator asks first: do database and queue answer, how far behind is what is applied, who may come in, and
//! within which limits. A dependency that is away is part of the answer, not a refusal.

use std::time::Duration;

use queue::QueueError;
use serde::Serialize;
use service::auth::Scopes;
use service::http::{Problem, Request, Response, StatusCode};
use service::logs::causes;
use service::settings::{Settings, Tier};
use store::StoreError;
use tokio::time::{error::Elapsed, timeout};

use crate::answer::Parameters;
use crate::app::Analyzer;

/// A dependency that has not answered by then does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Keys with only `read` see what concerns their own tenant's work.
#[derive(Serialize)]
struct Answer<'s> {
    service: &'static str,
    version: &'static str,
    environment: &'s str,
    storage: Storage,
    queue: Backlog,
    limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
}

#[derive(Serialize)]
struct Storage {
    backend: &'static str,
    write_probe_ok: bool,
    partitions: u16,
}

#[derive(Default, Serialize)]
struct Backlog {
    backend: &'static str,
    reachable: bool,
    /// How long the oldest entry waits that no worker has applied; null: none waits, or nobody can say.
    oldest_unapplied_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight_events: Option<i64>,
    /// Settings under which acknowledged events can be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    weak_settings: Option<Vec<String>>,
}

/// As this process is set.
#[derive(Serialize)]
struct Limits {
    max_request_body_bytes: usize,
    max_decoded_body_bytes: usize,
    max_batch_events: usize,
    keys_per_tenant: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_max_events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters_per_tenant: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database_pool_size: Option<usize>,
}

#[derive(Serialize)]
struct Auth {
    /// Every request needs a key.
    mode: &'static str,
    configured_keys: usize,
    issued_keys: usize,
    key_files: usize,
}

pub async fn get(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let settings = &*app.settings;
    let whole = request.principal().can(Scopes::OPERATOR);
    let (storage, queue) = tokio::join!(storage(app), backlog(app, whole));
    let answer = Answer {
        service: settings.tier.name(),
        version: env!("CARGO_PKG_VERSION"),
        environment: &settings.environment,
        storage,
        queue,
        limits: limits(settings, whole),
        auth: whole.then(|| Auth {
            mode: "keys",
            configured_keys: app.keys.len(),
            issued_keys: app.keys.issued(),
            key_files: app.keys.files().len(),
        }),
    };
    Response::json(StatusCode::OK, &answer)
}

async fn storage(app: &Analyzer) -> Storage {
    let probe = timeout(PATIENCE, app.store.write_probe()).await;
    let write_probe_ok = matches!(probe, Ok(Ok(())));
    if let Ok(Err(error)) = probe {
        tracing::warn!(error = causes(&error), "the write probe failed");
    }
    let backend = if app.settings.database.url.is_some() { "postgresql" } else { "sqlite" };
    Storage { backend, write_probe_ok, partitions: app.partitions }
}

async fn backlog(app: &Analyzer, whole: bool) -> Backlog {
    let backend = if app.settings.queue.redis_url.is_some() { "redis" } else { "in-process" };
    match timeout(PATIENCE, behind(app, whole)).await.map_err(Trouble::from).flatten() {
        Ok(found) => Backlog { backend, reachable: true, ..found },
        Err(error) => {
            tracing::warn!(error = causes(&error), "how far behind the queue is cannot be said");
            // Without the database nobody knows what is applied; the queue itself may be well.
            let reachable = timeout(PATIENCE, app.queue.sent_totals()).await.is_ok_and(|sent| sent.is_ok());
            Backlog { backend, reachable, ..Backlog::default() }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Books(#[from] backends::BooksError),
    #[error("no answer in two seconds")]
    Slow(#[from] Elapsed),
}

async fn behind(app: &Analyzer, whole: bool) -> Result<Backlog, Trouble> {
    let partitions = app.store.accounting().await?.partitions;
    let at = |account: &store::PartitionAccount| Some((account.partition, account.position.parse().ok()?));
    let ages = app.queue.ages(&partitions.iter().filter_map(at).collect::<Vec<_>>()).await?;
    let oldest = ages.iter().filter_map(|ages| ages.waiting).max();
    let mut found =
        Backlog { oldest_unapplied_seconds: oldest.map(|age| age.as_secs_f64()), ..Backlog::default() };
    if whole {
        let books = backends::books(&*app.store, &*app.queue, app.partitions).await?;
        found.in_flight_events = Some(books.total.in_flight);
        let weak = app.queue.weaknesses(Duration::ZERO).await?;
        found.weak_settings = Some(weak.iter().map(ToString::to_string).collect());
    }
    Ok(found)
}

fn limits(settings: &Settings, whole: bool) -> Limits {
    let Settings { http, ingest, queue, worker, database, .. } = settings;
    // What other processes enforce is theirs to say.
    let here = whole && matches!(settings.tier, Tier::OneProcess);
    Limits {
        max_request_body_bytes: http.max_wire_body,
        max_decoded_body_bytes: http.max_decoded_body,
        max_batch_events: ingest.max_batch_events,
        keys_per_tenant: store::KEYS_MAX,
        max_connections: whole.then_some(http.max_connections),
        queue_max_events: here.then_some(queue.max_events),
        dead_letters_per_tenant: here.then_some(worker.dead_letter_max),
        database_pool_size: whole.then_some(database.pool_size),
    }
}
