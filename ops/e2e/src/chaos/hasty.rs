//! Producers that soon give up: of many of their events nobody can say whether they were accepted. They contradict
//! themselves, showing users several variations and sending keys with several contents, so that whatever takes
//! effect too late or twice shows.

use super::ledger::{Content, Ledger, Open, Place, What};
use abctl::client::{Client, HttpError};
use abctl::simulate::rng::Rng;
use abctl::simulate::world::{Arm, EVENTS, Experiment, Kind, Metric, PURCHASE, World};
use anyhow::{Result, bail};
use domain::{Decimal, ExperimentId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

pub const TENANT: &str = "hasty";
pub const EXPERIMENT: &str = "walk";
const ARMS: u64 = 3;
/// Between two requests.
const EVERY: Duration = Duration::from_millis(40);
/// Most events of one request, each of another user.
const EVENTS_MAX: u64 = 8;
/// Requests after which a new user comes, and users there are at a time.
const REQUESTS_PER_USER: u64 = 2;
const USERS: u64 = 40;
const KEYS: u64 = 4;

pub struct Hasty {
    pub number: u32,
    /// One for each gateway.
    pub clients: Vec<Client>,
    pub rng: Rng,
    /// Of [`EXPERIMENT`].
    pub experiment: ExperimentId,
    /// Unix milliseconds: a time long enough ago.
    pub start: i64,
    pub ledger: Ledger,
    pub sent: Sent,
}

/// Requests and what is known of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub acknowledged: u64,
    pub unknown: u64,
    /// Of requests acknowledged.
    pub events: u64,
}

/// The experiment their users are in.
pub fn world() -> World {
    let arm = |key| Arm { key, weight: 1.0, lift: 0.0 };
    World {
        experiments: vec![Experiment {
            key: EXPERIMENT.into(),
            coverage: 1.0,
            arms: vec![arm("left"), arm("straight"), arm("right")],
            window_hours: None,
            exclude_crossovers: false,
            metrics: vec![Metric { key: "revenue", kind: Kind::Mean, event: PURCHASE, cap: None }],
        }],
    }
}

impl Sent {
    pub fn add(&mut self, more: Sent) {
        self.acknowledged += more.acknowledged;
        self.unknown += more.unknown;
        self.events += more.events;
    }
}

impl Hasty {
    /// Sends until told to stop, one request at a time.
    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Result<(Ledger, Sent)> {
        let begun = Instant::now();
        let mut requests = 0u32;
        while !stop.load(Ordering::Relaxed) {
            sleep_until(begun + EVERY * requests).await;
            let (open, body) = self.write(requests.into());
            if self.send(&body, open.len() as u64).await? {
                open.iter().for_each(|claim| self.ledger.acknowledge(claim));
                self.sent.acknowledged += 1;
                self.sent.events += open.len() as u64;
            } else {
                self.sent.unknown += 1;
            }
            requests += 1;
        }
        Ok((self.ledger, self.sent))
    }

    fn write(&mut self, request: u64) -> (Vec<Open>, String) {
        let first = request / REQUESTS_PER_USER + self.rng.below(USERS);
        let users = first..=first + self.rng.below(EVENTS_MAX);
        let (claims, events): (Vec<Open>, Vec<Value>) =
            users.map(|user| self.event(request, format!("{}-{user}", self.number))).unzip();
        (claims, json!({"events": events}).to_string())
    }

    /// Of each user one in a request; its time says which request it was.
    fn event(&mut self, request: u64, user: String) -> (Open, Value) {
        let at = self.start + request.cast_signed();
        let named = self.rng.chance(0.5);
        let mut event = json!({"user_id": user, "occurred_at": at});
        let place = Place { tenant: TENANT.into(), user, experiment: self.experiment, key: None };
        let (place, what) = if self.rng.chance(0.4) {
            let arm = self.rng.below(ARMS);
            event["type"] = json!("exposure");
            event["variation_index"] = json!(arm);
            (place, What::Variation(i16::try_from(arm).unwrap_or(0)))
        } else {
            let key = format!("key-{}", self.rng.below(KEYS));
            let value = Decimal(self.rng.between(1, 50_000_000));
            event["type"] = json!("conversion");
            event["metric"] = json!(EVENTS[usize::from(PURCHASE)]);
            event["value"] = json!(value.to_string());
            event["idempotency_key"] = json!(key);
            let experiment = if named { self.experiment } else { ExperimentId::NONE };
            let metric = EVENTS[usize::from(PURCHASE)].to_owned();
            (Place { key: Some(key), experiment, ..place }, What::Conversion { metric, value })
        };
        if !place.experiment.is_none() {
            event["experiment"] = json!(EXPERIMENT);
        }
        let content = Content { what, at: Some(Timestamp::from_millis(at)) };
        (self.ledger.claim(place, content), event)
    }

    /// Whether it was acknowledged, after a few tries or only one.
    async fn send(&mut self, body: &str, events: u64) -> Result<bool> {
        for _ in 0..=self.rng.below(3) {
            let chosen = usize::try_from(self.rng.below(self.clients.len() as u64))?;
            let answer = self.clients[chosen].post("/api/v1/events", &[], body.to_owned()).await;
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 202) => {
                    let told: Value = answer.json()?;
                    if told["received"] != events {
                        bail!("{events} events sent, the answer is {told}");
                    }
                    return Ok(true);
                }
                Ok(answer) if matches!(answer.status, 408 | 429 | 502 | 503 | 504) => {}
                Ok(answer) => bail!("{body} refused: {} {}", answer.status, answer.text()),
                Err(error @ (HttpError::Base(_) | HttpError::Request(_))) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(false)
    }
}
