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

/// Running total of events of every writer, as the writers left it: what accounting compares with what the
/// database says is applied.
pub async fn sent_totals(url: &str, partitions: u16) -> Result<Vec<(Partition, Uuid, u64)>, QueueError> {
    let link = Link::new(url, RESPONSE_TIMEOUT)?;
    let replies = link.run(&commands::backlog(partitions)).await;
    let replies = replies.map_err(|e| QueueError::new("read the totals sent", e.into()))?;
    let mut sent = Vec::new();
    for (partition, reply) in (0..partitions).map(Partition).zip(replies.into_iter().step_by(2)) {
        sent.extend(totals(reply)?.into_iter().map(|(writer, total)| (partition, writer, total)));
    }
    Ok(sent)
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
