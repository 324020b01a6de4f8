//! How old the entries of streams are, by the servers' clocks.

use std::time::Duration;

use domain::Partition;
use futures_util::future::try_join_all;
use redis::{RedisResult, Value};

use crate::QueueError;
use crate::reader::{Ages, EntryId};
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::{failed, unexpected};
use crate::redis::server::Server;

const DOING: &str = "look at the entries' ages";
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// On a connection of its own.
pub(crate) async fn ages(server: &Server, of: &[(Partition, EntryId)]) -> Result<Vec<Ages>, QueueError> {
    let link = Link::new(server, RESPONSE_TIMEOUT);
    try_join_all(of.iter().map(|(partition, position)| ages_of(&link, *partition, *position))).await
}

async fn ages_of(link: &Link, partition: Partition, position: EntryId) -> Result<Ages, QueueError> {
    let replies = link.run(commands::slot(partition), &commands::first_entries(partition, position)).await;
    let mut replies = replies.map_err(|e| failed(DOING, e.into()))?.into_iter();
    let (Some(time), Some(kept), Some(waiting)) = (replies.next(), replies.next(), replies.next()) else {
        return Err(unexpected(DOING));
    };
    let time = time.map_err(|e| failed(DOING, e))?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(time).map_err(|e| failed(DOING, e.into()))?;
    let now = seconds * 1000 + micros / 1000;
    let age = |id: EntryId| Duration::from_millis(now.saturating_sub(id.ms));
    Ok(Ages { kept: first(kept)?.map(age), waiting: first(waiting)?.map(age) })
}

/// Id of the only entry of a range, if there is one.
fn first(reply: RedisResult<Value>) -> Result<Option<EntryId>, QueueError> {
    let Value::Array(entries) = reply.map_err(|e| failed(DOING, e))? else { return Err(unexpected(DOING)) };
    let Some(entry) = entries.into_iter().next() else { return Ok(None) };
    let id = match entry {
        Value::Array(parts) => parts.into_iter().next(),
        _ => None,
    };
    let Some(Value::BulkString(id)) = id else { return Err(unexpected(DOING)) };
    let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| unexpected(DOING))
}
