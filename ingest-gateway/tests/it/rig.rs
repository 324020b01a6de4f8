//! A gateway on a Redis of its own, with a catalogue, and a look into the streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, ExperimentId, Partition, Timestamp, UnitId};
use queue::Queue;
use queue::catalogue::{Entry, Reconciled};
use queue::frame::{Control, Events, split};
use queue::reader::{EntryId, Read};
use queue::redis::RedisQueue;
use service::boot::{Boot, BootError, Listeners};
use service::settings::{Settings, Tier};
use service::shutdown::Shutdown;
use testkit::Redis;
use testkit::http::{Client, Response};
use tokio::task::JoinHandle;

pub const PARTITIONS: u16 = 4;
/// Tenant `default`, scopes ingest, events and read.
pub const TOKEN: &str = "ingest-token";
/// For requests that wait in vain, because a test has taken their Redis away.
pub const SHORT_BUDGET: (&str, &str) = ("AB_SLA_TIMEOUTS", "ingest=5s");

/// The experiments of tenant `default`, and `theirs` of tenant `acme`.
pub fn catalogue() -> Vec<Entry> {
    let entry = |id: i64, tenant: &str, key: &str, status: &str| Entry {
        id: ExperimentId(id),
        tenant: tenant.into(),
        key: key.into(),
        status: status.into(),
        variations: vec!["control".into(), "treatment".into()],
        metrics: vec!["purchase".into()],
        revision: 1,
    };
    vec![
        entry(1, "default", "checkout", "running"),
        entry(2, "default", "planned", "draft"),
        entry(3, "default", "gone", "archived"),
        entry(4, "default", "ended", "stopped"),
        entry(5, "default", "pricing", "running"),
        entry(6, "acme", "theirs", "running"),
    ]
}

pub struct Rig {
    pub redis: Redis,
    pub addr: SocketAddr,
    pub internal: SocketAddr,
    pub shutdown: Shutdown,
    pub client: Client,
    serving: JoinHandle<Result<(), BootError>>,
}

/// One event as found in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: u16,
    pub batch: BatchId,
    pub tenant: String,
    pub request_id: String,
    pub traceparent: Option<String>,
    pub sent_at: Option<Timestamp>,
    pub received_at: Timestamp,
    pub clock_shift: i64,
    /// Address, part, parts.
    pub receipt: Option<(String, u16, u16)>,
    pub experiment: i64,
    pub after_stop: bool,
    pub user: String,
    /// The event in one line.
    pub what: String,
}

pub fn settings(redis_url: &str, more: &[(&str, &str)]) -> Settings {
    let partitions = PARTITIONS.to_string();
    let mut env = vec![
        ("AB_REDIS_URL", redis_url),
        ("AB_PARTITIONS", partitions.as_str()),
        ("AB_API_TOKEN", TOKEN),
        // What is told in time says nothing of how fast the machine is.
        ("AB_SLA_TIMEOUTS", "ingest=30s"),
        ("AB_API_KEYS", "only-reads:default:read;only-events:default:events;of-acme:acme:ingest"),
    ];
    env.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
    env.extend_from_slice(more);
    Settings::for_testing(Tier::Gateway, &env).unwrap()
}

pub fn queue(redis_url: &str, partitions: u16) -> Arc<dyn Queue> {
    Arc::new(RedisQueue::new(redis_url, partitions, 0).unwrap())
}

