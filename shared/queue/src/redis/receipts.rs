//! Receipts over pub/sub: each gateway listens on a channel of its own. Messages are JSON arrays.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use domain::BatchId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::receipts::{ReceiptMessage, Receipts, Waiter, Waiters};
use crate::redis::server::Server;
use crate::redis::subscription::{Event, subscribe};

/// One receipt on the wire.
#[derive(Serialize, Deserialize)]
struct Wire<'a>(Uuid, #[serde(borrow)] Cow<'a, str>, u16, u32, u32, u32, u32);

/// Receipts of one address as a message.
pub(crate) fn message<'a>(receipts: impl Iterator<Item = &'a ReceiptMessage>) -> Vec<u8> {
    let wire = |r: &'a ReceiptMessage| {
        let id = r.request_id.as_str().into();
        Wire(r.batch.0, id, r.part, r.recorded, r.deduplicated, r.conflicts, r.dead_lettered)
    };
    // Numbers and text always serialise.
    serde_json::to_vec(&receipts.map(wire).collect::<Vec<_>>()).unwrap_or_default()
}

/// A subscription; dropping it ends it.
pub(crate) struct RedisReceipts {
    address: String,
    waiters: Arc<Waiters>,
    subscribed: watch::Receiver<bool>,
    _stop: DropGuard,
}

impl RedisReceipts {
    /// Listens on a new channel, on the current runtime.
    pub(crate) fn start(server: &Server) -> RedisReceipts {
        let address = format!("ab:receipts:{}", Uuid::new_v4());
        let waiters = Arc::new(Waiters::default());
        let stop = CancellationToken::new();
        let listener = Arc::clone(&waiters);
        let (is_subscribed, subscribed) = watch::channel(false);
        subscribe(server, address.clone(), stop.clone(), move |event| {
            if let Event::Message(message) = event {
                return hear(&listener, message);
            }
            is_subscribed.send_replace(matches!(event, Event::Up));
        });
        RedisReceipts { address, waiters, subscribed, _stop: stop.drop_guard() }
    }
}

#[async_trait]
impl Receipts for RedisReceipts {
    fn address(&self) -> &str {
        &self.address
    }

    fn expect(&self, batch: BatchId, request_id: &str, parts: u16) -> Waiter {
        self.waiters.expect(batch, request_id, parts)
    }

    async fn heard(&self) {
        // It fails when the subscription has ended, as it does with us.
        drop(self.subscribed.clone().wait_for(|subscribed| *subscribed).await);
    }
}

fn hear(waiters: &Waiters, message: &[u8]) {
    match serde_json::from_slice::<Vec<Wire<'_>>>(message) {
        Ok(receipts) => waiters.tell(receipts.into_iter().map(ReceiptMessage::from)),
        Err(error) => tracing::warn!(error = %error, "unreadable receipts"),
    }
}

impl From<Wire<'_>> for ReceiptMessage {
    fn from(wire: Wire<'_>) -> ReceiptMessage {
        let Wire(batch, request_id, part, recorded, deduplicated, conflicts, dead_lettered) = wire;
        ReceiptMessage {
            address: String::new(),
            request_id: request_id.into_owned(),
            batch: BatchId(batch),
            part,
            recorded,
            deduplicated,
            conflicts,
            dead_lettered,
        }
    }
}
