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
use crate::producer::{Backlog, WriterTotals};
use crate::redis::commands;
use crate::redis::connection::{Link, Server};
use crate::redis::error::{failed, unexpected};

const REFRESH: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct BacklogWatch {
    last: Arc<Mutex<Backlog>>,
}

impl BacklogWatch {
    pub(super) fn start(server: &Server, partitions: u16, stop: CancellationToken) -> BacklogWatch {
        let link = Link::new(server, RESPONSE_TIMEOUT);
        let last = Arc::new(Mutex::new(Backlog { reachable: true, ..Backlog::default() }));
        let watched = Arc::clone(&last);
        tokio::spawn(async move { stop.run_until_cancelled(watch(link, partitions, watched)).await });
        BacklogWatch { last }
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
    let mut replies = replies.map_err(|e| failed("read the backlog", e.into()))?;
    let memory = replies.pop().and_then(Result::ok).as_ref().and_then(commands::memory_fraction);
    let memory_fraction = memory.ok_or_else(|| unexpected("read the server's memory"))?;
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

/// The totals of every writer that Redis knows; one pipeline on a connection of its own.
pub(crate) async fn sent_totals(server: &Server, partitions: u16) -> Result<Vec<WriterTotals>, QueueError> {
    let link = Link::new(server, RESPONSE_TIMEOUT);
    let replies = link.run(&commands::backlog(partitions)).await;
    let mut replies = replies.map_err(|e| failed("read the totals sent", e.into()))?.into_iter();
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
    let reply = reply.map_err(|e| failed("read totals", e))?;
    let pairs: Vec<(Vec<u8>, Vec<u8>)> =
        redis::from_redis_value(reply).map_err(|e| failed("read totals", e.into()))?;
    let pair = |(writer, total): (Vec<u8>, Vec<u8>)| {
        Some((Uuid::from_slice(&writer).ok()?, std::str::from_utf8(&total).ok()?.parse().ok()?))
    };
    Ok(pairs.into_iter().filter_map(pair).collect())
}
