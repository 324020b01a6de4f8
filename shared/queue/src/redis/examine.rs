//! What doctor asks of the servers beside whether they keep what they are given.

use std::time::Duration;

use domain::Timestamp;

use crate::QueueError;
use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::{failed, unexpected};
use crate::redis::server::Server;

const DOING: &str = "ask a server about itself";
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A server of ours, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    pub server: String,
    /// `7.0.15`.
    pub version: String,
    pub now: Timestamp,
    /// Bytes; a limit of 0 is none.
    pub used_memory: u64,
    pub max_memory: u64,
    /// It takes no writes: another does.
    pub is_replica: bool,
    /// Whether the last write and the last rewrite of what it keeps succeeded.
    pub keeps_up: bool,
    /// Where it keeps it; `None` where it does not say.
    pub directory: Option<String>,
}

pub(crate) async fn examine(server: &Server) -> Result<Vec<Examined>, QueueError> {
    let link = Link::new(server, RESPONSE_TIMEOUT);
    let mut found = Vec::new();
    for node in server.masters().await.map_err(|e| failed("find the servers", e))? {
        let replies = link.run_at(&node, &commands::examine()).await;
        let mut replies = replies.map_err(|e| failed(DOING, e.into()))?.into_iter();
        let (Some(info), Some(time), directory) = (replies.next(), replies.next(), replies.next()) else {
            return Err(unexpected(DOING));
        };
        let info: String = redis::from_redis_value(info.map_err(|e| failed(DOING, e))?)
            .map_err(|e| failed(DOING, e.into()))?;
        let (seconds, micros): (i64, i64) = redis::from_redis_value(time.map_err(|e| failed(DOING, e))?)
            .map_err(|e| failed(DOING, e.into()))?;
        let pairs = directory.and_then(Result::ok);
        let pairs: Option<Vec<(String, String)>> = pairs.and_then(|v| redis::from_redis_value(v).ok());
        let of = |name: &str| {
            let line = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|v| v.trim().to_owned());
            info.lines().find_map(line).unwrap_or_default()
        };
        let fine = |name| matches!(of(name).as_str(), "ok" | "");
        found.push(Examined {
            server: node.to_string(),
            version: of("redis_version"),
            now: Timestamp(seconds * 1_000_000 + micros),
            used_memory: of("used_memory").parse().unwrap_or(0),
            max_memory: of("maxmemory").parse().unwrap_or(0),
            is_replica: of("role") == "slave",
            keeps_up: fine("aof_last_write_status") && fine("aof_last_bgrewrite_status"),
            directory: pairs.and_then(|pairs| pairs.into_iter().next()).map(|(_, directory)| directory),
        });
    }
    Ok(found)
}
