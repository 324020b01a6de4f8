//! Issued keys as one Redis hash: `version`, and `keys` as JSON.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, RedisResult, Value};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::commands::{self, ISSUED_KEYS_CHANGES};
use super::connection::Link;
use super::error::{failed, unexpected_reply};
use super::server::Server;
use super::subscription::{Event, subscribe};
use crate::QueueError;
use crate::keys::{Edition, IssuedKey, IssuedKeys};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Dropping it ends its subscription.
pub(super) struct RedisKeys {
    link: Link,
    changes: Arc<Notify>,
    _stop: DropGuard,
}

impl RedisKeys {
    /// On the current runtime.
    pub(super) fn start(server: &Server) -> RedisKeys {
        let (changes, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let heard = Arc::clone(&changes);
        subscribe(server, ISSUED_KEYS_CHANGES.to_owned(), stop.clone(), move |event| match event {
            Event::Up | Event::Message(_) => heard.notify_one(),
            Event::Down => {}
        });
        RedisKeys { link: Link::new(server, RESPONSE_TIMEOUT), changes, _stop: stop.drop_guard() }
    }

    async fn fields<const N: usize>(&self, names: [&str; N]) -> RedisResult<[Option<String>; N]> {
        let reply = self.link.run_one(commands::issued_keys_slot(), &commands::issued_keys(&names)).await?;
        Ok(redis::from_redis_value(reply)?)
    }

    async fn replace(&self, seen: Option<&str>, keys: &str) -> Result<bool, RedisError> {
        let script = include_str!("keys.lua");
        let version = Uuid::new_v4().to_string();
        let replace = commands::replace_issued_keys(script, seen.unwrap_or_default(), &version, keys);
        match self.link.run_one(commands::issued_keys_slot(), &replace).await? {
            Value::Int(done) => Ok(done == 1),
            _ => Err(unexpected_reply()),
        }
    }
}

#[async_trait]
impl IssuedKeys for RedisKeys {
    async fn version(&self) -> Result<Option<String>, QueueError> {
        let fields = self.fields(["version"]).await;
        let [version] = fields.map_err(|e| failed("look for issued keys", e))?;
        Ok(version)
    }

    async fn read(&self) -> Result<Option<Edition>, QueueError> {
        let fields = self.fields(["version", "keys"]).await;
        let [version, keys] = fields.map_err(|e| failed("read issued keys", e))?;
        let (Some(version), Some(keys)) = (version, keys) else { return Ok(None) };
        let keys = serde_json::from_str(&keys)
            .map_err(|e| failed("read issued keys", std::io::Error::from(e).into()))?;
        Ok(Some(Edition { version, keys }))
    }

    async fn write(&self, seen: Option<&str>, keys: &[IssuedKey]) -> Result<bool, QueueError> {
        let keys = serde_json::to_string(keys)
            .map_err(|e| failed("encode issued keys", std::io::Error::from(e).into()))?;
        self.replace(seen, &keys).await.map_err(|e| failed("write issued keys", e))
    }

    async fn changed(&self) {
        self.changes.notified().await;
    }
}
