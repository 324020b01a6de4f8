//! Sends what waits in the outbox, as long as the process runs. Any number of senders may run: each has the webhooks it
//! claimed to itself for the time of a lease. One killed on the way leaves its delivery to another, which sends it again
//! with the same id.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use queue::Backoff;
use service::http::Networks;
use service::logs::causes;
use service::metrics::Metrics;
use service::settings::Webhooks as Settings;
use store::{Attempt, Claimed, Store, Then};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::request::{self, Answer, Failure};
use crate::clock;

/// How often an empty outbox is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Deliveries under way at once, each to another webhook.
const AT_ONCE: usize = 32;
/// What is under way at the end may take this long; then it is sent again, by whoever claims it.
const END: Duration = Duration::from_secs(3);
/// Most a receiver can put us off with `Retry-After`.
const PUT_OFF_MAX: Duration = Duration::from_secs(86_400);

/// When an attempt has failed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The pause after the first failure; it doubles.
    pub first: Duration,
    pub last: Duration,
    /// Of one delivery.
    pub attempts: u32,
    /// Of one attempt.
    pub timeout: Duration,
    /// What a claim lasts longer: the outcome has to be written.
    pub margin: Duration,
    pub allowed: Networks,
}

impl Policy {
    pub fn of(settings: &Settings) -> Policy {
        Policy {
            first: Duration::from_secs(5),
            last: Duration::from_secs(3_600),
            attempts: settings.attempts,
            timeout: settings.timeout,
            margin: Duration::from_secs(20),
            allowed: settings.allow_private.clone(),
        }
    }
}

/// Attempts by how they ended.
#[derive(Clone)]
pub struct Counts {
    delivered: IntCounter,
    failed: IntCounter,
    pub given_up: IntCounter,
}

impl Counts {
    pub fn new(metrics: &Metrics) -> Result<Counts, prometheus::Error> {
        let counters = metrics.counter_vec(
            "abstream_webhook_deliveries_total",
            "Attempts to deliver to a webhook: delivered, failed and to be tried again, or given_up",
            &["outcome"],
        )?;
        let [delivered, failed, given_up] =
            ["delivered", "failed", "given_up"].map(|outcome| counters.with_label_values(&[outcome]));
        Ok(Counts { delivered, failed, given_up })
    }
}

#[derive(Clone)]
pub struct Sender {
    store: Arc<dyn Store>,
    policy: Arc<Policy>,
    counts: Counts,
}

impl Sender {
    pub fn new(store: Arc<dyn Store>, policy: Policy, counts: Counts) -> Sender {
        Sender { store, policy: Arc::new(policy), counts }
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            self.begin(&mut under_way).await;
            tokio::select! {
                () = stop.cancelled() => {}
                // The next one of the same webhook may be due.
                Some(_) = under_way.join_next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        let rest = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(END, rest).await.is_err() {
            tracing::info!("ended with a delivery to a webhook under way; it will be sent again");
        }
    }

    async fn begin(&self, under_way: &mut JoinSet<()>) {
        let free = u32::try_from(AT_ONCE.saturating_sub(under_way.len())).unwrap_or_default();
        if free == 0 {
            return;
        }
        match self.store.claim_deliveries(self.policy.timeout + self.policy.margin, free).await {
            Ok(claimed) => claimed.into_iter().for_each(|claimed| {
                under_way.spawn(self.clone().deliver(claimed));
            }),
            Err(error) => {
                tracing::warn!(error = causes(&error), "the outbox of webhooks cannot be read; trying again");
            }
        }
    }

    async fn deliver(self, claimed: Claimed) {
        let policy = &*self.policy;
        let used_up = claimed.attempts > policy.attempts;
        let sent = match used_up {
            // Its senders died every time.
            true => Err(Failure::NoAnswer),
            false => request::send(&claimed, &policy.allowed, policy.timeout, clock::now()).await,
        };
        let (status, error, put_off) = match sent {
            Ok(Answer { status: 200..=299, .. }) => {
                return self
                    .settle(
                        &claimed,
                        Attempt { status: sent.ok().map(|a| a.status), error: None, then: Then::Delivered },
                    )
                    .await;
            }
            Ok(Answer { status: status @ 300..=399, .. }) => (Some(status), "redirect", None),
            Ok(Answer { status, retry_after }) => (Some(status), "status", retry_after),
            Err(failure) => (None, failure.code(), None),
        };
        let then = if claimed.attempts >= policy.attempts {
            Then::GiveUp
        } else {
            let pause = self.pause(claimed.attempts).max(put_off.unwrap_or_default().min(PUT_OFF_MAX));
            Then::TryAgain(pause)
        };
        self.settle(&claimed, Attempt { status, error: Some(error), then }).await;
    }

    fn pause(&self, attempts: u32) -> Duration {
        let mut backoff = Backoff::new(self.policy.first, self.policy.last);
        (0..attempts).map(|_| backoff.pause()).last().unwrap_or_default()
    }

    async fn settle(&self, claimed: &Claimed, attempt: Attempt<'_>) {
        let (webhook, number, attempts) = (claimed.webhook, claimed.number, claimed.attempts);
        match self.store.settle_delivery(claimed, attempt).await {
            Ok(true) => {}
            // It counts for whoever has it now.
            Ok(false) => return,
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(
                    webhook,
                    number,
                    error,
                    "how a delivery ended was not written: it is sent again"
                );
                return;
            }
        }
        match attempt.then {
            Then::Delivered => self.counts.delivered.inc(),
            Then::TryAgain(_) => {
                self.counts.failed.inc();
                let (status, error) = (attempt.status, attempt.error);
                tracing::info!(
                    webhook,
                    number,
                    attempts,
                    status,
                    error,
                    "a delivery failed and is tried again"
                );
            }
            Then::GiveUp => {
                self.counts.given_up.inc();
                let (status, error) = (attempt.status, attempt.error);
                tracing::warn!(webhook, number, attempts, status, error, "a delivery was given up");
            }
        }
    }
}
