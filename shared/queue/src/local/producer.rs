//! The gateway's side: numbers entries as every writer does, and waits for their commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::LocalConfig;
use super::stream::{Stamped, Streams};
use crate::numbering::{Numbering, Outcome, Stamp};
use crate::producer::{Backlog, Counters, Outgoing, Producer, SendError};
use crate::ticket::Ticket;

pub(super) struct LocalProducer {
    streams: Arc<Streams>,
    /// One for each partition. Locked while a request is taken, so that numbers are in the order of the stream and
    /// nothing is taken once draining has begun.
    writers: Mutex<Vec<Writer>>,
    /// Entries that are not known to be committed.
    open: TaskTracker,
    counters: Arc<Counters>,
    renew_after: Duration,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// The writer of one partition.
#[derive(Clone)]
struct Writer {
    id: Uuid,
    numbering: Numbering,
    /// When it last wrote.
    last: Timestamp,
}

impl LocalProducer {
    pub(super) fn new(streams: Arc<Streams>, config: &LocalConfig) -> LocalProducer {
        let writer = Writer { id: Uuid::new_v4(), numbering: Numbering::default(), last: (config.clock)() };
        LocalProducer {
            streams,
            writers: Mutex::new(vec![writer; config.partitions.into()]),
            open: TaskTracker::new(),
            counters: Arc::default(),
            renew_after: config.renew_after,
            clock: Arc::clone(&config.clock),
        }
    }

    fn take(&self, frames: Vec<Outgoing>) -> Result<oneshot::Receiver<Result<(), SendError>>, SendError> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if self.open.is_closed() {
            return Err(SendError::Closed);
        }
        let (ticket, answer) = Ticket::new(frames.len());
        let now = (self.clock)();
        self.streams.append(frames, |frame| {
            let writer = &mut writers[usize::from(frame.partition.0)];
            let stamp = writer.stamp(frame.events.into(), now, self.renew_after);
            Stamped {
                writer: writer.id,
                stamp,
                ticket: Arc::clone(&ticket),
                counters: Arc::clone(&self.counters),
                token: self.open.token(),
            }
        })?;
        Ok(answer)
    }
}

impl Writer {
    fn stamp(&mut self, events: u64, now: Timestamp, renew_after: Duration) -> Stamp {
        let silent = u64::try_from(now.0.saturating_sub(self.last.0)).unwrap_or(0);
        if self.numbering != Numbering::default() && Duration::from_micros(silent) >= renew_after {
            *self = Writer { id: Uuid::new_v4(), numbering: Numbering::default(), last: now };
        }
        self.last = now;
        let stamp = self.numbering.open(events);
        self.numbering.settle(Outcome::Written);
        stamp
    }
}

#[async_trait]
impl Producer for LocalProducer {
    async fn send(&self, mut frames: Vec<Outgoing>, deadline: Instant) -> Result<(), SendError> {
        // Owners tell what is applied by totals of events: an entry without any could not be told from the one before.
        frames.retain(|frame| frame.events > 0);
        if frames.is_empty() {
            return Ok(());
        }
        let answer = self.take(frames)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::Unknown),
        }
    }

    fn backlog(&self) -> Backlog {
        self.streams.backlog()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn queued_bytes(&self) -> usize {
        self.streams.bytes()
    }

    async fn drain(&self, deadline: Instant) -> bool {
        {
            let _taking = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
            self.open.close();
        }
        timeout_at(deadline, self.open.wait()).await.is_ok()
    }
}
