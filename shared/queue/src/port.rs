//! The port: what gateways, workers and tools need of a queue, whichever it is.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;

use crate::QueueError;
use crate::catalogue::{Catalogue, Projection};
use crate::keys::IssuedKeys;
use crate::limiter::Limiter;
use crate::producer::{Producer, WriterTotals};
use crate::reader::{Ages, EntryId, Reader};
use crate::receipts::Receipts;
use crate::reporter::Reporter;

/// A queue of so many partitions. What it makes works on the runtime it was made on, connects when first used, and
/// ends when dropped.
#[async_trait]
pub trait Queue: Send + Sync {
    /// A writer for each partition, under a new writer's id.
    fn producer(&self) -> Box<dyn Producer>;

    /// Reads what is behind `from` ([`EntryId::ZERO`]: from the beginning).
    fn reader(&self, partition: Partition, from: EntryId) -> Box<dyn Reader>;

    fn reporter(&self) -> Box<dyn Reporter>;

    /// Receipts on an address of their own.
    fn receipts(&self) -> Box<dyn Receipts>;

    /// A catalogue that keeps at most `max_loaded` answers.
    fn catalogue(&self, max_loaded: usize) -> Box<dyn Catalogue>;

    fn projection(&self) -> Box<dyn Projection>;

    fn issued_keys(&self) -> Box<dyn IssuedKeys>;

    /// What all limiters of a queue give out is one and the same.
    fn limiter(&self) -> Box<dyn Limiter>;

    /// The totals of every writer that the queue knows.
    async fn sent_totals(&self) -> Result<Vec<WriterTotals>, QueueError>;

    /// Of each partition's stream, and of what is behind a position in it.
    async fn ages(&self, of: &[(Partition, EntryId)]) -> Result<Vec<Ages>, QueueError>;

    /// What makes the queue unfit for production, waiting up to `patience` for one that is not there yet.
    async fn weaknesses(&self, patience: Duration) -> Result<Vec<Weakness>, QueueError>;

    /// Whether what is acknowledged is committed by its owner, not only kept by the queue.
    fn settles_on_commit(&self) -> bool;
}

/// A setting under which acknowledged events can be lost, or unbounded memory used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// Which of several.
    pub server: Option<String>,
    pub setting: &'static str,
    /// Empty: the server did not say (CONFIG may be forbidden).
    pub found: String,
    pub wanted: &'static str,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weakness { server, setting, found, wanted } = self;
        let found = if found.is_empty() { "unknown" } else { found };
        let server = server.as_ref().map(|server| format!(" at {server}")).unwrap_or_default();
        write!(f, "Redis{server} has {setting} {found}, {wanted} is required")
    }
}
