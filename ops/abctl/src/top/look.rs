//! One look: what the analyzer says of queue and database, and in which column events have ended; and the flow between
//! two of them.

use crate::api::Api;
use crate::listing::Page;
use crate::simulate::now_ms;
use domain::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::HashMap;
use tokio::time::Instant;

#[derive(Clone, Deserialize)]
struct Diagnostics {
    version: String,
    storage: Storage,
    queue: Queue,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Storage {
    pub backend: String,
    pub write_probe_ok: bool,
    pub partitions: u16,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Queue {
    pub backend: String,
    pub reachable: bool,
    pub oldest_unapplied_seconds: Option<f64>,
    /// For operators.
    pub in_flight_events: Option<i64>,
}

#[derive(Clone, Deserialize)]
struct Accounting {
    experiments: Vec<Line>,
    partitions: Option<Vec<Book>>,
    books: Option<Book>,
    total: Fates,
}

#[derive(Clone, Deserialize)]
struct Line {
    id: Option<i64>,
    #[serde(flatten)]
    fates: Fates,
}

/// Events by where they ended.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Fates {
    pub recorded: i64,
    pub deduplicated: i64,
    pub dead_lettered: i64,
    pub discarded: i64,
}

#[derive(Clone, Copy, Deserialize)]
struct Book {
    /// Of one partition.
    partition: Option<u16>,
    received: i64,
    #[serde(flatten)]
    fates: Fates,
    in_flight: i64,
    lost: i64,
}

pub struct Looker {
    api: Api,
    /// Keys of experiments by id.
    keys: HashMap<i64, String>,
}

#[derive(Deserialize)]
struct Named {
    id: i64,
    key: String,
}

pub struct Look {
    at: Timestamp,
    taken: Instant,
    diagnostics: Diagnostics,
    accounting: Accounting,
    keys: HashMap<i64, String>,
}

/// How many, and how many a second.
#[derive(Clone, Copy, Serialize)]
pub struct Counted {
    pub events: i64,
    pub per_second: f64,
}

#[derive(Serialize)]
pub struct Flow {
    pub at: String,
    /// Between the two looks.
    pub seconds: f64,
    pub version: String,
    pub storage: Storage,
    pub queue: Queue,
    /// Of all tenants for an operator, of the key's tenant for others.
    #[serde(serialize_with = "by_name")]
    pub columns: Vec<(&'static str, Counted)>,
    pub experiments: Vec<ExperimentFlow>,
    /// For operators.
    pub partitions: Vec<PartitionFlow>,
}

#[derive(Serialize)]
pub struct ExperimentFlow {
    /// Null: conversions that name no experiment.
    pub key: Option<String>,
    pub recorded: Counted,
    pub deduplicated: Counted,
    pub dead_lettered: Counted,
}

#[derive(Serialize)]
pub struct PartitionFlow {
    pub partition: u16,
    pub in_flight: i64,
    pub received: Counted,
    /// What ended in any column.
    pub applied: Counted,
}

fn by_name<S: Serializer>(columns: &[(&'static str, Counted)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(columns.iter().copied())
}

impl Looker {
    pub fn new(api: Api) -> Looker {
        Looker { api, keys: HashMap::new() }
    }

    pub async fn look(&mut self) -> anyhow::Result<Look> {
        let answer = self.api.get("/api/v1/diagnostics").await?;
        let diagnostics = self.api.read(&answer)?;
        let answer = self.api.get("/api/v1/accounting").await?;
        let taken = Instant::now();
        let accounting: Accounting = self.api.read(&answer)?;
        let is_new = |line: &Line| line.id.is_some_and(|id| !self.keys.contains_key(&id));
        if accounting.experiments.iter().any(is_new) {
            self.learn_keys(&accounting).await?;
        }
        let at = Timestamp(now_ms()? * 1_000);
        Ok(Look { at, taken, diagnostics, accounting, keys: self.keys.clone() })
    }

    async fn learn_keys(&mut self, accounting: &Accounting) -> anyhow::Result<()> {
        let mut cursor = None;
        loop {
            let page = Page::get(&mut self.api, "/api/v1/experiments", &[], cursor.as_deref()).await?;
            for item in &page.items {
                let Named { id, key } = self.api.parse(item.get().as_bytes())?;
                self.keys.insert(id, key);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        // Those that are deleted have no key any more.
        for id in accounting.experiments.iter().filter_map(|line| line.id) {
            self.keys.entry(id).or_insert_with(|| id.to_string());
        }
        Ok(())
    }
}

impl Fates {
    fn applied(self) -> i64 {
        self.recorded + self.deduplicated + self.dead_lettered + self.discarded
    }
}

impl Look {
    pub fn since(&self, before: &Look) -> Flow {
        let seconds = self.taken.duration_since(before.taken).as_secs_f64().max(1e-3);
        #[allow(clippy::cast_precision_loss)] // for people
        let counted =
            |now: i64, then: i64| Counted { events: now, per_second: (now - then) as f64 / seconds };
        let (now, then) = (&self.accounting, &before.accounting);
        Flow {
            at: self.at.to_string(),
            seconds,
            version: self.diagnostics.version.clone(),
            storage: self.diagnostics.storage.clone(),
            queue: self.diagnostics.queue.clone(),
            columns: columns(now, then, &counted),
            experiments: self.experiments(then, &counted),
            partitions: partitions(now, then, &counted),
        }
    }

    /// The busiest first.
    fn experiments(&self, then: &Accounting, counted: &dyn Fn(i64, i64) -> Counted) -> Vec<ExperimentFlow> {
        let line = |Line { id, fates }: &Line| {
            let earlier = then.experiments.iter().find(|line| line.id == *id);
            let earlier = earlier.map(|line| line.fates).unwrap_or_default();
            ExperimentFlow {
                key: id.map(|id| self.keys.get(&id).cloned().unwrap_or_else(|| id.to_string())),
                recorded: counted(fates.recorded, earlier.recorded),
                deduplicated: counted(fates.deduplicated, earlier.deduplicated),
                dead_lettered: counted(fates.dead_lettered, earlier.dead_lettered),
            }
        };
        let mut flows: Vec<ExperimentFlow> = self.accounting.experiments.iter().map(line).collect();
        flows.sort_by(|a, b| {
            let by_rate = b.recorded.per_second.total_cmp(&a.recorded.per_second);
            by_rate.then(b.recorded.events.cmp(&a.recorded.events)).then_with(|| a.key.cmp(&b.key))
        });
        flows
    }
}

fn columns(
    now: &Accounting,
    then: &Accounting,
    counted: &dyn Fn(i64, i64) -> Counted,
) -> Vec<(&'static str, Counted)> {
    let (a, b) = match (&now.books, &then.books) {
        (Some(now), Some(then)) => (now.fates, then.fates),
        _ => (now.total, then.total),
    };
    let ended = [
        ("recorded", counted(a.recorded, b.recorded)),
        ("deduplicated", counted(a.deduplicated, b.deduplicated)),
        ("dead_lettered", counted(a.dead_lettered, b.dead_lettered)),
        ("discarded", counted(a.discarded, b.discarded)),
    ];
    let Some((now, then)) = now.books.zip(then.books) else { return ended.into() };
    let received = ("received", counted(now.received, then.received));
    let rest =
        [("in_flight", counted(now.in_flight, then.in_flight)), ("lost", counted(now.lost, then.lost))];
    std::iter::once(received).chain(ended).chain(rest).collect()
}

fn partitions(
    now: &Accounting,
    then: &Accounting,
    counted: &dyn Fn(i64, i64) -> Counted,
) -> Vec<PartitionFlow> {
    let earlier = |partition| then.partitions.iter().flatten().find(|book| book.partition == Some(partition));
    let flow = |book: &Book| {
        let partition = book.partition?;
        let before = *earlier(partition).unwrap_or(book);
        Some(PartitionFlow {
            partition,
            in_flight: book.in_flight,
            received: counted(book.received, before.received),
            applied: counted(book.fates.applied(), before.fates.applied()),
        })
    };
    now.partitions.iter().flatten().filter_map(flow).collect()
}
