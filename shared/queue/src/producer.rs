//! Writing frames to the partitions.
//!
//! One ordered writer per partition takes frames from all requests and puts what has queued into the next entry,
//! numbered ([`crate::numbering`]). A request is answered when all its frames are durable.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use domain::Partition;
use tokio::time::Instant;
use uuid::Uuid;

/// The gateway's side. Dropping it ends its tasks at once, whatever is queued ([`Producer::drain`] first).
#[async_trait]
pub trait Producer: Send + Sync {
    /// Writes the frames of one request. `Ok` only when every one of them is durable. Dropping the future does not
    /// take back what is queued: a client that hung up may well have sent for good.
    async fn send(&self, frames: Vec<Outgoing>, deadline: Instant) -> Result<(), SendError>;

    /// How far the owners are behind, at most about a second old.
    fn backlog(&self) -> Backlog;

    fn counters(&self) -> &Counters;

    /// Bytes of frames queued or in flight, all partitions together.
    fn queued_bytes(&self) -> usize;

    /// Takes no more frames, waits until those queued are durable, and ends the writers. False if the deadline came
    /// first.
    async fn drain(&self, deadline: Instant) -> bool;
}

/// A frame for a partition, as encoded by [`crate::frame::encode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub partition: Partition,
    pub bytes: Vec<u8>,
    /// As in the frame's header.
    pub events: u32,
}

/// Why a request cannot be called accepted. The client may repeat it in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was written.
    #[error("the queue of partition {0} is full")]
    Full(Partition),
    /// The queue refused a frame, by the error code of Redis; frames to other partitions may have been written.
    #[error("the queue refused the entry: {code}")]
    Refused { code: String },
    /// Not acknowledged before the deadline; frames may still be written.
    #[error("not acknowledged in time")]
    Unknown,
    #[error("the producer is closed")]
    Closed,
    #[error("there is no partition {0}")]
    NoPartition(Partition),
}

/// What the writers of a producer did so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries acknowledged, empty ones included.
    pub entries: AtomicU64,
    /// Events in acknowledged entries.
    pub events: AtomicU64,
    /// Bytes of frames in acknowledged entries.
    pub bytes: AtomicU64,
    /// Attempts repeated because the one before had an unknown outcome.
    pub resends: AtomicU64,
    /// Entries the queue refused.
    pub refusals: AtomicU64,
    /// Attempts that found no connection.
    pub unreachable: AtomicU64,
}

/// State of the queue as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Events written and not yet applied, all partitions and writers.
    pub events: u64,
    /// Share of the queue's memory in use; 0 without a limit.
    pub memory_fraction: f64,
    /// Whether the queue answered the last time it was asked. The other fields keep their last values.
    pub reachable: bool,
}

/// What a writer has sent to a partition, by its running total of events, and what of it was said to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterTotals {
    pub partition: Partition,
    pub writer: Uuid,
    pub sent: u64,
    pub applied: u64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
