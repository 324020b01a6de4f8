//! What an owner tells after its commit reaches the waiting requests here: first their receipts, then that they are
//! durable.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use uuid::Uuid;

use super::receipts::Addresses;
use super::stream::Streams;
use crate::reader::EntryId;
use crate::receipts::ReceiptMessage;
use crate::reporter::Reporter;

pub(super) struct LocalReporter {
    streams: Arc<Streams>,
    addresses: Arc<Addresses>,
}

impl LocalReporter {
    pub(super) fn new(streams: Arc<Streams>, addresses: Arc<Addresses>) -> LocalReporter {
        LocalReporter { streams, addresses }
    }
}

#[async_trait]
impl Reporter for LocalReporter {
    /// What is applied is dropped at once: no failover can take the database behind its position.
    async fn report(
        &self,
        partition: Partition,
        writers: &[(Uuid, u64)],
        receipts: &[ReceiptMessage],
        _trim_to: EntryId,
        _keep: Duration,
    ) {
        self.addresses.tell(receipts);
        self.streams.applied(partition, writers);
    }

    async fn forget(&self, partition: Partition, writers: &[Uuid]) {
        self.streams.forget(partition, writers);
    }
}
