//! A database of the test's own, experiments in it, and entries as a gateway would write them.

use crate::tables::{self, Backend, Letter, Tables};
use crate::yielding::Yielding;
use domain::codec::encode_unit;
use domain::definition::Definition;
use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, Day, Decimal, ExperimentId, Partition, Timestamp, Unit, UnitId};
use ingest_worker::apply::{Applied, ApplyError, apply};
use ingest_worker::cache::PartitionCache;
use queue::frame::{Events, Frame, Group, Receipt, encode};
use queue::reader::{Entry, EntryId};
use std::sync::Arc;
use store::apply::ApplyStore;
use store::{Actor, Created, Experiment, Status, Store};
use uuid::Uuid;

pub const TENANT: &str = "acme";
/// Noon of day 20,000 (2024-10-04), in milliseconds.
pub const NOON_MS: u64 = 20_000 * 86_400_000 + 43_200_000;

pub struct Rig {
    pub store: Arc<dyn Store>,
    pub apply: Yielding,
    pub cache: PartitionCache,
    pub max_letters: u64,
    tables: Tables,
    writer: Uuid,
    number: u64,
    total: u64,
    ms: u64,
}

pub fn experiment_of(created: Created) -> Experiment {
    match created {
        Created::New(e) | Created::Exists(e) => e,
    }
}

impl Rig {
    pub async fn new(backend: Backend) -> Rig {
        let (location, tables) = tables::empty(backend).await;
        let store = store::open(&location, 1, std::time::Duration::from_secs(10)).await.unwrap();
        let mut apply = Yielding::new(store.connect().await.unwrap());
        let cache =
            PartitionCache::new(Partition(0), apply.take(Partition(0), Uuid::nil()).await.unwrap().state);
        let (writer, max_letters) = (Uuid::new_v4(), 100_000);
        Rig { store, apply, cache, max_letters, tables, writer, number: 0, total: 0, ms: NOON_MS }
    }

    /// A second one on a database of its own, of the same kind.
    pub async fn another(&self) -> Rig {
        Rig::new(match self.tables {
            Tables::Postgres(_) => Backend::Postgres,
            Tables::Sqlite(_) => Backend::Sqlite,
        })
        .await
    }

