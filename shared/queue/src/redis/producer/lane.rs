//! The queue in front of one stream's writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Partition;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::producer::{Outgoing, SendError};
use crate::ticket::Ticket;

pub(super) struct Lane {
    pub(super) partition: Partition,
    limit: usize,
    /// Bytes of frames queued or in flight, or about to be queued.
    reserved: AtomicUsize,
    queue: Mutex<Queue>,
    wake: Notify,
    /// The last entry known to be written: by whom, the total of its events, and when.
    settled: Mutex<Option<(Uuid, u64, Instant)>>,
    renew_after: Duration,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Outgoing, Arc<Ticket>)>,
    closed: bool,
    /// What was written is not in Redis any more: the next entry says so, and is due at once.
    reminded: bool,
}

/// Frames that go into one entry.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) payload: Vec<u8>,
    pub(super) events: u64,
    tickets: Vec<Arc<Ticket>>,
}

pub(super) enum Work {
    Frames(Batch),
    /// Nothing came until the moment named, or a reminder did.
    Idle,
    /// Closed, and everything taken.
    Closed,
}

impl Lane {
    pub(super) fn new(partition: Partition, limit: usize, renew_after: Duration) -> Lane {
        let (reserved, wake) = (AtomicUsize::new(0), Notify::new());
        let (queue, settled) = (Mutex::default(), Mutex::default());
        Lane { partition, limit, reserved, queue, wake, settled, renew_after }
    }

    pub(super) fn reserve(&self, bytes: usize) -> Result<(), SendError> {
        if self.queue().closed {
            return Err(SendError::Closed);
        }
        let fits = |used: usize| (used == 0 || used + bytes <= self.limit).then_some(used + bytes);
        match self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(SendError::Full(self.partition)),
        }
    }

    pub(super) fn release(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Acquire)
    }

    /// Queues a frame whose bytes are reserved.
    pub(super) fn push(&self, frame: Outgoing, ticket: &Arc<Ticket>) {
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            self.release(frame.bytes.len());
            ticket.fail(SendError::Closed);
            return;
        }
        queue.frames.push_back((frame, Arc::clone(ticket)));
        drop(queue);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn settle(&self, writer: Uuid, total: u64) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some((writer, total, Instant::now()));
    }

    /// Whose total Redis must know, and which. None of a writer silent for so long that it begins anew: owners forget
    /// it some time, and its next entry would not show what is gone.
    pub(super) fn settled(&self) -> Option<(Uuid, u64)> {
        let settled = *self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.filter(|(.., at)| at.elapsed() < self.renew_after).map(|(writer, total, _)| (writer, total))
    }

    /// Has the writer write an entry now, an empty one if there is nothing else.
    pub(super) fn remind(&self) {
        self.queue().reminded = true;
        self.wake.notify_one();
    }

    /// The next frames, up to `max_bytes` of them but at least one.
    pub(super) async fn next(&self, max_bytes: usize, idle_at: Option<Instant>) -> Work {
        loop {
            {
                let mut queue = self.queue();
                let reminded = std::mem::take(&mut queue.reminded);
                if !queue.frames.is_empty() {
                    return Work::Frames(take(&mut queue.frames, max_bytes));
                }
                if queue.closed {
                    return Work::Closed;
                }
                if reminded {
                    return Work::Idle;
                }
            }
            // A wake-up between the look and the wait is kept by the Notify.
            match idle_at {
                Some(at) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(at) => return Work::Idle,
                },
                None => self.wake.notified().await,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(frames: &mut VecDeque<(Outgoing, Arc<Ticket>)>, max_bytes: usize) -> Batch {
    let mut batch = Batch::default();
    while let Some((frame, ticket)) = frames.pop_front_if(|(frame, _)| {
        batch.payload.is_empty() || batch.payload.len() + frame.bytes.len() <= max_bytes
    }) {
        batch.events += u64::from(frame.events);
        batch.tickets.push(ticket);
        if batch.payload.is_empty() {
            batch.payload = frame.bytes;
        } else {
            batch.payload.extend_from_slice(&frame.bytes);
        }
    }
    batch
}

impl Batch {
    pub(super) fn acknowledge(self) {
        self.tickets.iter().for_each(|ticket| ticket.acknowledge());
    }

    pub(super) fn refuse(self, code: &str) {
        self.tickets.iter().for_each(|ticket| ticket.fail(SendError::Refused { code: code.to_owned() }));
    }
}
