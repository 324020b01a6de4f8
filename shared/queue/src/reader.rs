//! Reading one partition's stream by position.
//!
//! The position lives in the database, so a reader holds nothing that cannot be had again: an owner that failed makes
//! another one from there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::Timestamp;
use uuid::Uuid;

use crate::QueueError;
use crate::numbering::Stamp;

/// Longest wait for an entry. After it the stream is looked at again.
pub const BLOCK_MAX: Duration = Duration::from_secs(1);

/// Reads the stream of one partition.
#[async_trait]
pub trait Reader: Send {
    /// The last entry returned.
    fn position(&self) -> EntryId;

    /// Reads on behind another entry.
    fn seek(&mut self, position: EntryId);

    /// Up to `max` entries behind the position, fewer when they are large. With none there, waits for one up to
    /// `wait` (at most [`BLOCK_MAX`]; zero = do not wait). After an error the position stays, and the caller delays
    /// the next call ([`crate::Backoff`]).
    ///
    /// A call that is dropped half-way loses nothing, but the next may have to sit out its wait.
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Read, QueueError>;
}

/// Id of a stream entry: the queue's clock in milliseconds, and a counter within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    pub ms: u64,
    pub seq: u64,
}

impl EntryId {
    /// Before the first entry of any stream.
    pub const ZERO: EntryId = EntryId { ms: 0, seq: 0 };

    /// The id after this one, at a clock of `now_ms`.
    pub(crate) fn next(self, now_ms: u64) -> EntryId {
        match self.seq.checked_add(1) {
            _ if now_ms > self.ms => EntryId { ms: now_ms, seq: 0 },
            Some(seq) => EntryId { ms: self.ms, seq },
            None => EntryId { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// When the queue took the entry.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.ms).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a stream entry")]
pub struct EntryIdError;

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let (ms, seq) = text.split_once('-').ok_or(EntryIdError)?;
        let number = |text: &str| text.parse().map_err(|_| EntryIdError);
        Ok(EntryId { ms: number(ms)?, seq: number(seq)? })
    }
}

/// How old entries of a stream are, by the queue's clock; `None`: there is no such entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ages {
    /// Of the oldest entry there is.
    pub kept: Option<Duration>,
    /// Of the first entry behind a position.
    pub waiting: Option<Duration>,
}

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    /// Nil when malformed.
    pub writer: Uuid,
    /// Of this writer in this stream: 1, 2, 3 ..; 0 when malformed.
    pub number: u64,
    /// The writer's events in this stream up to and including this entry.
    pub total: u64,
    /// Frames one after another ([`crate::frame::split`]); empty in an idle writer's sign of life. Of a malformed
    /// entry all fields and values, one after another.
    pub payload: Bytes,
    /// Not written by one of our writers: a field is missing or has another shape.
    pub malformed: bool,
}

impl Entry {
    pub fn stamp(&self) -> Stamp {
        Stamp { number: self.number, total: self.total }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one, in stream order, right behind the position.
    Entries(Vec<Entry>),
    /// Nothing came while we waited.
    Idle,
    /// The entry at the position is gone: this is another stream. [`Reader::seek`] before reading on.
    AnchorLost,
}
