//! Reading a stream of Redis.
//!
//! Every read begins *at* the last entry returned, the anchor, which trimming leaves alone: if it is not there, the
//! stream is another one (emptied, or an older replica took over) and nothing that follows may be trusted to be
//! next. A blocking read only wakes us up; what it brings is read again behind the anchor.

use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use redis::Value;
use uuid::Uuid;

use crate::QueueError;
use crate::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use crate::redis::commands::{self, FRAMES, NUMBER, TOTAL, WRITER};
use crate::redis::connection::Link;
use crate::redis::error::{failed, unexpected};
use crate::redis::server::Server;

/// More than [`BLOCK_MAX`], or a blocking read would fail on our side while the server still waits.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// About so many bytes are read at once, for all partitions together: what an owner of them all holds does not depend
/// on how many there are, nor on what waits in the streams.
const READ_BYTES: usize = 32 << 20;
/// Of one partition. Entries are up to 256 KiB, larger ones hold a single frame; and 2 MiB are more events than go
/// into one transaction.
const PARTITION_BYTES: std::ops::RangeInclusive<usize> = ENTRY_BYTES..=2 << 20;
const ENTRY_BYTES: usize = 256 << 10;
/// Bounds one reply before the size of the entries is known: 128 of 256 KiB are 32 MiB.
const READ_ENTRIES: usize = 128;

/// Reads the stream of one partition on a connection of its own.
pub(crate) struct RedisReader {
    link: Link,
    partition: Partition,
    position: EntryId,
    /// About so many are read at once.
    read_bytes: usize,
    /// Who wrote the entry at the position, and under which number, if this reader has read it: a stream emptied
    /// within a millisecond gives the same id again.
    anchor: Option<(Uuid, u64)>,
    /// Bytes of an average entry of the last read.
    entry_bytes: usize,
    /// Entries asked for at most: doubled by every read that came through, one after an error. So a stream of
    /// entries too large for one reply gets through all the same.
    entries: usize,
}

impl RedisReader {
    /// A reader behind `from`; connects when first used. [`EntryId::ZERO`] = from the beginning, without anchor.
    pub(crate) fn new(server: &Server, partition: Partition, from: EntryId, partitions: u16) -> RedisReader {
        let share = READ_BYTES / usize::from(partitions.max(1));
        let read_bytes = share.clamp(*PARTITION_BYTES.start(), *PARTITION_BYTES.end());
        RedisReader {
            link: Link::new(server, RESPONSE_TIMEOUT),
            partition,
            position: from,
            read_bytes,
            anchor: None,
            entry_bytes: 0,
            // Knowing nothing of the stream yet.
            entries: read_bytes / ENTRY_BYTES,
        }
    }

    async fn read(&mut self, max: usize) -> Result<Read, QueueError> {
        let read = self.read_once(max).await;
        self.entries = if read.is_ok() { (self.entries * 2).min(READ_ENTRIES) } else { 1 };
        read
    }

    async fn read_once(&mut self, max: usize) -> Result<Read, QueueError> {
        let anchored = self.position != EntryId::ZERO;
        let by_size = self.read_bytes.checked_div(self.entry_bytes).unwrap_or(READ_ENTRIES).max(1);
        let count = max.min(self.entries).min(by_size) + usize::from(anchored);
        let range = commands::read_from(self.partition, self.position, count);
        let reply = self.link.run_one(commands::slot(self.partition), &range).await;
        let reply = reply.map_err(|e| failed("read entries", e))?;
        let mut entries = parse_entries(reply).ok_or_else(|| unexpected("read entries"))?;
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

#[async_trait]
impl Reader for RedisReader {
    fn position(&self) -> EntryId {
        self.position
    }

    fn seek(&mut self, position: EntryId) {
        self.position = position;
        self.anchor = None;
    }

    async fn next(&mut self, max: usize, wait: Duration) -> Result<Read, QueueError> {
        let read = self.read(max).await?;
        if read != Read::Idle || wait.is_zero() {
            return Ok(read);
        }
        let wait = wait.min(BLOCK_MAX);
        let wait = commands::wait_after(self.partition, self.position, wait);
        let woken = self.link.run_one(commands::slot(self.partition), &wait).await;
        match woken.map_err(|e| failed("wait for entries", e))? {
            Value::Nil => Ok(Read::Idle),
            _ => self.read(max).await,
        }
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