pub async fn fill_catalogue(redis: &Redis, partitions: u16) {
    let projection = queue(&redis.url(), partitions).projection();
    let ticket = projection.begin().await.unwrap();
    let reconciled = projection.reconcile(ticket, catalogue()).await.unwrap();
    assert!(matches!(reconciled, Reconciled::Done { .. }));
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::start_with(&[]).await
    }

    pub async fn start_with(env: &[(&str, &str)]) -> Rig {
        let redis = Redis::start().await.unwrap();
        fill_catalogue(&redis, PARTITIONS).await;
        Rig::on(redis, env).await
    }

    pub async fn on(redis: Redis, env: &[(&str, &str)]) -> Rig {
        let boot = Boot::embedded(settings(&redis.url(), env)).unwrap();
        let shutdown = boot.shutdown.clone();
        let listeners = Listeners::loopback().await.unwrap();
        let (addr, internal) = (listeners.public_addr().unwrap(), listeners.internal_addr().unwrap());
        let queue = queue(&redis.url(), PARTITIONS);
        let serving = tokio::spawn(ingest_gateway::serve(boot, listeners, queue));
        let client = Client::at(addr).bearer(TOKEN);
        Rig { redis, addr, internal, shutdown, client, serving }
    }

    pub async fn post(&self, path: &str, body: &str) -> Response {
        self.client.post(path, &[("content-type", "application/json")], body.to_owned()).await.unwrap()
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let json = [("content-type", "application/json")];
        let headers = [&json[..], headers].concat();
        self.client.post(path, &headers, body.to_owned()).await.unwrap()
    }

    /// The value of a metric, by its name with labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = Client::at(self.internal).get("/metrics").await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
    }

    /// Every event in the streams, in stream order within each partition.
    pub async fn seen(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        let queue = queue(&self.redis.url(), PARTITIONS);
        for partition in (0..PARTITIONS).map(Partition) {
            let mut reader = queue.reader(partition, EntryId::ZERO);
            while let Read::Entries(entries) = reader.next(1000, Duration::ZERO).await.unwrap() {
                for entry in entries {
                    assert!(!entry.malformed);
                    seen.extend(events_of(partition, &entry.payload));
                }
            }
        }
        seen
    }

    /// Ends the gateway in order and says how it went.
    pub async fn end(self) -> Result<(), BootError> {
        self.shutdown.begin();
        self.serving.await.unwrap()
    }
}

fn events_of(partition: Partition, payload: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for frame in split(payload) {
        let frame = frame.expect("the frame is sound");
        for group in &frame.groups {
            let lines: Vec<(String, String)> = match &group.events {
                Events::Exposures(events) => events.iter().map(exposure).collect(),
                Events::Conversions(events) => events.iter().map(conversion).collect(),
                Events::Controls(events) => events.iter().map(control).collect(),
            };
            seen.extend(lines.into_iter().map(|(user, what)| {
                let at = UnitId::of(frame.tenant, &user).partition(PARTITIONS);
                assert_eq!(at, partition, "{user} is in the wrong stream");
                Seen {
                    partition: partition.0,
                    batch: frame.batch,
                    tenant: frame.tenant.to_owned(),
                    request_id: frame.request_id.to_owned(),
                    traceparent: frame.traceparent.map(str::to_owned),
                    sent_at: frame.sent_at,
                    received_at: frame.received_at,
                    clock_shift: frame.clock_shift,
                    receipt: frame.receipt.map(|r| (r.address.to_owned(), r.part, r.parts)),
                    experiment: group.experiment.0,
                    after_stop: group.after_stop,
                    user,
                    what,
                }
            }));
        }
    }
    seen
}

fn exposure(event: &Exposure<'_>) -> (String, String) {
    let mut what = format!("saw {}", event.variation);
    if let Some(key) = event.key {
        what += &format!(" key {key}");
    }
    if let Some(at) = event.occurred_given {
        what += &format!(" at {at}");
    }
    (event.user_id.to_owned(), what)
}

fn conversion(event: &Conversion<'_>) -> (String, String) {
    let key = match event.key {
        Key::Client(key) => key.to_owned(),
        Key::Index(index) => format!("#{index}"),
    };
    let mut what = format!("did {} {} key {key}", event.metric, event.value);
    if let Some(at) = event.occurred_given {
        what += &format!(" at {at}");
    }
    (event.user_id.to_owned(), what)
}

fn control(event: &Control<'_>) -> (String, String) {
    let user = event.user_id().expect("gateways write of users only");
    let at = |given: &Option<Timestamp>| given.map(|at| format!(" at {at}")).unwrap_or_default();
    let what = match event {
        Control::PrePeriod { covariate, value, occurred_given, .. } => {
            format!("had {} {value}{}", covariate.unwrap_or("-"), at(occurred_given))
        }
        Control::Stratum { stratum, occurred_given, .. } => format!("is in {stratum}{}", at(occurred_given)),
        Control::Exclusion { reason, excluded, .. } => {
            format!("excluded {excluded} {}", reason.unwrap_or("-"))
        }
        other => panic!("gateways do not write {other:?}"),
    };
    (user.to_owned(), what)
}

/// `error_code` of a problem document, after checking what every one of them holds.
pub fn error_code(response: &Response) -> String {
    let problem = response.json().unwrap();
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["status"], response.status);
    assert_eq!(problem["status_code"], response.status);
    assert_eq!(problem["request_id"], response.header("x-request-id").unwrap());
    assert_eq!(problem["retryable"], response.status >= 500 || matches!(response.status, 408 | 429));
    assert_eq!(response.header("retry-after").is_some(), matches!(response.status, 429 | 503), "{problem}");
    problem["error_code"].as_str().unwrap().to_owned()
}
