//! The books: in which column every accepted event ended.
//!
//! A tenant sees its own events per experiment, its tenant conversions on a line of their own. An operator also sees
//! every partition, where the columns add up to what was received: the queue is shared, so what is in flight or lost
//! belongs to a partition, not to a tenant. Each loss is named: which writer's entries are gone, and when that showed.

use std::collections::BTreeMap;

use backends::BooksError;
use domain::{ExperimentId, Partition};
use serde::Serialize;
use service::auth::Scopes;
use service::http::{Problem, Request, Response};
use service::logs::causes;
use store::{Book, Books, Counter, Loss, RECORDED};

use crate::answer::{Parameters, storage, tagged};
use crate::app::Analyzer;
use crate::ingestion::dead_lettered;
use crate::quality::total;

#[derive(Debug, Serialize)]
struct Accounting {
    experiments: Vec<Line>,
    total: Fates,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<Vec<PartitionBook>>,
    /// All partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    books: Option<Book>,
    /// The latest, the newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<Vec<Loss>>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// Null: conversions that named no experiment.
    id: Option<ExperimentId>,
    #[serde(flatten)]
    fates: Fates,
}

#[derive(Debug, Serialize)]
struct Fates {
    recorded: i64,
    deduplicated: i64,
    dead_lettered: i64,
    discarded: i64,
    discarded_by_reason: BTreeMap<String, i64>,
    /// Part of `deduplicated`.
    conflicts: i64,
}

#[derive(Debug, Serialize)]
struct PartitionBook {
    partition: Partition,
    #[serde(flatten)]
    book: Book,
}

pub async fn get(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let counters = app.store.counters(&request.principal().tenant, None, None).await.map_err(storage)?;
    let operator = request.principal().can(Scopes::OPERATOR);
    let books = if operator { Some(books(app).await?) } else { None };
    let (total, partitions, losses) = match books {
        Some(Books { total, partitions, losses }) => {
            (Some(total), Some(partitions.into_iter().map(PartitionBook::of).collect()), Some(losses))
        }
        None => (None, None, None),
    };
    let experiments = counters.chunk_by(|a, b| a.experiment == b.experiment).map(Line::of).collect();
    tagged(
        request,
        &Accounting { experiments, total: Fates::of(&counters), partitions, books: total, losses },
    )
}

async fn books(app: &Analyzer) -> Result<Books, Problem> {
    let books = backends::books(&*app.store, &*app.queue, app.partitions).await;
    books.map_err(|error| match error {
        BooksError::Store(error) => storage(error),
        BooksError::Queue(error) => {
            tracing::warn!(error = causes(&error), "the queue did not say what was sent");
            Problem::unavailable("queue_unavailable", "the queue did not answer: try again", 1)
        }
    })
}

impl PartitionBook {
    fn of((partition, book): (Partition, Book)) -> PartitionBook {
        PartitionBook { partition, book }
    }
}

impl Line {
    /// `counters`: at least one, of one experiment.
    fn of(counters: &[Counter]) -> Line {
        let id = counters.first().map(|c| c.experiment).filter(|id| !id.is_none());
        Line { id, fates: Fates::of(counters) }
    }
}

impl Fates {
    fn of(counters: &[Counter]) -> Fates {
        Fates {
            recorded: RECORDED.iter().map(|name| total(counters, name)).sum(),
            deduplicated: total(counters, "deduplicated"),
            dead_lettered: dead_lettered(counters),
            discarded: total(counters, "discarded"),
            discarded_by_reason: by_reason(counters),
            conflicts: total(counters, "conflicts"),
        }
    }
}

/// Counters `discarded:REASON` add up to `discarded`.
fn by_reason(counters: &[Counter]) -> BTreeMap<String, i64> {
    let mut reasons = BTreeMap::new();
    for counter in counters {
        if let Some(reason) = counter.name.strip_prefix("discarded:") {
            *reasons.entry(reason.to_owned()).or_default() += counter.n;
        }
    }
    reasons
}
