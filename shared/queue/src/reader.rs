//! Reading one partition's stream by position.
//!
//! Every read begins *at* the last entry returned, the anchor, which trimming leaves alone: if it is not there, the
//! stream is another one (emptied, or an older replica took over) and nothing that follows may be trusted to be
//! next. A blocking read only wakes us up; what it brings is read again behind the anchor.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use domain::{Partition, Timestamp};
use redis::Value;
use uuid::Uuid;

use crate::QueueError;
use crate::commands::{self, FRAMES, NUMBER, TOTAL, WRITER};
use crate::connection::Link;

/// Longest blocking read. After it the anchor is looked at again.
pub const BLOCK_MAX: Duration = Duration::from_secs(1);
/// More than [`BLOCK_MAX`], or a blocking read would fail on our side while the server still waits.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// About so many bytes are read at once; entries are up to 256 KiB, larger ones hold a single frame.
const READ_BYTES: usize = 8 << 20;
/// Bounds one reply before the size of the entries is known: 128 of 256 KiB are 32 MiB.
const READ_ENTRIES: usize = 128;
/// What a new reader asks for, knowing nothing of the stream.
const FIRST_ENTRIES: usize = 16;

/// Id of a stream entry: Redis' clock in milliseconds, and a counter within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    pub ms: u64,
    pub seq: u64,
}

impl EntryId {
    /// Before the first entry of any stream.
    pub const ZERO: EntryId = EntryId { ms: 0, seq: 0 };

    /// When Redis took the entry.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// At least one, in stream order, right behind the position.
    Entries(Vec<Entry>),
    /// Nothing came while we waited.
    Idle,
    /// The entry at the position is gone: this is another stream. [`Reader::seek`] before reading on.
    AnchorLost,
}

/// Reads the stream of one partition on a connection of its own.
pub struct Reader {
    link: Link,
    partition: Partition,
    position: EntryId,
    /// Who wrote the entry at the position, and under which number, if this reader has read it: a stream emptied
    /// within a millisecond gives the same id again.
    anchor: Option<(Uuid, u64)>,
    /// Bytes of an average entry of the last read.
    entry_bytes: usize,
    /// Entries asked for at most: doubled by every read that came through, one after an error. So a stream of
    /// entries too large for one reply gets through all the same.
    entries: usize,
}

impl Reader {
    /// A reader behind `from`; connects when first used. [`EntryId::ZERO`] = from the beginning, without anchor.
    pub fn new(url: &str, partition: Partition, from: EntryId) -> Result<Reader, QueueError> {
        let link = Link::new(url, RESPONSE_TIMEOUT)?;
        Ok(Reader { link, partition, position: from, anchor: None, entry_bytes: 0, entries: FIRST_ENTRIES })
    }

    /// The last entry returned.
    pub fn position(&self) -> EntryId {
        self.position
    }

    /// Reads on behind another entry.
    pub fn seek(&mut self, position: EntryId) {
        self.position = position;
        self.anchor = None;
    }

    /// Up to `max` entries behind the position, fewer when they are large. With none there, waits for one up to
    /// `wait` (at most [`BLOCK_MAX`]; zero = do not wait). After an error the connection is made anew by the next
    /// call, which the caller delays ([`crate::Backoff`]); the position stays.
    ///
    /// A call that is dropped half-way loses nothing, but the next may have to sit out its wait.
    pub async fn next(&mut self, max: usize, wait: Duration) -> Result<Read, QueueError> {
        let read = self.read(max).await?;
        if read != Read::Idle || wait.is_zero() {
            return Ok(read);
        }
        let wait = wait.min(BLOCK_MAX);
        let woken = self.link.run_one(&commands::wait_after(self.partition, self.position, wait)).await;
        match woken.map_err(|e| QueueError::new("wait for entries", e))? {
            Value::Nil => Ok(Read::Idle),
            _ => self.read(max).await,
        }
    }

    async fn read(&mut self, max: usize) -> Result<Read, QueueError> {
        let read = self.read_once(max).await;
        self.entries = if read.is_ok() { (self.entries * 2).min(READ_ENTRIES) } else { 1 };
        read
    }

    async fn read_once(&mut self, max: usize) -> Result<Read, QueueError> {
        let anchored = self.position != EntryId::ZERO;
        let by_size = READ_BYTES.checked_div(self.entry_bytes).unwrap_or(READ_ENTRIES).max(1);
        let count = max.min(self.entries).min(by_size) + usize::from(anchored);
        let reply = self.link.run_one(&commands::read_from(self.partition, self.position, count)).await;
        let reply = reply.map_err(|e| QueueError::new("read entries", e))?;
        let mut entries = parse_entries(reply).ok_or_else(|| QueueError::unexpected("read entries"))?;
        if anchored {
            let is_anchor = |entry: &Entry| {
                entry.id == self.position && self.anchor.is_none_or(|a| a == (entry.writer, entry.number))
            };
            if !entries.first().is_some_and(is_anchor) {
                return Ok(Read::AnchorLost);
            }
            entries.remove(0);
        }
        let Some(last) = entries.last() else { return Ok(Read::Idle) };
        self.position = last.id;
        self.anchor = Some((last.writer, last.number));
        self.entry_bytes = entries.iter().map(|e| e.payload.len()).sum::<usize>() / entries.len();
        Ok(Read::Entries(entries))
    }
}

/// `None` when even the frame of the reply is not that of a range of entries.
fn parse_entries(reply: Value) -> Option<Vec<Entry>> {
    let Value::Array(items) = reply else { return None };
    items.into_iter().map(parse_entry).collect()
}

fn parse_entry(item: Value) -> Option<Entry> {
    let Value::Array(parts) = item else { return None };
    let [Value::BulkString(id), Value::Array(fields)] = <[Value; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    let fields: Vec<Vec<u8>> = fields.into_iter().map(bytes).collect::<Option<_>>()?;
    Some(well_formed(id, fields).unwrap_or_else(|fields| Entry {
        id,
        writer: Uuid::nil(),
        number: 0,
        total: 0,
        payload: fields.concat().into(),
        malformed: true,
    }))
}

/// The entry, or its fields back if one is missing or unreadable.
fn well_formed(id: EntryId, mut fields: Vec<Vec<u8>>) -> Result<Entry, Vec<Vec<u8>>> {
    let value = |name: &[u8]| fields.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| &pair[1]);
    let number = |name| value(name).and_then(|v| std::str::from_utf8(v).ok()?.parse::<u64>().ok());
    let writer = value(WRITER).and_then(|w| Uuid::from_slice(w).ok()).filter(|w| !w.is_nil());
    let frames = fields.chunks_exact(2).position(|pair| pair[0] == FRAMES);
    let (Some(writer), Some(number), Some(total), Some(frames)) =
        (writer, number(NUMBER).filter(|&n| n > 0), number(TOTAL), frames)
    else {
        return Err(fields);
    };
    let payload = fields.swap_remove(frames * 2 + 1).into();
    Ok(Entry { id, writer, number, total, payload, malformed: false })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
