//! How far the owners are behind, from the totals that writers and owners leave in Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Partition;
use redis::{RedisResult, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::QueueError;
use crate::commands;
use crate::connection::Link;

const REFRESH: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// State of the queue as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Events written and not yet applied, all partitions and writers.
    pub events: u64,
    /// Redis' `used_memory / maxmemory`; 0 without a limit.
    pub memory_fraction: f64,
    /// Whether Redis answered the last time it was asked. The other fields keep their last values.
    pub reachable: bool,
}

pub(super) struct BacklogWatch {
    last: Arc<Mutex<Backlog>>,
}

impl BacklogWatch {
    pub(super) fn start(
        url: &str,
        partitions: u16,
        stop: CancellationToken,
    ) -> Result<BacklogWatch, QueueError> {
        let link = Link::new(url, RESPONSE_TIMEOUT)?;
        let last = Arc::new(Mutex::new(Backlog { reachable: true, ..Backlog::default() }));
        let watched = Arc::clone(&last);
        tokio::spawn(async move { stop.run_until_cancelled(watch(link, partitions, watched)).await });
        Ok(BacklogWatch { last })
    }

    pub(super) fn last(&self) -> Backlog {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(link: Link, partitions: u16, last: Arc<Mutex<Backlog>>) {
    loop {
        let read = read(&link, partitions).await;
        {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok(backlog) => *last = backlog,
                Err(_) => last.reachable = false,
            }
        }
        sleep(REFRESH).await;
    }
}

async fn read(link: &Link, partitions: u16) -> Result<Backlog, QueueError> {
    let replies = link.run(&commands::backlog(partitions)).await;
    let mut replies = replies.map_err(|e| QueueError::new("read the backlog", e.into()))?;
    let memory = replies.pop().and_then(Result::ok).as_ref().and_then(commands::memory_fraction);
    let memory_fraction = memory.ok_or_else(|| QueueError::unexpected("read the server's memory"))?;
    let mut events = 0;
    let mut replies = replies.into_iter();
    while let (Some(sent), Some(applied)) = (replies.next(), replies.next()) {
        let applied: HashMap<Uuid, u64> = totals(applied)?.into_iter().collect();
        for (writer, sent) in totals(sent)? {
            events += sent.saturating_sub(applied.get(&writer).copied().unwrap_or(0));
        }
    }
    Ok(Backlog { events, memory_fraction, reachable: true })
}

/// What a writer has sent to a partition, by its running total of events, and what of it was said to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterTotals {
    pub partition: Partition,
    pub writer: Uuid,
    pub sent: u64,
    pub applied: u64,
}

/// The totals of every writer that Redis knows; one pipeline on a connection of its own.
pub async fn sent_totals(url: &str, partitions: u16) -> Result<Vec<WriterTotals>, QueueError> {
    let link = Link::new(url, RESPONSE_TIMEOUT)?;
    let replies = link.run(&commands::backlog(partitions)).await;
    let mut replies = replies.map_err(|e| QueueError::new("read the totals sent", e.into()))?.into_iter();
    let mut all = Vec::new();
    for partition in (0..partitions).map(Partition) {
        let (Some(sent), Some(applied)) = (replies.next(), replies.next()) else { break };
        let applied = totals(applied)?;
        let applied = |writer| applied.iter().find(|a| a.0 == writer).map_or(0, |a| a.1);
        let sent = totals(sent)?.into_iter();
        all.extend(sent.map(|(writer, sent)| WriterTotals {
            partition,
            writer,
            sent,
            applied: applied(writer),
        }));
    }
    Ok(all)
}

/// The pairs of a hash of totals. Foreign fields are passed over.
fn totals(reply: RedisResult<Value>) -> Result<Vec<(Uuid, u64)>, QueueError> {
    let reply = reply.map_err(|e| QueueError::new("read totals", e))?;
    let pairs: Vec<(Vec<u8>, Vec<u8>)> =
        redis::from_redis_value(reply).map_err(|e| QueueError::new("read totals", e.into()))?;
    let pair = |(writer, total): (Vec<u8>, Vec<u8>)| {
        Some((Uuid::from_slice(&writer).ok()?, std::str::from_utf8(&total).ok()?.parse().ok()?))
    };
    Ok(pairs.into_iter().filter_map(pair).collect())
}
