//! Webhooks and their deliveries as clients see them.

use serde::Serialize;
use store::{Delivery, Webhook};
use uuid::Uuid;

#[derive(Serialize)]
pub struct WebhookView<'a> {
    id: i64,
    url: &'a str,
    events: &'a [String],
    created_at: String,
    /// Deliveries.
    waiting: u64,
    /// When the first of them is due.
    next_at: Option<String>,
    /// When it was made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl WebhookView<'_> {
    pub fn of(webhook: &Webhook) -> WebhookView<'_> {
        WebhookView {
            id: webhook.id,
            url: &webhook.url,
            events: &webhook.events,
            created_at: webhook.created_at.to_string(),
            waiting: webhook.waiting,
            next_at: webhook.next_at.map(|at| at.to_string()),
            secret: None,
        }
    }

    pub fn with_secret(self, secret: String) -> Self {
        Self { secret: Some(secret), ..self }
    }
}

#[derive(Serialize)]
pub struct DeliveryView<'a> {
    /// 1, 2, 3 .. of the webhook.
    number: i64,
    /// As in the header `webhook-id`.
    id: Uuid,
    event: &'a str,
    state: &'static str,
    attempts: u32,
    /// HTTP, of the last attempt.
    status: Option<u16>,
    error: Option<&'a str>,
    created_at: String,
    tried_at: Option<String>,
}

impl DeliveryView<'_> {
    pub fn of(delivery: &Delivery) -> DeliveryView<'_> {
        DeliveryView {
            number: delivery.number,
            id: delivery.id,
            event: &delivery.event,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            status: delivery.status,
            error: delivery.error.as_deref(),
            created_at: delivery.created_at.to_string(),
            tried_at: delivery.tried_at.map(|at| at.to_string()),
        }
    }
}

/// Where the delivery that was asked for can be found.
#[derive(Serialize)]
pub struct Tested {
    pub number: i64,
    pub id: Uuid,
}
