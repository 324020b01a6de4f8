//! A pub/sub subscription that comes back by itself and says when it was away.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Backoff;
use crate::redis::commands;
use crate::redis::connection::{CONNECT_TIMEOUT, Server};

/// The connection is asked for a sign of life so often: a peer that is gone without a word is noticed by that.
const PING_EVERY: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) enum Event<'a> {
    /// Subscribed: messages published from now on arrive.
    Up,
    Message(&'a [u8]),
    /// Messages may have been missed from now on, or shortly before.
    Down,
}

/// Follows one channel until `stop`. `on_event` is called on the connection's task and must not block.
pub(crate) fn subscribe(
    server: &Server,
    channel: String,
    stop: CancellationToken,
    on_event: impl Fn(Event<'_>) + Send + Sync + 'static,
) {
    let client = server.subscriptions.clone();
    let on_event = Arc::new(on_event);
    let follow = async move {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let error = follow_once(&client, &channel, &on_event, &mut backoff).await;
            on_event(Event::Down);
            tracing::warn!(channel, error = %error, "subscription lost, will try again");
            sleep(backoff.pause()).await;
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled(follow).await });
}

/// Returns when the connection is lost.
async fn follow_once<F>(
    client: &Client,
    channel: &str,
    on_event: &Arc<F>,
    backoff: &mut Backoff,
) -> RedisError
where
    F: Fn(Event<'_>) + Send + Sync + 'static,
{
    let lost = Arc::new(Notify::new());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_push_sender(push_to(Arc::clone(on_event), Arc::clone(&lost)));
    let mut connection = match client.get_multiplexed_async_connection_with_config(&config).await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    if let Err(error) = connection.subscribe(channel).await {
        return error;
    }
    backoff.reset();
    on_event(Event::Up);
    let ping = commands::ping();
    loop {
        // Lost or not, the next ping tells; being told only makes it sooner.
        let _ = timeout(PING_EVERY, lost.notified()).await;
        if let Err(error) = connection.req_packed_commands(&ping, 0, 1).await {
            return error;
        }
    }
}

fn push_to<F>(
    on_event: Arc<F>,
    lost: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), redis::aio::SendError> + Send + Sync + 'static
where
    F: Fn(Event<'_>) + Send + Sync + 'static,
{
    move |push| {
        match (push.kind, push.data.as_slice()) {
            (PushKind::Message, [_, Value::BulkString(message)]) => on_event(Event::Message(message)),
            (PushKind::Disconnection, _) => lost.notify_one(),
            _ => {}
        }
        Ok(())
    }
}
