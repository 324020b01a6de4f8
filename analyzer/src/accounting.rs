//! The books: in which column every accepted event ended.
//!
//! A tenant sees its own events per experiment, its tenant conversions on a line of their own. An operator also sees
//! every partition, where the columns add up to what was received: the queue is shared, so what is in flight or lost
//! belongs to a partition, not to a tenant.

use std::collections::HashMap;

use domain::{ExperimentId, Partition};
use serde::Serialize;
use service::auth::Scopes;
use service::http::{Problem, Request, Response};
use store::{Counter, PartitionAccount, WriterRow};
use uuid::Uuid;

use crate::answer::{Parameters, chain, storage, tagged};
use crate::app::Analyzer;
use crate::ingestion::total;

#[derive(Debug, Serialize)]
struct Accounting {
    experiments: Vec<Line>,
    total: Fates,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<Vec<PartitionBook>>,
    /// All partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    books: Option<Book>,
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
    /// Part of `deduplicated`.
    conflicts: i64,
}

#[derive(Debug, Serialize)]
struct PartitionBook {
    partition: Partition,
    #[serde(flatten)]
    book: Book,
}

/// Events: `received` = the sum of the other six.
#[derive(Debug, Default, Serialize)]
struct Book {
    received: i64,
    recorded: i64,
    deduplicated: i64,
    dead_lettered: i64,
    discarded: i64,
    in_flight: i64,
    lost: i64,
}

pub async fn get(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let counters = app.store.counters(&request.principal().tenant, None).await.map_err(storage)?;
    let operator = request.principal().can(Scopes::OPERATOR);
    let partitions = if operator { Some(partitions(app).await?) } else { None };
    let books = partitions.as_ref().map(|all| {
        let mut sum = Book::default();
        all.iter().for_each(|one| sum.add(&one.book));
        sum
    });
    let experiments = counters.chunk_by(|a, b| a.experiment == b.experiment).map(Line::of).collect();
    tagged(request, &Accounting { experiments, total: Fates::of(&counters), partitions, books })
}

async fn partitions(app: &Analyzer) -> Result<Vec<PartitionBook>, Problem> {
    // What was applied is read before what was sent: events that move meanwhile show as in flight, and none is missed.
    let writers = app.store.writers().await.map_err(storage)?;
    let accounts = app.store.accounting().await.map_err(storage)?;
    let sent = queue::producer::sent_totals(&app.redis_url, app.partitions).await.map_err(|error| {
        tracing::warn!(error = chain(&error), "the queue did not say what was sent");
        Problem::unavailable("queue_unavailable", "the queue did not answer: try again", 1)
    })?;
    Ok(balance(&accounts, &writers, &sent))
}

fn balance(
    accounts: &[PartitionAccount],
    writers: &[(Partition, WriterRow)],
    sent: &[(Partition, Uuid, u64)],
) -> Vec<PartitionBook> {
    let applied: HashMap<(Partition, Uuid), u64> =
        writers.iter().map(|(partition, w)| ((*partition, w.writer), w.total)).collect();
    let mut in_flight: HashMap<Partition, u64> = HashMap::new();
    for (partition, writer, total) in sent {
        // A writer of which Redis knows less than was applied has nothing in flight: Redis lost its hash.
        let applied = applied.get(&(*partition, *writer)).copied().unwrap_or(0);
        *in_flight.entry(*partition).or_default() += total.saturating_sub(applied);
    }
    let book = |a: &PartitionAccount| {
        let in_flight = in_flight.get(&a.partition).copied().unwrap_or(0);
        let in_flight = i64::try_from(in_flight).unwrap_or(i64::MAX);
        Book {
            received: a.accepted.saturating_add(in_flight),
            recorded: a.recorded,
            deduplicated: a.deduplicated,
            dead_lettered: a.dead_lettered,
            discarded: a.discarded,
            in_flight,
            lost: a.lost,
        }
    };
    accounts.iter().map(|a| PartitionBook { partition: a.partition, book: book(a) }).collect()
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
            recorded: total(counters, "exposures") + total(counters, "conversions"),
            deduplicated: total(counters, "deduplicated"),
            dead_lettered: total(counters, "dead_lettered"),
            discarded: total(counters, "discarded"),
            conflicts: total(counters, "conflicts"),
        }
    }
}

impl Book {
    fn add(&mut self, other: &Book) {
        self.received += other.received;
        self.recorded += other.recorded;
        self.deduplicated += other.deduplicated;
        self.dead_lettered += other.dead_lettered;
        self.discarded += other.discarded;
        self.in_flight += other.in_flight;
        self.lost += other.lost;
    }
}
