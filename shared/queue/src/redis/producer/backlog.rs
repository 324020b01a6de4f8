//! How far the owners are behind, from the totals that writers and owners leave in Redis. Where the total of an own
//! writer is not what it has written, Redis was emptied or an older replica took over: the writer is reminded to write
//! an entry, whose number shows the owner what is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Partition;
use futures_util::future::try_join_all;
use redis::{RedisResult, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::QueueError;
use crate::producer::{Backlog, WriterTotals};
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::{failed, unexpected};
use crate::redis::producer::lane::Lane;
use crate::redis::server::Server;

const REFRESH: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct BacklogWatch {
    last: Arc<Mutex<Backlog>>,
}

impl BacklogWatch {
    /// `lanes`: of every partition, in order.
    pub(super) fn start(server: &Server, lanes: Vec<Arc<Lane>>, stop: CancellationToken) -> BacklogWatch {
        let (server, link) = (server.clone(), Link::new(server, RESPONSE_TIMEOUT));
        let last = Arc::new(Mutex::new(Backlog { reachable: true, ..Backlog::default() }));
        let watched = Arc::clone(&last);
        tokio::spawn(async move { stop.run_until_cancelled(watch(server, link, lanes, watched)).await });
        BacklogWatch { last }
    }

    pub(super) fn last(&self) -> Backlog {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(server: Server, link: Link, lanes: Vec<Arc<Lane>>, last: Arc<Mutex<Backlog>>) {
    loop {
        let read = read(&server, &link, &lanes).await;
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

async fn read(server: &Server, link: &Link, lanes: &[Arc<Lane>]) -> Result<Backlog, QueueError> {
    // The fullest server decides: which one has the next entry cannot be known here.
    let mut memory_fraction = 0.0_f64;
    for node in server.masters().await.map_err(|e| failed("find the servers", e))? {
        let replies = link.run_at(&node, &commands::memory()).await;
        let mut replies = replies.map_err(|e| failed("read the server's memory", e.into()))?;
        let memory = replies.pop().and_then(Result::ok).as_ref().and_then(commands::memory_fraction);
        memory_fraction = memory_fraction.max(memory.ok_or_else(|| unexpected("read the server's memory"))?);
    }
    // Before Redis is asked: what is written meanwhile may not be in its answer.
    let settled: Vec<_> = lanes.iter().map(|lane| lane.settled()).collect();
    let partitions = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
    let totals = all_totals(link, partitions).await?;
    for (lane, settled) in lanes.iter().zip(settled) {
        let Some((writer, total)) = settled else { continue };
        let of_it = |t: &WriterTotals| t.partition == lane.partition && t.writer == writer && t.sent >= total;
        if !totals.iter().any(of_it) {
            let partition = lane.partition.0;
            tracing::error!(partition, "what was written to the stream is not there any more");
            lane.remind();
        }
    }
    let events = totals.iter().map(|t| t.sent.saturating_sub(t.applied)).sum();
    Ok(Backlog { events, memory_fraction, reachable: true })
}

/// The totals of every writer that Redis knows, on a connection of its own.
pub(crate) async fn sent_totals(server: &Server, partitions: u16) -> Result<Vec<WriterTotals>, QueueError> {
    all_totals(&Link::new(server, RESPONSE_TIMEOUT), partitions).await
}

async fn all_totals(link: &Link, partitions: u16) -> Result<Vec<WriterTotals>, QueueError> {
    let all = try_join_all((0..partitions).map(|p| totals_of(link, Partition(p)))).await?;
    Ok(all.into_iter().flatten().collect())
}

async fn totals_of(link: &Link, partition: Partition) -> Result<Vec<WriterTotals>, QueueError> {
    let replies = link.run(commands::slot(partition), &commands::totals(partition)).await;
    let mut replies = replies.map_err(|e| failed("read the totals sent", e.into()))?.into_iter();
    let (Some(sent), Some(applied)) = (replies.next(), replies.next()) else {
        return Err(unexpected("read the totals sent"));
    };
    let applied: HashMap<Uuid, u64> = totals(applied)?.into_iter().collect();
    let one = |(writer, sent)| {
        let applied = applied.get(&writer).copied().unwrap_or(0);
        WriterTotals { partition, writer, sent, applied }
    };
    Ok(totals(sent)?.into_iter().map(one).collect())
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
