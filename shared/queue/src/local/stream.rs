//! Entries from acceptance to commit.
//!
//! An entry stays until its owner has reported its writer's total up to it, however often it is read meanwhile. It
//! gets its id when it is first read: only then is it certain to lie above the position that the database holds,
//! which may be of an earlier process whose clock was ahead of ours.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Partition, Timestamp};
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::LocalConfig;
use crate::numbering::Stamp;
use crate::producer::{Backlog, Counters, Outgoing, SendError, WriterTotals};
use crate::reader::{Ages, Entry, EntryId};
use crate::ticket::Ticket;

/// About so many bytes are read at once, but at least one entry.
const READ_BYTES: usize = 8 << 20;

/// The streams of all partitions. One lock, so that a request's frames are taken together or not at all; nothing
/// waits while it is held.
pub(super) struct Streams {
    /// Bytes per stream.
    limit: usize,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    all: Mutex<Vec<Stream>>,
}

#[derive(Default)]
struct Stream {
    /// In order. Those not read yet have the id [`EntryId::ZERO`].
    entries: VecDeque<Open>,
    /// Of the entries' payloads.
    bytes: usize,
    /// In the entries.
    events: u64,
    /// Ids given from now on are above.
    last: EntryId,
    /// Events sent and applied of the writers of this process.
    writers: HashMap<Uuid, Totals>,
    arrived: Arc<Notify>,
}

#[derive(Default)]
struct Totals {
    sent: u64,
    applied: u64,
}

/// An entry that is not known to be committed.
struct Open {
    entry: Entry,
    events: u64,
    ticket: Arc<Ticket>,
    counters: Arc<Counters>,
    /// Draining waits for it.
    _token: TaskTrackerToken,
}

/// What a producer adds to a frame.
pub(super) struct Stamped {
    pub(super) writer: Uuid,
    pub(super) stamp: Stamp,
    pub(super) ticket: Arc<Ticket>,
    pub(super) counters: Arc<Counters>,
    pub(super) token: TaskTrackerToken,
}

impl Streams {
    pub(super) fn new(config: &LocalConfig) -> Streams {
        let all = (0..config.partitions).map(|_| Stream::default()).collect();
        Streams { limit: config.queue_bytes, clock: Arc::clone(&config.clock), all: Mutex::new(all) }
    }

    /// Takes all of the frames or none. `stamp` is asked for each in order, once there is room for all.
    pub(super) fn append(
        &self,
        frames: Vec<Outgoing>,
        mut stamp: impl FnMut(&Outgoing) -> Stamped,
    ) -> Result<(), SendError> {
        let mut all = self.lock();
        self.reserve(&mut all, &frames)?;
        for frame in frames {
            let stamped = stamp(&frame);
            if let Some(stream) = all.get_mut(usize::from(frame.partition.0)) {
                stream.push(frame, stamped);
            }
        }
        Ok(())
    }

    fn reserve(&self, all: &mut [Stream], frames: &[Outgoing]) -> Result<(), SendError> {
        for (i, frame) in frames.iter().enumerate() {
            let (partition, bytes) = (frame.partition, frame.bytes.len());
            let refused = match all.get_mut(usize::from(partition.0)) {
                None => SendError::NoPartition(partition),
                Some(stream) if stream.bytes > 0 && stream.bytes + bytes > self.limit => {
                    SendError::Full(partition)
                }
                Some(stream) => {
                    stream.bytes += bytes;
                    continue;
                }
            };
            for earlier in &frames[..i] {
                if let Some(stream) = all.get_mut(usize::from(earlier.partition.0)) {
                    stream.bytes -= earlier.bytes.len();
                }
            }
            return Err(refused);
        }
        Ok(())
    }

    /// Up to `max` entries behind `position`.
    pub(super) fn read(&self, partition: Partition, position: EntryId, max: usize) -> Vec<Entry> {
        let now = u64::try_from((self.clock)().0 / 1000).unwrap_or(0);
        self.of(partition, |stream| stream.read(position, max, now)).unwrap_or_default()
    }

    /// What nobody has read yet has no id, and no age.
    pub(super) fn ages(&self, partition: Partition, position: EntryId) -> Ages {
        let now = u64::try_from((self.clock)().0 / 1000).unwrap_or(0);
        let age = |open: &Open| match open.entry.id {
            EntryId::ZERO => Duration::ZERO,
            id => Duration::from_millis(now.saturating_sub(id.ms)),
        };
        let ages = |stream: &mut Stream| Ages {
            kept: stream.entries.front().map(age),
            waiting: stream.entries.get(stream.first_behind(position)).map(age),
        };
        self.of(partition, ages).unwrap_or_default()
    }

