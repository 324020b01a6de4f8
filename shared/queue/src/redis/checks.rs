//! Whether the server keeps what it acknowledges.

use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::time::{Instant, sleep};

use crate::redis::commands;
use crate::redis::connection::Link;
use crate::redis::error::failed;
use crate::redis::server::Server;
use crate::{QueueError, Weakness};

const RETRY_PAUSE: Duration = Duration::from_millis(500);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Setting, value wanted, and whether a value found will do.
type Wanted = (&'static str, &'static str, fn(&str) -> bool);

const WANTED: [Wanted; 5] = [
    ("maxmemory-policy", "noeviction", |found| found == "noeviction"),
    ("maxmemory", "a limit", |found| found.parse::<u64>().is_ok_and(|bytes| bytes > 0)),
    ("appendonly", "yes", |found| found == "yes"),
    ("appendfsync", "always", |found| found == "always"),
    ("no-appendfsync-on-rewrite", "no", |found| found == "no"),
];

/// Weaknesses of every server that takes writes; none = it is fit for production.
async fn durability(server: &Server) -> Result<Vec<Weakness>, QueueError> {
    let link = Link::new(server, RESPONSE_TIMEOUT);
    let questions = commands::settings(&WANTED.map(|(setting, ..)| setting));
    let mut weaknesses = Vec::new();
    for node in server.masters().await.map_err(|e| failed("find the servers", e))? {
        let replies = link.run_at(&node, &questions).await;
        let mut replies = replies.map_err(|e| failed("read the settings", e.into()))?;
        // One that does not tell shows at the first write.
        if replies.pop().and_then(role).is_some_and(|role| role != "master") {
            let reason = format!("{node} is a replica, which takes no writes");
            return Err(QueueError::new("find the servers", true, reason));
        }
        for ((setting, wanted, will_do), reply) in WANTED.into_iter().zip(replies) {
            let found = value(reply).unwrap_or_default();
            if !will_do(&found) {
                let server = server.cluster().map(|_| node.to_string());
                weaknesses.push(Weakness { server, setting, found, wanted });
            }
        }
    }
    Ok(weaknesses)
}

/// The same, waiting up to `patience` for a server that is not there yet.
pub(crate) async fn durability_within(
    server: &Server,
    patience: Duration,
) -> Result<Vec<Weakness>, QueueError> {
    let deadline = Instant::now() + patience;
    loop {
        match durability(server).await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::warn!(%error, "the queue is not ready; trying again");
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn role(reply: RedisResult<Value>) -> Option<String> {
    let parts: Vec<Value> = redis::from_redis_value(reply.ok()?).ok()?;
    redis::from_redis_value(parts.into_iter().next()?).ok()
}

fn value(reply: RedisResult<Value>) -> Option<String> {
    let pairs: Vec<(String, String)> = redis::from_redis_value(reply.ok()?).ok()?;
    pairs.into_iter().next().map(|(_, value)| value)
}
