//! Receipts, handed over in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::BatchId;
use uuid::Uuid;

use crate::receipts::{ReceiptMessage, Receipts, Waiter, Waiters};

/// Who listens where.
#[derive(Default)]
pub(super) struct Addresses {
    open: Mutex<HashMap<String, Arc<Waiters>>>,
}

impl Addresses {
    pub(super) fn tell(&self, receipts: &[ReceiptMessage]) {
        for receipts in receipts.chunk_by(|a, b| a.address == b.address) {
            let waiters = receipts.first().and_then(|first| self.open().get(&first.address).cloned());
            if let Some(waiters) = waiters {
                waiters.tell(receipts.iter().cloned());
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Waiters>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct LocalReceipts {
    address: String,
    waiters: Arc<Waiters>,
    addresses: Arc<Addresses>,
}

impl LocalReceipts {
    pub(super) fn new(addresses: Arc<Addresses>) -> LocalReceipts {
        let (address, waiters) = (format!("local:{}", Uuid::new_v4()), Arc::<Waiters>::default());
        addresses.open().insert(address.clone(), Arc::clone(&waiters));
        LocalReceipts { address, waiters, addresses }
    }
}

impl Drop for LocalReceipts {
    fn drop(&mut self) {
        self.addresses.open().remove(&self.address);
    }
}

#[async_trait]
impl Receipts for LocalReceipts {
    fn address(&self) -> &str {
        &self.address
    }

    fn expect(&self, batch: BatchId, request_id: &str, parts: u16) -> Waiter {
        self.waiters.expect(batch, request_id, parts)
    }

    async fn heard(&self) {}
}