    /// An owner stands at `position`: entries get ids above it from now on.
    pub(super) fn stand_at(&self, partition: Partition, position: EntryId) {
        self.of(partition, |stream| stream.last = stream.last.max(position));
    }

    /// Notified of every entry that arrives.
    pub(super) fn arrived(&self, partition: Partition) -> Arc<Notify> {
        self.of(partition, |stream| Arc::clone(&stream.arrived)).unwrap_or_default()
    }

    /// The writers' totals are committed: their entries up to there are acknowledged and dropped.
    pub(super) fn applied(&self, partition: Partition, totals: &[(Uuid, u64)]) {
        self.of(partition, |stream| stream.applied(totals));
    }

    /// Drops the totals of writers, unless entries of theirs are still here.
    pub(super) fn forget(&self, partition: Partition, writers: &[Uuid]) {
        let stays = |id: &Uuid, totals: &mut Totals| totals.sent > totals.applied || !writers.contains(id);
        self.of(partition, |stream| stream.writers.retain(stays));
    }

    pub(super) fn totals(&self) -> Vec<WriterTotals> {
        let all = self.lock();
        let of_stream = |(partition, stream): (u16, &Stream)| -> Vec<WriterTotals> {
            let totals = stream.writers.iter().map(|(writer, Totals { sent, applied })| WriterTotals {
                partition: Partition(partition),
                writer: *writer,
                sent: *sent,
                applied: *applied,
            });
            totals.collect()
        };
        (0..).zip(all.iter()).flat_map(of_stream).collect()
    }

    pub(super) fn backlog(&self) -> Backlog {
        let all = self.lock();
        let fullest = all.iter().map(|stream| stream.bytes).max().unwrap_or(0);
        #[allow(clippy::cast_precision_loss)] // a share
        let memory_fraction = fullest as f64 / self.limit.max(1) as f64;
        let events = all.iter().map(|stream| stream.events).sum();
        Backlog { events, memory_fraction, reachable: true }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().iter().map(|stream| stream.bytes).sum()
    }

    /// `None`: there is no such partition.
    fn of<T>(&self, partition: Partition, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.lock().get_mut(usize::from(partition.0)).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// A frame whose bytes are reserved.
    fn push(&mut self, frame: Outgoing, stamped: Stamped) {
        let Stamped { writer, stamp, ticket, counters, token } = stamped;
        let entry = Entry {
            id: EntryId::ZERO,
            writer,
            number: stamp.number,
            total: stamp.total,
            payload: frame.bytes.into(),
            malformed: false,
        };
        let events = frame.events.into();
        self.events += events;
        self.writers.entry(writer).or_default().sent = stamp.total;
        self.entries.push_back(Open { entry, events, ticket, counters, _token: token });
        self.arrived.notify_waiters();
    }

    fn first_behind(&self, position: EntryId) -> usize {
        let passed = |open: &Open| open.entry.id != EntryId::ZERO && open.entry.id <= position;
        self.entries.partition_point(passed)
    }

    fn read(&mut self, position: EntryId, max: usize, now_ms: u64) -> Vec<Entry> {
        let first = self.first_behind(position);
        let (mut read, mut bytes) = (Vec::new(), 0);
        for Open { entry, .. } in self.entries.range_mut(first..).take(max) {
            bytes += entry.payload.len();
            if bytes > READ_BYTES && !read.is_empty() {
                break;
            }
            if entry.id == EntryId::ZERO {
                self.last = self.last.next(now_ms);
                entry.id = self.last;
            }
            read.push(entry.clone());
        }
        read
    }

    fn applied(&mut self, totals: &[(Uuid, u64)]) {
        for (writer, total) in totals {
            // Of other writers, those of earlier processes, nothing is here.
            if let Some(totals) = self.writers.get_mut(writer) {
                // A late report of an owner that is gone says less than is known.
                totals.applied = totals.applied.max(*total);
            }
        }
        let writers = &self.writers;
        let is_applied = |open: &mut Open| {
            writers.get(&open.entry.writer).is_some_and(|totals| totals.applied >= open.entry.total)
        };
        while let Some(Open { entry, events, ticket, counters, _token }) =
            self.entries.pop_front_if(is_applied)
        {
            let bytes = entry.payload.len();
            self.bytes -= bytes;
            self.events -= events;
            Counters::add(&counters.entries, 1);
            Counters::add(&counters.events, events);
            Counters::add(&counters.bytes, bytes as u64);
            ticket.acknowledge();
        }
    }
}
