//! What became of a request, told by the owners to the gateway that waits for it.
//!
//! Each gateway listens on an address of its own, which travels in the frames. Messages may be lost: a waiter that
//! hears nothing gives up at its deadline, and the receipt is in the database all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::BatchId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Most requests that wait at once; more are not told.
const WAITERS_MAX: usize = 65_536;

/// What one frame of a request came to. The parts of a request add up to its [`Totals`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptMessage {
    /// As in the frame. Nothing is published for an empty one.
    pub address: String,
    pub request_id: String,
    pub batch: BatchId,
    pub part: u16,
    pub recorded: u32,
    pub deduplicated: u32,
    /// Part of `deduplicated`.
    pub conflicts: u32,
    pub dead_lettered: u32,
}

/// What a whole request came to, in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub recorded: u64,
    pub deduplicated: u64,
    /// Part of `deduplicated`.
    pub conflicts: u64,
    pub dead_lettered: u64,
}

/// The gateway's side. Dropping it ends its address.
#[async_trait]
pub trait Receipts: Send + Sync {
    /// What frames carry as their receipt address.
    fn address(&self) -> &str;

    /// Registers a request of `parts` frames. Must come before they are sent.
    fn expect(&self, batch: BatchId, request_id: &str, parts: u16) -> Waiter;

    /// Returns when what is told from now on arrives: at once, unless the way here is not there yet, or lost.
    async fn heard(&self);
}

/// The requests that wait at one address.
#[derive(Default)]
pub(crate) struct Waiters {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// A client may send the same request twice at once, so there can be several of one name.
    requests: HashMap<(BatchId, String), Vec<Pending>>,
    waiting: usize,
    last_id: u64,
}

struct Pending {
    id: u64,
    /// One bit per part already told.
    told: Vec<u64>,
    left: u16,
    totals: Totals,
    done: oneshot::Sender<Totals>,
}

/// A request that waits for its receipts. Dropping it unregisters it.
pub struct Waiter {
    totals: oneshot::Receiver<Totals>,
    name: (BatchId, String),
    id: u64,
    waiters: Arc<Waiters>,
}

impl Waiter {
    /// What the request came to, or `None` if not all of it was told before the deadline.
    pub async fn wait(mut self, deadline: Instant) -> Option<Totals> {
        timeout_at(deadline, &mut self.totals).await.ok()?.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.remove(&self.name, self.id);
    }
}

impl Waiters {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn expect(self: &Arc<Self>, batch: BatchId, request_id: &str, parts: u16) -> Waiter {
        let (done, totals) = oneshot::channel();
        let name = (batch, request_id.to_owned());
        let mut open = self.open();
        open.last_id += 1;
        let id = open.last_id;
        if open.waiting < WAITERS_MAX && parts > 0 {
            open.waiting += 1;
            let told = vec![0; usize::from(parts).div_ceil(64)];
            let pending = Pending { id, told, left: parts, totals: Totals::default(), done };
            open.requests.entry(name.clone()).or_default().push(pending);
        }
        drop(open);
        Waiter { totals, name, id, waiters: Arc::clone(self) }
    }

    /// Whatever address the receipts carry, they are for these waiters.
    pub(crate) fn tell(&self, receipts: impl Iterator<Item = ReceiptMessage>) {
        let mut open = self.open();
        for mut receipt in receipts {
            let name = (receipt.batch, std::mem::take(&mut receipt.request_id));
            let Some(requests) = open.requests.get_mut(&name) else { continue };
            let before = requests.len();
            let done: Vec<Pending> = requests.extract_if(.., |pending| pending.add(&receipt)).collect();
            if done.len() == before {
                open.requests.remove(&name);
            }
            open.waiting -= done.len();
            for pending in done {
                // The waiter may be gone.
                let _ = pending.done.send(pending.totals);
            }
        }
    }

    fn remove(&self, name: &(BatchId, String), id: u64) {
        let mut open = self.open();
        let Some(requests) = open.requests.get_mut(name) else { return };
        let Some(at) = requests.iter().position(|pending| pending.id == id) else { return };
        requests.swap_remove(at);
        if requests.is_empty() {
            open.requests.remove(name);
        }
        open.waiting -= 1;
    }
}

impl Pending {
    /// True when that was the last part. A part told twice (the owner died between commit and publishing, or the
    /// entry is in the stream twice) counts once.
    fn add(&mut self, receipt: &ReceiptMessage) -> bool {
        let (word, bit) = (usize::from(receipt.part / 64), 1 << (receipt.part % 64));
        let Some(told) = self.told.get_mut(word).filter(|told| **told & bit == 0) else { return false };
        *told |= bit;
        self.totals.recorded += u64::from(receipt.recorded);
        self.totals.deduplicated += u64::from(receipt.deduplicated);
        self.totals.conflicts += u64::from(receipt.conflicts);
        self.totals.dead_lettered += u64::from(receipt.dead_lettered);
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
}
