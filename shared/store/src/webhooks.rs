//! Whom a tenant wants told of what, what webhooks were told last, and the outbox of what is still to be told.
//!
//! A fact becomes deliveries in the transaction that moves its mark ([`Webhooks::tell`]), whoever else looks at the same
//! time. A sender claims webhooks, not deliveries: only the first that waits is ever under way, so each webhook hears
//! in order. A claim that was not settled in time is somebody else's: delivered at least once, with the same id.

use std::time::Duration;

use async_trait::async_trait;
use domain::{ExperimentId, Timestamp};
use uuid::Uuid;

use crate::{Actor, StoreError};

/// Most webhooks of a tenant.
pub const WEBHOOKS_MAX: i64 = 20;
/// Most deliveries that wait for a webhook; what comes on top is given up at once.
pub const WAITING_MAX: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: i64,
    pub url: String,
    /// Kinds of facts it is told of.
    pub events: Vec<String>,
    pub created_at: Timestamp,
    /// Deliveries.
    pub waiting: u64,
    /// When the first of them is due.
    pub next_at: Option<Timestamp>,
}

/// A webhook to be.
#[derive(Debug, Clone, Copy)]
pub struct NewWebhook<'a> {
    pub url: &'a str,
    pub events: &'a [String],
    /// What its deliveries are signed with.
    pub secret: &'a [u8],
}

/// What is told, to all webhooks of a tenant that want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub event: &'static str,
    pub body: String,
}

/// A delivery was written to the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub webhook: i64,
    pub number: i64,
    pub id: Uuid,
    /// At once: too many were waiting.
    pub given_up: bool,
}

/// What webhooks were told last of an experiment, or of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// 0: nothing yet.
    pub revision: i64,
    pub state: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Waiting,
    Delivered,
    GivenUp,
}

/// A line of the log of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub number: i64,
    pub id: Uuid,
    pub event: String,
    pub state: DeliveryState,
    pub attempts: u32,
    /// HTTP, of the last attempt.
    pub status: Option<u16>,
    /// A stable code, of the last attempt.
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub tried_at: Option<Timestamp>,
}

/// A delivery to be sent now, by whoever claimed it.
#[derive(Clone)]
pub struct Claimed {
    pub claim: Uuid,
    pub webhook: i64,
    pub number: i64,
    pub id: Uuid,
    pub tenant: String,
    pub url: String,
    pub secret: Vec<u8>,
    pub event: String,
    pub body: String,
    /// This one included.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    pub status: Option<u16>,
    pub error: Option<&'a str>,
    pub then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Delivered,
    GiveUp,
    /// After a pause.
    TryAgain(Duration),
}

/// Deliveries of all tenants that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub deliveries: u64,
    pub oldest: Duration,
}

#[async_trait]
pub trait Webhooks: Send + Sync {
    /// `None`: the tenant has [`WEBHOOKS_MAX`].
    async fn create_webhook(
        &self,
        tenant: &str,
        new: NewWebhook<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Ascending by id.
    async fn webhooks(&self, tenant: &str) -> Result<Vec<Webhook>, StoreError>;

    /// With everything that waits for it. Returns whether there was one.
    async fn delete_webhook(&self, tenant: &str, id: i64, actor: Actor<'_>) -> Result<bool, StoreError>;

    /// Deliveries of a webhook that is known to exist, the latest first, beginning before the number `before`.
    async fn deliveries(
        &self,
        webhook: i64,
        before: Option<i64>,
        state: Option<DeliveryState>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Tells one webhook of the tenant, whatever it wants; `None`: there is none.
    async fn tell_one(&self, tenant: &str, webhook: i64, note: &Note) -> Result<Option<Told>, StoreError>;

    /// Whether nobody has looked for differences since `every` ago; then it is the caller's turn.
    async fn take_look(&self, every: Duration) -> Result<bool, StoreError>;

    /// Tenants that have webhooks.
    async fn tenants_with_webhooks(&self) -> Result<Vec<String>, StoreError>;

    async fn mark(&self, tenant: &str, experiment: ExperimentId) -> Result<Mark, StoreError>;

    /// Moves a mark that nobody has moved since it was read, and writes the notes to the outbox; `None`: somebody has.
    async fn tell(
        &self,
        tenant: &str,
        experiment: ExperimentId,
        moved: &Mark,
        notes: &[Note],
    ) -> Result<Option<Vec<Told>>, StoreError>;

    /// Events of the tenant dead-lettered since the beginning.
    async fn dead_lettered(&self, tenant: &str) -> Result<i64, StoreError>;

    /// The first waiting delivery of each of at most `limit` webhooks that are due, for the time of the lease.
    async fn claim_deliveries(&self, lease: Duration, limit: u32) -> Result<Vec<Claimed>, StoreError>;

    /// False: the claim had passed to somebody else, and nothing was written.
    async fn settle_delivery(&self, claimed: &Claimed, attempt: Attempt<'_>) -> Result<bool, StoreError>;

    /// Deletes at most `limit` deliveries that ended longer ago than `age`.
    async fn forget_deliveries(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;

    async fn waiting_deliveries(&self) -> Result<Waiting, StoreError>;
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::GivenUp => "given_up",
        }
    }

    pub fn parse(text: &str) -> Option<DeliveryState> {
        [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::GivenUp]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl Then {
    pub(crate) fn state(self) -> DeliveryState {
        match self {
            Then::Delivered => DeliveryState::Delivered,
            Then::GiveUp => DeliveryState::GivenUp,
            Then::TryAgain(_) => DeliveryState::Waiting,
        }
    }

    /// Microseconds.
    pub(crate) fn pause(self) -> Option<i64> {
        match self {
            Then::Delivered | Then::GiveUp => None,
            Then::TryAgain(pause) => Some(micros(pause)),
        }
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