    pub async fn experiment(&self, key: &str, metrics: &str) -> Experiment {
        let text =
            format!(r#"{{"key":"{key}","variations":[{{"key":"a"}},{{"key":"b"}}],"metrics":{metrics}}}"#);
        let definition: Definition = serde_json::from_str(&text).unwrap();
        let actor = Actor { name: "test", request_id: "test" };
        let created =
            self.store.create_experiment(TENANT, &definition.checked().unwrap(), actor).await.unwrap();
        experiment_of(created)
    }

    /// The next entry of this rig's writer, a second after the last.
    pub fn entry(&mut self, frames: &[Frame<'_>]) -> Entry {
        let payload: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        let events = frames.iter().map(|f| u64::from(f.events())).sum();
        self.raw_entry(payload, events)
    }

    pub fn raw_entry(&mut self, payload: Vec<u8>, events: u64) -> Entry {
        self.number += 1;
        self.total += events;
        self.ms += 1000;
        Entry {
            id: EntryId { ms: self.ms, seq: 0 },
            writer: self.writer,
            number: self.number,
            total: self.total,
            payload: payload.into(),
            malformed: false,
        }
    }

    pub fn next_day(&mut self) {
        self.ms += 86_400_000;
    }

    pub async fn apply(&mut self, entries: &[Entry]) -> Result<Applied, ApplyError> {
        let day = entries.last().unwrap().id.time().day().max(self.cache.day);
        apply(&mut self.apply, &mut self.cache, entries, day, self.max_letters).await
    }

    /// As after a crash: the connection is lost, and with it whatever it had not committed.
    pub async fn reconnect(&mut self) {
        self.apply = Yielding::new(self.store.connect().await.unwrap());
        self.forget().await;
    }

    pub async fn forget(&mut self) {
        self.cache = PartitionCache::new(Partition(0), self.apply.load(Partition(0)).await.unwrap());
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.tables.count(sql).await
    }

    pub async fn letters(&self) -> Vec<Letter> {
        self.tables.letters().await
    }

    /// As if the experiment had been put away long ago.
    pub async fn put_away(&self, experiment: &Experiment) {
        let actor = Actor { name: "test", request_id: "test" };
        for status in [Status::Running, Status::Stopped, Status::Archived] {
            self.store.set_status(TENANT, experiment.id, status, actor).await.unwrap();
        }
        let id = experiment.id;
        self.tables
            .execute(&match self.tables {
                Tables::Postgres(_) => {
                    format!("UPDATE experiments SET archived_at = 'epoch' WHERE id = {id}")
                }
                Tables::Sqlite(_) => format!("UPDATE experiments SET archived_at = 0 WHERE id = {id}"),
            })
            .await;
    }

    /// Dead letters and audit entries as if of long ago.
    pub async fn age(&self) {
        self.tables
            .execute(match self.tables {
                Tables::Postgres(_) => {
                    "UPDATE dead_letters SET created_at = 'epoch'; UPDATE audit_log SET at = 'epoch'"
                }
                Tables::Sqlite(_) => "UPDATE dead_letters SET created_at = 0; UPDATE audit_log SET at = 0",
            })
            .await;
    }

    /// Writes a unit's state past the store.
    pub async fn damage(&self, id: UnitId, unit: &Unit) {
        self.tables.damage(id, &encode_unit(unit)).await;
    }

    /// The sum of a counter over all keys.
    pub async fn counter(&self, name: &str) -> i64 {
        let counters = self.store.counters(TENANT, None, None).await.unwrap();
        counters.iter().filter(|c| c.name == name).map(|c| c.n).sum()
    }

    /// The sums kept equal those of the raw rows, and the books of the partition close.
    pub async fn assert_books(&self, experiments: &[&Experiment]) {
        for e in experiments {
            let report = abctl::verify::verify(&*self.store, 1, TENANT, &e.key).await.unwrap();
            assert!(report.differences.is_empty(), "{report:?}");
        }
        let accounts = self.store.accounting().await.unwrap();
        for a in accounts.partitions {
            let named = accounts.losses.iter().filter(|l| l.partition == a.partition).map(|l| l.events);
            assert_eq!(a.lost.cast_unsigned(), named.sum::<u64>(), "{:?}", accounts.losses);
            let fates = a.recorded + a.deduplicated + a.dead_lettered + a.discarded + a.lost;
            assert_eq!(a.accepted, fates, "{a:?}");
        }
    }
}

pub fn frame<'a>(batch: BatchId, groups: Vec<Group<'a>>) -> Frame<'a> {
    Frame {
        batch,
        tenant: TENANT,
        request_id: "r1",
        traceparent: None,
        sent_at: None,
        received_at: at(0),
        clock_shift: 0,
        receipt: Some(Receipt { address: "here", part: 0, parts: 1 }),
        groups,
    }
}

/// Seconds after noon of the first day.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(NOON_MS).unwrap()).plus(seconds * 1_000_000)
}

pub fn today() -> Day {
    at(0).day()
}

pub fn exposures<'a>(experiment: &Experiment, items: &[(&'a str, i16, i64)]) -> Group<'a> {
    let exposure = |&(user_id, variation, seconds): &(&'a str, i16, i64)| Exposure {
        user_id,
        variation,
        occurred_given: Some(at(seconds)),
        key: None,
    };
    let events = Events::Exposures(items.iter().map(exposure).collect());
    Group { experiment: experiment.id, after_stop: false, events }
}

pub fn conversions<'a>(
    experiment: ExperimentId,
    items: &[(&'a str, &'a str, i64, i64, &'a str)],
) -> Group<'a> {
    let conversion =
        |&(user_id, metric, value, seconds, key): &(&'a str, &'a str, i64, i64, &'a str)| Conversion {
            user_id,
            metric,
            value: Decimal(value * 1_000_000),
            occurred_given: Some(at(seconds)),
            key: Key::Client(key),
        };
    let events = Events::Conversions(items.iter().map(conversion).collect());
    Group { experiment, after_stop: false, events }
}

/// Each test once on either database.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::rig::Rig::new(crate::tables::Backend::Postgres).await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::rig::Rig::new(crate::tables::Backend::Sqlite).await).await;
            })+
        }
    };
}
