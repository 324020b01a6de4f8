//! One Redis stream per partition: the queue of a deployment of several processes.
//!
//! One [`server`] has them all, or those of a cluster share them ([`slots`]); a [`connection`] goes to the one that has
//! the keys.
//!
//! Each writer has at most one entry in flight and acknowledges it when Redis has fsynced it ([`producer`]). Owners
//! read behind an anchor ([`reader`]) and report by pub/sub and trimming ([`reporter`], [`receipts`]). The
//! [`catalogue`] is a hash in the same Redis, and so are issued [`keys`]. [`checks`] says whether the server keeps what it is given.

mod ages;
mod catalogue;
mod checks;
mod commands;
mod connection;
mod error;
mod examine;
mod keys;
mod limiter;
mod producer;
mod reader;
mod receipts;
mod reporter;
mod server;
mod slots;
mod subscription;
mod tls;

use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;

use crate::catalogue::{Catalogue, Projection};
use crate::keys::IssuedKeys;
use crate::limiter::Limiter;
use crate::producer::{Producer, WriterTotals};
use crate::reader::{Ages, EntryId, Reader};
use crate::receipts::Receipts;
use crate::reporter::Reporter;
use crate::{Queue, QueueError, Weakness};
use catalogue::RedisProjection;
use keys::RedisKeys;
use limiter::RedisLimiter;
use producer::RedisProducer;
use reader::RedisReader;
use receipts::RedisReceipts;
use reporter::RedisReporter;
use server::Server;

pub use catalogue::RedisCatalogue;
pub use examine::Examined;
pub use producer::{Client, ProducerConfig};

pub struct RedisQueue {
    server: Server,
    config: ProducerConfig,
}

impl RedisQueue {
    /// `replicas` must have confirmed an entry; 0 = none. Fails only on a URL that cannot be read.
    pub fn new(url: &str, partitions: u16, replicas: u16) -> Result<RedisQueue, QueueError> {
        RedisQueue::with(ProducerConfig { replicas, ..ProducerConfig::new(url, partitions) })
    }

    pub fn with(config: ProducerConfig) -> Result<RedisQueue, QueueError> {
        Ok(RedisQueue { server: Server::at(&config.url, config.patience)?, config })
    }

    /// What every server that takes writes says of itself.
    pub async fn examine(&self) -> Result<Vec<Examined>, QueueError> {
        examine::examine(&self.server).await
    }

    /// As [`Queue::catalogue`], with what only this one can be asked.
    pub fn redis_catalogue(&self, max_loaded: usize) -> RedisCatalogue {
        RedisCatalogue::start(&self.server, max_loaded, self.config.partitions)
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn producer(&self) -> Box<dyn Producer> {
        Box::new(RedisProducer::start(&self.server, &self.config))
    }

    fn reader(&self, partition: Partition, from: EntryId) -> Box<dyn Reader> {
        Box::new(RedisReader::new(&self.server, partition, from, self.config.partitions))
    }

    fn reporter(&self) -> Box<dyn Reporter> {
        Box::new(RedisReporter::new(&self.server))
    }

    fn receipts(&self) -> Box<dyn Receipts> {
        Box::new(RedisReceipts::start(&self.server))
    }

    fn catalogue(&self, max_loaded: usize) -> Box<dyn Catalogue> {
        Box::new(self.redis_catalogue(max_loaded))
    }

    fn projection(&self) -> Box<dyn Projection> {
        Box::new(RedisProjection::new(&self.server, self.config.partitions))
    }

    fn issued_keys(&self) -> Box<dyn IssuedKeys> {
        Box::new(RedisKeys::start(&self.server))
    }

    fn limiter(&self) -> Box<dyn Limiter> {
        Box::new(RedisLimiter::new(&self.server))
    }

    async fn sent_totals(&self) -> Result<Vec<WriterTotals>, QueueError> {
        producer::sent_totals(&self.server, self.config.partitions).await
    }

    async fn ages(&self, of: &[(Partition, EntryId)]) -> Result<Vec<Ages>, QueueError> {
        ages::ages(&self.server, of).await
    }

    async fn weaknesses(&self, patience: Duration) -> Result<Vec<Weakness>, QueueError> {
        checks::durability_within(&self.server, patience).await
    }

    fn settles_on_commit(&self) -> bool {
        false
    }
}
