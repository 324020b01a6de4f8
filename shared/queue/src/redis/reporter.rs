//! Reports to Redis.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use redis::{ConnectionAddr, Pipeline, RedisError};
use tokio::time::Instant;
use uuid::Uuid;

use crate::reader::EntryId;
use crate::receipts::ReceiptMessage;
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::unexpected_reply;
use crate::redis::receipts::message;
use crate::redis::server::Server as Redis;
use crate::redis::slots::Slot;
use crate::reporter::Reporter;

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server's clock and memory are taken from our own clock.
const SERVER_FRESH: Duration = Duration::from_secs(1);
/// Past this share of `maxmemory`, applied entries are not kept for a failover of the database any longer.
const MEMORY_HIGH: f64 = 0.5;

pub(crate) struct RedisReporter {
    link: Link,
    redis: Redis,
    /// Of each server whose streams were trimmed.
    servers: Mutex<Vec<(ConnectionAddr, Server)>>,
    failing: AtomicBool,
}

/// The server's state at a moment of ours.
#[derive(Clone, Copy)]
struct Server {
    seen: Instant,
    time_ms: u64,
    memory_fraction: f64,
}

impl RedisReporter {
    pub(crate) fn new(redis: &Redis) -> RedisReporter {
        let link = Link::new(redis, RESPONSE_TIMEOUT);
        RedisReporter {
            link,
            redis: redis.clone(),
            servers: Mutex::default(),
            failing: AtomicBool::default(),
        }
    }

    async fn run(&self, slot: Slot, pipeline: &Pipeline) {
        if pipeline.is_empty() {
            return;
        }
        match self.link.run(slot, pipeline).await.map_err(RedisError::from) {
            Ok(replies) => self.note(replies.iter().find_map(|reply| reply.as_ref().err())),
            Err(error) => self.note(Some(&error)),
        }
    }

    async fn first_kept(
        &self,
        partition: Partition,
        position: EntryId,
        keep: Duration,
    ) -> Result<EntryId, RedisError> {
        let server = self.server(partition).await?;
        if server.memory_fraction > MEMORY_HIGH {
            return Ok(position);
        }
        let since = u64::try_from(server.seen.elapsed().as_millis()).unwrap_or(u64::MAX);
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let young = server.time_ms.saturating_add(since).saturating_sub(keep);
        Ok(position.min(EntryId { ms: young, seq: 0 }))
    }

    /// The one that has the partition.
    async fn server(&self, partition: Partition) -> Result<Server, RedisError> {
        let node = self.redis.node(commands::slot(partition)).await?;
        if let Some((_, server)) = self.fresh().iter().find(|(of, _)| *of == node) {
            return Ok(*server);
        }
        let mut replies = self.link.run_at(&node, &commands::clock_and_memory()).await?.into_iter();
        let (Some(time), Some(memory)) = (replies.next(), replies.next()) else {
            return Err(unexpected_reply());
        };
        let (seconds, micros): (u64, u64) = redis::from_redis_value(time?)?;
        let memory_fraction = commands::memory_fraction(&memory?).ok_or_else(unexpected_reply)?;
        let server =
            Server { seen: Instant::now(), time_ms: seconds * 1000 + micros / 1000, memory_fraction };
        self.fresh().push((node, server));
        Ok(server)
    }

    fn fresh(&self) -> MutexGuard<'_, Vec<(ConnectionAddr, Server)>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|(_, server)| server.seen.elapsed() < SERVER_FRESH);
        servers
    }

    /// Logs the first failure of a row.
    fn note(&self, error: Option<&RedisError>) {
        let failed_before = self.failing.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error.filter(|_| !failed_before) {
            tracing::warn!(error = %error, "cannot report what is applied");
        }
    }
}

#[async_trait]
impl Reporter for RedisReporter {
    async fn report(
        &self,
        partition: Partition,
        writers: &[(Uuid, u64)],
        receipts: &[ReceiptMessage],
        trim_to: EntryId,
        keep: Duration,
    ) {
        let mut pipeline = redis::pipe();
        if !writers.is_empty() {
            commands::add_applied(&mut pipeline, partition, writers);
        }
        add_receipts(&mut pipeline, receipts);
        if trim_to != EntryId::ZERO {
            match self.first_kept(partition, trim_to, keep).await {
                Ok(first_kept) => commands::add_trim(&mut pipeline, partition, first_kept),
                // Trimming can wait; totals and receipts are tried all the same.
                Err(error) => self.note(Some(&error)),
            }
        }
        self.run(commands::slot(partition), &pipeline).await;
    }

    async fn forget(&self, partition: Partition, writers: &[Uuid]) {
        if !writers.is_empty() {
            self.run(commands::slot(partition), &commands::forget_writers(partition, writers)).await;
        }
    }
}

/// One message for each address.
fn add_receipts(pipeline: &mut Pipeline, receipts: &[ReceiptMessage]) {
    let mut by_address: BTreeMap<&str, Vec<&ReceiptMessage>> = BTreeMap::new();
    for receipt in receipts.iter().filter(|receipt| !receipt.address.is_empty()) {
        by_address.entry(&receipt.address).or_default().push(receipt);
    }
    for (address, receipts) in by_address {
        commands::add_publish(pipeline, address, &message(receipts.into_iter()));
    }
}
