//! A pub/sub subscription that comes back by itself and says when it was away.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{AsyncConnectionConfig, ErrorKind, PushInfo, PushKind, RedisResult, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Backoff;
use crate::redis::commands;
use crate::redis::connection::CONNECT_TIMEOUT;
use crate::redis::server::Server;
use crate::redis::slots::Slot;

/// The connection is asked for a sign of life so often: a peer that is gone without a word is noticed by that.
const PROBE_EVERY: Duration = Duration::from_secs(1);
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
    let server = server.clone();
    let on_event = Arc::new(on_event);
    let follow = async move {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let Err(error) = follow_once(&server, &channel, &on_event, &mut backoff).await;
            on_event(Event::Down);
            // Said once for as long as it lasts: an outage is an hour of attempts, two a second.
            if !backoff.is_under_way() {
                tracing::warn!(channel, error = %error, "subscription lost, will try again until it is back");
            }
            if let Some(slots) = server.cluster() {
                slots.suspect().await;
            }
            sleep(backoff.pause()).await;
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled(follow).await });
}

/// Returns when the connection is lost, or leads to a server of a cluster that does not have the channel's slot any
/// more. All servers of a cluster pass messages on, but a message from that one, as those of the catalogue are, cannot
/// be lost between two of them.
async fn follow_once<F>(
    server: &Server,
    channel: &str,
    on_event: &Arc<F>,
    backoff: &mut Backoff,
) -> RedisResult<Infallible>
where
    F: Fn(Event<'_>) + Send + Sync + 'static,
{
    let lost = Arc::new(Notify::new());
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(server.within(CONNECT_TIMEOUT)))
        .set_response_timeout(Some(server.within(RESPONSE_TIMEOUT)))
        .set_push_sender(push_to(Arc::clone(on_event), Arc::clone(&lost)));
    let node = server.node(Slot::of(channel)).await?;
    let mut connection =
        server.subscriptions(&node)?.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(channel).await?;
    if backoff.is_under_way() {
        tracing::info!(channel, "subscription is back");
    }
    backoff.reset();
    on_event(Event::Up);
    let probe = commands::probe(channel);
    loop {
        // Lost or not, the next probe tells; being told only makes it sooner.
        let _ = timeout(PROBE_EVERY, lost.notified()).await;
        for reply in connection.req_packed_commands(&probe, 0, 1).await? {
            match reply.extract_error() {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => return Err(error),
                _ => {}
            }
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
