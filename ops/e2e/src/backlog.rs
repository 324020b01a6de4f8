//! A worker that finds much more in the streams than it may hold at once: it reads on as it applies, and its memory
//! stays what it is, however much there is.

use crate::deployment::Deployment;
use crate::run;
use crate::system::{Setup, System};
use anyhow::{Result, bail, ensure};
use domain::event::Exposure;
use domain::{BatchId, ExperimentId, Partition, Timestamp, UnitId};
use queue::Queue;
use queue::frame::{self, Events, Frame, Group};
use queue::producer::Outgoing;
use serde_json::json;
use std::fmt;
use std::time::Duration;
use store::Book;
use tokio::time::Instant;
use uuid::Uuid;

/// What a worker may take: half of it for what it has read ahead.
pub const LIMIT: u64 = 192 << 20;
const TENANT: &str = "default";
const KEY: &str = "backlog";
/// Users of a partition. They come again and again, which costs the database nothing.
const USERS: usize = 500;
/// Of a user id.
const LENGTH: usize = 60;
const FRAMES_PER_SEND: usize = 4;
const SENT_WITHIN: Duration = Duration::from_secs(60);
/// Many times as long as it takes.
const APPLIED_WITHIN: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub struct Outcome {
    pub events: u64,
    /// Bytes of the frames that waited.
    pub bytes: u64,
    /// Most memory of the worker, in bytes.
    pub peak: u64,
    pub took: Duration,
    pub book: Book,
}

/// At least so many events wait before a worker comes.
pub async fn run(events: u64) -> Result<Outcome> {
    let mut system = System::start(Setup { worker: false, ..Setup::default() }).await?;
    system.redis.command(&["CONFIG", "SET", "maxmemory", "8gb"]).await?;
    let arms = json!([{"key": "control"}, {"key": "treatment"}]);
    let metrics = json!([{"key": "purchase", "type": "proportion"}]);
    system.experiment(json!({"key": KEY, "variations": arms, "metrics": metrics})).await?;
    let experiment = crate::chaos::judge::experiment_id(&*system.store, TENANT, KEY).await?;
    let (events, bytes) = fill(&system, experiment, events).await?;
    let begun = Instant::now();
    system.start_worker()?;
    let book = run::settle(APPLIED_WITHIN, async || system.books().await).await?.total;
    let took = begun.elapsed();
    let Some(worker) = &system.worker else { bail!("there is no worker") };
    let peak = worker.peak_memory()?;
    system.stop().await?;
    Ok(Outcome { events, bytes, peak, took, book })
}

/// Into every partition the same number; returns events and bytes.
async fn fill(system: &System, experiment: ExperimentId, events: u64) -> Result<(u64, u64)> {
    let producer = system.queue.producer();
    let users = users(system.setup.partitions);
    let (mut sent, mut bytes) = (0, 0);
    while sent < events {
        for (partition, users) in (0..).map(Partition).zip(&users) {
            let frames: Vec<Outgoing> = (0..FRAMES_PER_SEND)
                .map(|_| frame_of(partition, users, experiment))
                .collect::<Result<_>>()?;
            sent += frames.iter().map(|frame| u64::from(frame.events)).sum::<u64>();
            bytes += frames.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
            producer.send(frames, Instant::now() + SENT_WITHIN).await?;
        }
    }
    producer.drain(Instant::now() + SENT_WITHIN).await;
    Ok((sent, bytes))
}

/// Of each partition.
fn users(partitions: u16) -> Vec<Vec<String>> {
    let mut users = vec![Vec::new(); partitions.into()];
    let mut names = (0u64..).map(|n| format!("{n:0>LENGTH$}"));
    while users.iter().any(|of_it| of_it.len() < USERS) {
        let Some(name) = names.next() else { break };
        let of_it = &mut users[usize::from(UnitId::of(TENANT, &name).partition(partitions).0)];
        if of_it.len() < USERS {
            of_it.push(name);
        }
    }
    users
}

fn frame_of(partition: Partition, users: &[String], experiment: ExperimentId) -> Result<Outgoing> {
    let exposures =
        users.iter().map(|user_id| Exposure { user_id, variation: 0, occurred_given: None, key: None });
    let events = u32::try_from(users.len())?;
    let frame = Frame {
        batch: BatchId(Uuid::now_v7()),
        tenant: TENANT,
        request_id: "backlog",
        traceparent: None,
        sent_at: None,
        received_at: Timestamp::from_millis(1_700_000_000_000),
        clock_shift: 0,
        receipt: None,
        groups: vec![Group { experiment, after_stop: false, events: Events::Exposures(exposures.collect()) }],
    };
    Ok(Outgoing { partition, bytes: frame::encode(&frame)?, events })
}

impl Outcome {
    /// Everything was applied, and the worker's memory stayed below its limit.
    pub fn check(&self) -> Result<()> {
        let Book { received, recorded, deduplicated, lost, in_flight, .. } = self.book;
        ensure!(u64::try_from(received) == Ok(self.events), "{self}: received as sent");
        ensure!(recorded + deduplicated == received && lost == 0 && in_flight == 0, "{self}: applied");
        ensure!(self.peak < LIMIT, "{self}: the worker may have {} MiB", LIMIT >> 20);
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { events, bytes, peak, took, book } = self;
        let (waited, peak) = (bytes >> 20, peak >> 20);
        write!(f, "backlog: events={events} waited={waited}MiB peak_rss={peak}MiB took={took:.1?}; {book}")
    }
}
