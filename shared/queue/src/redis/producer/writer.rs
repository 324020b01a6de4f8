//! The ordered writer of one stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ProducerConfig;
use super::lane::{Batch, Lane, Work};
use super::wire::{Attempt, Entry, Trouble, Wire};
use crate::Backoff;
use crate::numbering::{Numbering, Stamp, Verdict};
use crate::producer::Counters;

pub(super) struct Writer {
    lane: Arc<Lane>,
    wire: Box<dyn Wire>,
    id: Uuid,
    numbering: Numbering,
    replicas: Option<(u32, Duration)>,
    entry_bytes: usize,
    idle_after: Duration,
    renew_after: Duration,
    /// When the last entry was settled.
    last: Option<Instant>,
    /// When the next empty entry is due; none after an empty one.
    idle_at: Option<Instant>,
    counters: Arc<Counters>,
}

impl Writer {
    pub(super) fn new(
        lane: Arc<Lane>,
        wire: Box<dyn Wire>,
        id: Uuid,
        config: &ProducerConfig,
        counters: Arc<Counters>,
    ) -> Writer {
        let replicas = u32::from(config.replicas);
        Writer {
            lane,
            wire,
            id,
            numbering: Numbering::default(),
            replicas: (replicas > 0).then_some((replicas, config.response_timeout / 2)),
            entry_bytes: config.entry_bytes,
            idle_after: config.idle_after,
            renew_after: config.renew_after,
            last: None,
            idle_at: None,
            counters,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.lane.next(self.entry_bytes, self.idle_at).await {
                Work::Frames(batch) => {
                    self.write(batch).await;
                    self.idle_at = Some(Instant::now() + self.idle_after);
                }
                Work::Idle => self.sign_of_life().await,
                Work::Closed => {
                    if self.idle_at.is_some() {
                        self.sign_of_life().await;
                    }
                    return;
                }
            }
        }
    }

    /// An empty entry: its number shows whether the ones before it are there, and it corrects the total kept in
    /// `sent` after a refusal.
    async fn sign_of_life(&mut self) {
        self.write(Batch::default()).await;
        self.idle_at = None;
    }

    /// Writes one entry, however often it takes.
    async fn write(&mut self, mut batch: Batch) {
        if self.last.is_some_and(|last| last.elapsed() >= self.renew_after) {
            self.id = Uuid::new_v4();
            self.numbering = Numbering::default();
        }
        let (bytes, events) = (batch.payload.len(), batch.events);
        let stamp = self.numbering.open(events);
        let entry = Entry {
            partition: self.lane.partition,
            writer: self.id,
            stamp,
            payload: std::mem::take(&mut batch.payload).into(),
            replicas: self.replicas,
        };
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            let (outcome, trouble) = match self.wire.send(&entry).await {
                Attempt::Made(outcome, trouble) => (outcome, trouble),
                Attempt::NotConnected(trouble) => {
                    Counters::add(&self.counters.unreachable, 1);
                    self.warn("no connection, will try again", stamp, Some(&trouble));
                    sleep(backoff.pause()).await;
                    continue;
                }
            };
            match self.numbering.settle(outcome) {
                Verdict::Done => {
                    Counters::add(&self.counters.entries, 1);
                    Counters::add(&self.counters.events, events);
                    Counters::add(&self.counters.bytes, bytes as u64);
                    self.lane.settle(self.id, stamp.total);
                    batch.acknowledge();
                    break;
                }
                Verdict::Dropped => {
                    Counters::add(&self.counters.refusals, 1);
                    self.warn("entry refused", stamp, trouble.as_ref());
                    batch.refuse(trouble.as_ref().and_then(|t| t.code.as_deref()).unwrap_or("ERR"));
                    break;
                }
                Verdict::Resend => {
                    Counters::add(&self.counters.resends, 1);
                    self.warn("outcome unknown, will send the entry again", stamp, trouble.as_ref());
                    sleep(backoff.pause()).await;
                }
            }
        }
        self.last = Some(Instant::now());
        self.lane.release(bytes);
    }

    fn warn(&self, what: &'static str, stamp: Stamp, trouble: Option<&Trouble>) {
        let error = trouble.map(|trouble| trouble.source.to_string()).unwrap_or_default();
        tracing::warn!(partition = self.lane.partition.0, number = stamp.number, error, "{what}");
    }
}
