//! A client for abstream.
//!
//! ```text
//! let client = Client::new(Http::new("http://127.0.0.1:8008", "KEY")?, Options::default());
//! client.send(Event::exposure("checkout", "user-1", "treatment"));
//! client.send(Event { value: Some("19.90".into()), ..Event::conversion("user-1", "purchase") });
//! client.close(Duration::from_secs(15)).await;
//! ```
//!
//! Events wait in a bounded queue and are sent in batches by a task of the client's own. Each has a key, so one that is
//! sent twice counts once. A batch is sent again after 408, 429, 5xx and no answer at all, when the server's Retry-After
//! says so, else backing off; one that is too large (413) in halves; any other refusal is final and told to `on_error`.
//! TLS ends at a proxy, or is a [`Transport`] of your own.

mod http;

pub use http::Http;

use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// How requests go out.
pub trait Transport: Send + Sync + 'static {
    /// Posts a JSON body to `/api/v1/events`; an error means that there was no answer.
    fn post(&self, body: Vec<u8>) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Waits before another attempt.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

pub type Failure = Box<dyn Error + Send + Sync>;

/// A server's answer.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// An exposure or a conversion.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub user_id: String,
    /// Of a conversion: the only one it counts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// A decimal number; 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Makes a conversion this one and no other wherever it is sent from, such as an order's number.
    pub idempotency_key: String,
    /// Unix milliseconds.
    pub occurred_at: i64,
}

impl Event {
    /// The user saw a variation, given by its key.
    pub fn exposure(experiment: &str, user_id: &str, variation: &str) -> Event {
        let (experiment, variation) = (Some(experiment.into()), Some(variation.into()));
        Event { kind: "exposure", experiment, variation, metric: None, ..Event::conversion(user_id, "") }
    }

    /// The user did something.
    pub fn conversion(user_id: &str, metric: &str) -> Event {
        Event {
            kind: "conversion",
            user_id: user_id.into(),
            metric: Some(metric.into()),
            idempotency_key: Uuid::new_v4().to_string(),
            occurred_at: now(),
            ..Event::default()
        }
    }
}

/// Why events were given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The server refused the request for good.
    Status(u16),
    /// The server refused the event; its `error_code`.
    Rejected(String),
    /// The client was closed before they could be delivered.
    Closed,
}

pub struct Options {
    /// Events that may wait; a batch under way comes on top.
    pub queue_size: usize,
    pub batch_size: usize,
    /// How long an event waits for company.
    pub interval: Duration,
    /// Of a request.
    pub timeout: Duration,
    /// Told of events that are given up, on the client's task.
    pub on_error: OnError,
}

pub type OnError = Box<dyn Fn(Reason, &[Event]) + Send + Sync>;

impl Default for Options {
    fn default() -> Options {
        Options {
            queue_size: 10_000,
            batch_size: 500,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(15),
            on_error: Box::new(|_, _| {}),
        }
    }
}

/// When dropped without being closed, its task goes on until everything is delivered.
pub struct Client {
    queue: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    abandoned: CancellationToken,
}

impl Client {
    /// Must be made on a tokio runtime.
    pub fn new(transport: impl Transport, options: Options) -> Client {
        let (queue, waiting) = mpsc::channel(options.queue_size.max(1));
        let abandoned = CancellationToken::new();
        let courier = Courier { transport, options, abandoned: abandoned.clone() };
        Client { queue, task: tokio::spawn(courier.run(waiting)), abandoned }
    }

    /// False: the queue is full.
    pub fn send(&self, event: Event) -> bool {
        self.queue.try_send(event).is_ok()
    }

    /// Delivers what is waiting, within `limit`; the rest is given up. False: something was.
    pub async fn close(self, limit: Duration) -> bool {
        let Client { queue, mut task, abandoned } = self;
        drop(queue);
        let in_time = timeout(limit, &mut task).await.is_ok();
        abandoned.cancel();
        if !in_time {
            drop(task.await);
        }
        in_time
    }
}

struct Courier<T> {
    transport: T,
    options: Options,
    abandoned: CancellationToken,
}

impl<T: Transport> Courier<T> {
    async fn run(self, mut waiting: mpsc::Receiver<Event>) {
        while let Some(first) = waiting.recv().await {
            let mut batch = vec![first];
            let deadline = Instant::now() + self.options.interval;
            while batch.len() < self.options.batch_size {
                let Ok(Some(event)) = timeout_at(deadline, waiting.recv()).await else { break };
                batch.push(event);
            }
            self.deliver(&batch).await;
        }
    }

    async fn deliver(&self, batch: &[Event]) {
        let (mut parts, mut attempt) = (vec![batch], 0);
        while let Some(part) = parts.pop() {
            let post = timeout(self.options.timeout, self.post(part));
            let Some(answer) = self.abandoned.run_until_cancelled(post).await else {
                (self.options.on_error)(Reason::Closed, part);
                continue;
            };
            let answer = answer.ok().flatten();
            let (status, retry_after) = answer.as_ref().map_or((0, None), |a| (a.status, a.retry_after));
            match status {
                200 | 202 => {
                    attempt = 0;
                    self.reject(part, &answer.map_or_else(Vec::new, |answer| answer.body));
                }
                413 if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                0 | 408 | 429 | 500.. => {
                    parts.push(part);
                    let time = retry_after.map_or_else(|| backoff(attempt), |t| t.min(LONGEST_RETRY_AFTER));
                    attempt += 1;
                    self.abandoned.run_until_cancelled(self.transport.pause(time)).await;
                }
                status => (self.options.on_error)(Reason::Status(status), part),
            }
        }
    }

    async fn post(&self, part: &[Event]) -> Option<Answer> {
        let body = json!({"sent_at": now(), "events": part}).to_string();
        self.transport.post(body.into_bytes()).await.ok()
    }

    /// What the server says of single events.
    fn reject(&self, part: &[Event], body: &[u8]) {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let list = |name: &str| answer[name].as_array().into_iter().flatten();
        for index in list("rejected_indexes") {
            let error = list("errors").find(|error| error["index"] == *index);
            let code = error.and_then(|error| error["error_code"].as_str()).unwrap_or("rejected");
            let event = index.as_u64().and_then(|index| part.get(usize::try_from(index).ok()?));
            if let Some(event) = event {
                (self.options.on_error)(Reason::Rejected(code.into()), std::slice::from_ref(event));
            }
        }
    }
}

/// Half of it is left to chance, so that clients do not come back together.
fn backoff(attempt: u32) -> Duration {
    let longest = LONGEST_BACKOFF.min(FIRST_BACKOFF * 2_u32.saturating_pow(attempt.min(10)));
    longest / 2 + longest / 2 * u32::from(Uuid::new_v4().as_bytes()[0]) / 255
}

/// Unix milliseconds.
#[allow(clippy::disallowed_methods)] // the one place that reads the clock
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
