//! The queue of a deployment that is one process: bounded lists in memory, one per partition.
//!
//! Nothing survives the process, so nothing is acknowledged before its owner has reported the commit: `Ok` of
//! [`crate::producer::Producer::send`] means durable here as well. Until then an entry stays, so an owner that failed
//! reads it again from the position that the database holds.

mod catalogue;
mod keys;
mod limiter;
mod producer;
mod reader;
mod receipts;
mod reporter;
mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::{Partition, Timestamp};

use crate::catalogue::{Catalogue, Projection};
use crate::keys::IssuedKeys;
use crate::limiter::Limiter;
use crate::numbering::RENEW_AFTER;
use crate::producer::{Producer, WriterTotals};
use crate::reader::{Ages, EntryId, Reader};
use crate::receipts::Receipts;
use crate::reporter::Reporter;
use crate::{Queue, QueueError, Weakness};
use catalogue::LocalCatalogue;
use keys::{Editions, LocalKeys};
use limiter::LocalLimiter;
use producer::LocalProducer;
use reader::LocalReader;
use receipts::{Addresses, LocalReceipts};
use reporter::LocalReporter;
use stream::Streams;

/// How the queue works. [`LocalConfig::new`] has what a deployment wants.
#[derive(Clone)]
pub struct LocalConfig {
    pub partitions: u16,
    /// Most bytes of frames per partition that are not known to be committed. A single larger frame is taken when it
    /// is alone.
    pub queue_bytes: usize,
    /// A writer silent for longer than this begins anew under another id.
    pub renew_after: Duration,
    /// What entries get their ids from.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl LocalConfig {
    pub fn new(partitions: u16) -> LocalConfig {
        LocalConfig {
            partitions,
            queue_bytes: 16 << 20,
            renew_after: RENEW_AFTER,
            clock: Arc::new(wall_clock),
        }
    }
}

/// What the server's clock is to the other adapter.
#[allow(clippy::disallowed_methods)] // the only reader of the clock in this crate
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

pub struct LocalQueue {
    config: LocalConfig,
    streams: Arc<Streams>,
    addresses: Arc<Addresses>,
    catalogue: LocalCatalogue,
    keys: Editions,
    limiter: LocalLimiter,
}

impl LocalQueue {
    pub fn new(partitions: u16) -> LocalQueue {
        LocalQueue::with(LocalConfig::new(partitions))
    }

    pub fn with(config: LocalConfig) -> LocalQueue {
        let streams = Arc::new(Streams::new(&config));
        let (addresses, catalogue, keys) = (Arc::default(), LocalCatalogue::default(), Editions::new(None));
        LocalQueue { config, streams, addresses, catalogue, keys, limiter: LocalLimiter::new() }
    }
}

#[async_trait]
impl Queue for LocalQueue {
    fn producer(&self) -> Box<dyn Producer> {
        Box::new(LocalProducer::new(Arc::clone(&self.streams), &self.config))
    }

    fn reader(&self, partition: Partition, from: EntryId) -> Box<dyn Reader> {
        Box::new(LocalReader::new(Arc::clone(&self.streams), partition, from))
    }

    fn reporter(&self) -> Box<dyn Reporter> {
        Box::new(LocalReporter::new(Arc::clone(&self.streams), Arc::clone(&self.addresses)))
    }

    fn receipts(&self) -> Box<dyn Receipts> {
        Box::new(LocalReceipts::new(Arc::clone(&self.addresses)))
    }

    /// Everything is in memory once, so there is nothing to bound.
    fn catalogue(&self, _max_loaded: usize) -> Box<dyn Catalogue> {
        Box::new(self.catalogue.clone())
    }

    fn projection(&self) -> Box<dyn Projection> {
        Box::new(self.catalogue.clone())
    }

    fn issued_keys(&self) -> Box<dyn IssuedKeys> {
        Box::new(LocalKeys::new(&self.keys))
    }

    fn limiter(&self) -> Box<dyn Limiter> {
        Box::new(self.limiter.clone())
    }

    async fn sent_totals(&self) -> Result<Vec<WriterTotals>, QueueError> {
        Ok(self.streams.totals())
    }

    async fn ages(&self, of: &[(Partition, EntryId)]) -> Result<Vec<Ages>, QueueError> {
        Ok(of.iter().map(|(partition, position)| self.streams.ages(*partition, *position)).collect())
    }

    async fn weaknesses(&self, _patience: Duration) -> Result<Vec<Weakness>, QueueError> {
        Ok(Vec::new())
    }

    fn settles_on_commit(&self) -> bool {
        true
    }
}
