//! The ordered writer of one stream.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ProducerConfig;
use super::lane::{Batch, Lane, Work};
use crate::Backoff;
use crate::numbering::{Numbering, Outcome, Stamp, Verdict};
use crate::producer::Counters;
use crate::redis::commands;
use crate::redis::connection::{Failure, Link};

pub(super) struct Writer {
    lane: Arc<Lane>,
    link: Link,
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

enum Attempt {
    Made(Outcome, Option<RedisError>),
    /// Nothing was sent: no attempt at all.
    NotConnected(RedisError),
}

impl Writer {
    pub(super) fn new(
        lane: Arc<Lane>,
        link: Link,
        id: Uuid,
        config: &ProducerConfig,
        counters: Arc<Counters>,
    ) -> Writer {
        let replicas = u32::from(config.replicas);
        Writer {
            lane,
            link,
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
    async fn write(&mut self, batch: Batch) {
        if self.last.is_some_and(|last| last.elapsed() >= self.renew_after) {
            self.id = Uuid::new_v4();
            self.numbering = Numbering::default();
        }
        let (bytes, events) = (batch.payload.len(), batch.events);
        let stamp = self.numbering.open(events);
        let entry = commands::write_entry(self.lane.partition, self.id, stamp, &batch.payload, self.replicas);
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            let (outcome, error) = match self.attempt(&entry).await {
                Attempt::Made(outcome, error) => (outcome, error),
                Attempt::NotConnected(error) => {
                    Counters::add(&self.counters.unreachable, 1);
                    self.warn("no connection, will try again", stamp, Some(&error));
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
                    self.warn("entry refused", stamp, error.as_ref());
                    batch.refuse(error.as_ref().and_then(RedisError::code).unwrap_or("ERR"));
                    break;
                }
                Verdict::Resend => {
                    Counters::add(&self.counters.resends, 1);
                    self.warn("outcome unknown, will send the entry again", stamp, error.as_ref());
                    sleep(backoff.pause()).await;
                }
            }
        }
        self.last = Some(Instant::now());
        self.lane.release(bytes);
    }

    async fn attempt(&self, entry: &Pipeline) -> Attempt {
        let replies = match self.link.run(commands::slot(self.lane.partition), entry).await {
            Ok(replies) => replies,
            Err(Failure::NotConnected(error)) => return Attempt::NotConnected(error),
            Err(Failure::Unknown(error)) => return Attempt::Made(Outcome::Unknown, Some(error)),
        };
        let mut replies = replies.into_iter();
        match replies.next() {
            Some(Ok(Value::BulkString(_))) => {}
            // Redis checks before it writes: an error in reply to the XADD itself means it was not carried out.
            Some(Err(error)) => return Attempt::Made(Outcome::Refused, Some(error)),
            _ => return Attempt::Made(Outcome::Unknown, None),
        }
        let Some((wanted, _)) = self.replicas else { return Attempt::Made(Outcome::Written, None) };
        // The total in between is advisory, whatever the reply.
        match replies.nth(1) {
            Some(Ok(Value::Int(confirmed))) if confirmed >= i64::from(wanted) => {
                Attempt::Made(Outcome::Written, None)
            }
            Some(Err(error)) => Attempt::Made(Outcome::Unknown, Some(error)),
            _ => Attempt::Made(Outcome::Unknown, None),
        }
    }

    fn warn(&self, what: &'static str, stamp: Stamp, error: Option<&RedisError>) {
        let error = error.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(partition = self.lane.partition.0, number = stamp.number, error, "{what}");
    }
}
