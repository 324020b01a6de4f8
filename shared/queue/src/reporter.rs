//! What an owner tells the queue after its commit: totals applied, receipts, and what is no longer needed. The
//! database knows all of it: whatever gets lost is made good by the next report.

use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use uuid::Uuid;

use crate::reader::EntryId;
use crate::receipts::ReceiptMessage;

/// Reports of all partitions of one worker.
#[async_trait]
pub trait Reporter: Send + Sync {
    /// After a commit: the running totals of the writers it applied entries of, the receipts asked for, and
    /// trimming below `trim_to`, the position: entries at and above it stay, and so do those younger than `keep`
    /// unless memory is short. A failure is logged when it begins, and otherwise without consequence.
    async fn report(
        &self,
        partition: Partition,
        writers: &[(Uuid, u64)],
        receipts: &[ReceiptMessage],
        trim_to: EntryId,
        keep: Duration,
    );

    /// Drops the totals of writers that the database has forgotten.
    async fn forget(&self, partition: Partition, writers: &[Uuid]);
}
