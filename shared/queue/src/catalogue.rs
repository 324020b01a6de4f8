//! What gateways know of experiments: a projection of the database, written by the analyzer.
//!
//! Experiments change one by one ([`Projection::put`]), where an older revision never overwrites a newer one. Every
//! now and then the whole is compared with the database ([`Projection::reconcile`]); that writes nothing if anybody
//! else has written since before it read the database, so it cannot undo what it has not seen. Until a first
//! reconciliation gateways answer "unavailable", never "unknown experiment".

use std::sync::Arc;

use async_trait::async_trait;
use domain::ExperimentId;
use serde::{Deserialize, Serialize};

use crate::QueueError;

/// An experiment as gateways need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: ExperimentId,
    pub tenant: String,
    pub key: String,
    /// `draft`, `running`, `stopped` or `archived`.
    pub status: String,
    /// Keys, in order: the index is what events carry.
    pub variations: Vec<String>,
    /// Event names of its metrics, each once.
    pub metrics: Vec<String>,
    /// Grows with every committed change of the experiment; below 2^53.
    pub revision: u64,
}

/// The gateway's side: looks experiments up.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// The tenant's experiment of this key or id; `None` if there is none for certain.
    async fn lookup(&self, tenant: &str, reference: &str) -> Result<Option<Arc<Entry>>, Unavailable>;

    /// Whether any experiment of the tenant has a metric that counts these events.
    async fn uses_metric(&self, tenant: &str, metric: &str) -> Result<bool, Unavailable>;

    /// Whether lookups can be answered.
    async fn check(&self) -> Result<(), Unavailable>;

    /// What the gateway keeps of it.
    fn copies(&self) -> Copies;
}

/// A gateway's copies of what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Kept now: at most as many as [`crate::Queue::catalogue`] was given.
    pub kept: usize,
    /// Questions that no copy answered, since the start.
    pub misses: u64,
}

/// Why the catalogue cannot say whether an experiment exists.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    #[error("the catalogue is not complete yet")]
    Incomplete,
    #[error("the catalogue is that of a deployment with {found} partitions, this gateway has {wanted}")]
    Partitions { found: String, wanted: u16 },
    #[error("the catalogue cannot be read")]
    Unreachable(#[source] Arc<QueueError>),
}

/// The analyzer's side: writes the projection.
#[async_trait]
pub trait Projection: Send + Sync {
    /// Writes one experiment after its change was committed, and tells the gateways. Nothing happens if a newer
    /// revision is there already.
    async fn put(&self, entry: &Entry) -> Result<(), QueueError>;

    /// Removes one experiment after its deletion was committed, and tells the gateways. A [`Projection::put`] of an
    /// earlier change that arrives later brings it back until the next reconciliation; owners discard what gateways
    /// accept meanwhile.
    async fn remove(&self, tenant: &str, id: ExperimentId, key: &str) -> Result<(), QueueError>;

    /// Whether it was reconciled and is there still.
    async fn is_complete(&self) -> Result<bool, QueueError>;

    /// Must come before the database is read for [`Projection::reconcile`].
    async fn begin(&self) -> Result<Ticket, QueueError>;

    /// Makes the catalogue hold `all` experiments and nothing else, and marks it complete for the queue's number of
    /// partitions.
    async fn reconcile(&self, ticket: Ticket, all: Vec<Entry>) -> Result<Reconciled, QueueError>;
}

/// The state of the catalogue before the database was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(pub(crate) String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// The catalogue is as the database was; so many of its parts were not.
    Done { changed: usize },
    /// Somebody wrote since [`Projection::begin`], and nothing was done: begin again.
    Superseded,
}

/// Ids are numbers in their shortest form; keys begin with a letter.
pub(crate) fn id_of(reference: &str) -> Option<ExperimentId> {
    let id = reference.parse::<i64>().ok()?;
    (id > 0 && reference == id.to_string()).then_some(ExperimentId(id))
}
