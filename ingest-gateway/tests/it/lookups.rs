//! A batch that names many experiments: each is asked for once, several at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::{BatchId, Partition};
use queue::catalogue::{Catalogue, Copies, Entry, Projection, Unavailable};
use queue::local::LocalQueue;
use queue::producer::{Backlog, Counters, Outgoing, Producer, SendError, WriterTotals};
use queue::reader::{Ages, BLOCK_MAX, EntryId, Read, Reader};
use queue::receipts::{Receipts, Waiter};
use queue::reporter::Reporter;
use queue::{Queue, QueueError, Weakness};
use serde_json::json;
use service::boot::{Boot, BootError, Listeners};
use service::shutdown::Shutdown;
use testkit::http::Client;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::rig::{PARTITIONS, TOKEN, catalogue, error_code, settings};

/// A queue whose catalogue answers no question at once, and notes them.
struct Watched {
    queue: LocalQueue,
    noted: Arc<Noted>,
}

#[derive(Default)]
struct Noted {
    asked: Mutex<BTreeMap<String, usize>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    /// No question is answered.
    silent: AtomicBool,
    /// What the queue was asked to do, in this order.
    done: Mutex<Vec<&'static str>>,
}

struct Writes {
    producer: Box<dyn Producer>,
    noted: Arc<Noted>,
}

#[async_trait]
impl Producer for Writes {
    async fn send(&self, frames: Vec<Outgoing>, deadline: Instant) -> Result<(), SendError> {
        self.noted.done.lock().unwrap().push("write");
        self.producer.send(frames, deadline).await
    }

    fn backlog(&self) -> Backlog {
        self.producer.backlog()
    }

    fn counters(&self) -> &Counters {
        self.producer.counters()
    }

    fn queued_bytes(&self) -> usize {
        self.producer.queued_bytes()
    }

    async fn drain(&self, deadline: Instant) -> bool {
        self.producer.drain(deadline).await
    }
}

struct Hears {
    receipts: Box<dyn Receipts>,
    noted: Arc<Noted>,
}

#[async_trait]
impl Receipts for Hears {
    fn address(&self) -> &str {
        self.receipts.address()
    }

    fn expect(&self, batch: BatchId, request_id: &str, parts: u16) -> Waiter {
        self.receipts.expect(batch, request_id, parts)
    }

    async fn heard(&self) {
        self.noted.done.lock().unwrap().push("listen");
        self.receipts.heard().await;
    }
}

struct Slow {
    catalogue: Box<dyn Catalogue>,
    noted: Arc<Noted>,
}

impl Slow {
    async fn note(&self, question: &str) {
        *self.noted.asked.lock().unwrap().entry(question.to_owned()).or_default() += 1;
        let under_way = self.noted.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.noted.most.fetch_max(under_way, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if self.noted.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.noted.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Catalogue for Slow {
    async fn lookup(&self, tenant: &str, reference: &str) -> Result<Option<Arc<Entry>>, Unavailable> {
        self.note(reference).await;
        self.catalogue.lookup(tenant, reference).await
    }

    async fn uses_metric(&self, tenant: &str, metric: &str) -> Result<bool, Unavailable> {
        self.note(metric).await;
        self.catalogue.uses_metric(tenant, metric).await
    }

    async fn check(&self) -> Result<(), Unavailable> {
        self.catalogue.check().await
    }

    fn copies(&self) -> Copies {
        self.catalogue.copies()
    }
}

#[async_trait]
impl Queue for Watched {
    fn producer(&self) -> Box<dyn Producer> {
        Box::new(Writes { producer: self.queue.producer(), noted: Arc::clone(&self.noted) })
    }

    fn reader(&self, partition: Partition, from: EntryId) -> Box<dyn Reader> {
        self.queue.reader(partition, from)
    }

    fn reporter(&self) -> Box<dyn Reporter> {
        self.queue.reporter()
    }

    fn receipts(&self) -> Box<dyn Receipts> {
        Box::new(Hears { receipts: self.queue.receipts(), noted: Arc::clone(&self.noted) })
    }

    fn catalogue(&self, max_loaded: usize) -> Box<dyn Catalogue> {
        Box::new(Slow { catalogue: self.queue.catalogue(max_loaded), noted: Arc::clone(&self.noted) })
    }

    fn projection(&self) -> Box<dyn Projection> {
        self.queue.projection()
    }

    fn issued_keys(&self) -> Box<dyn queue::keys::IssuedKeys> {
        self.queue.issued_keys()
    }

    fn limiter(&self) -> Box<dyn queue::limiter::Limiter> {
        self.queue.limiter()
    }

    async fn sent_totals(&self) -> Result<Vec<WriterTotals>, QueueError> {
        self.queue.sent_totals().await
    }

    async fn ages(&self, of: &[(Partition, EntryId)]) -> Result<Vec<Ages>, QueueError> {
        self.queue.ages(of).await
    }

    async fn weaknesses(&self, patience: Duration) -> Result<Vec<Weakness>, QueueError> {
        self.queue.weaknesses(patience).await
    }

    fn settles_on_commit(&self) -> bool {
        self.queue.settles_on_commit()
    }
}

/// Applies whatever comes.
fn keep_applying(queue: &LocalQueue) {
    for partition in (0..PARTITIONS).map(Partition) {
        let (mut reader, reporter) = (queue.reader(partition, EntryId::ZERO), queue.reporter());
        tokio::spawn(async move {
            loop {
                if let Read::Entries(entries) = reader.next(100, BLOCK_MAX).await.unwrap() {
                    let totals: Vec<_> = entries.iter().map(|entry| (entry.writer, entry.total)).collect();
                    let position = reader.position();
                    reporter.report(partition, &totals, &[], position, Duration::ZERO).await;
                }
            }
        });
    }
}

/// A gateway that knows so many experiments, `name-0` and so on.
struct Serving {
    client: Client,
    noted: Arc<Noted>,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), BootError>>,
}

impl Serving {
    async fn start(names: i64, more: &[(&str, &str)]) -> Serving {
        let (queue, noted) = (LocalQueue::new(PARTITIONS), Arc::<Noted>::default());
        let projection = queue.projection();
        let known = catalogue().remove(0);
        let ticket = projection.begin().await.unwrap();
        let named = |i: i64| Entry {
            id: domain::ExperimentId(100 + i),
            key: format!("name-{i}"),
            metrics: vec![format!("metric-{i}")],
            ..known.clone()
        };
        projection.reconcile(ticket, (0..names).map(named).collect()).await.unwrap();
        keep_applying(&queue);
        let boot = Boot::embedded(settings("redis://not.used", more)).unwrap();
        let shutdown = boot.shutdown.clone();
        let listeners = Listeners::loopback().await.unwrap();
        let client = Client::at(listeners.public_addr().unwrap()).bearer(TOKEN);
        let queue = Arc::new(Watched { queue, noted: Arc::clone(&noted) });
        let task = tokio::spawn(ingest_gateway::serve(boot, listeners, queue));
        Serving { client, noted, shutdown, task }
    }

    async fn end(self) {
        self.shutdown.begin();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn five_hundred_names_are_asked_for_once_each_and_sixteen_at_a_time() {
    let serving = Serving::start(250, &[]).await;
    let (client, noted) = (&serving.client, &serving.noted);

    let event = |i: usize| json!({"type": "conversion", "user_id": "u", "experiment": format!("name-{}", i % 500), "metric": "m"});
    let events: Vec<_> = (0..1000).map(event).collect();
    let answer = client.post_json("/api/v1/events", &json!({"events": events})).await.unwrap();
    let body = answer.json().unwrap();
    assert_eq!((&body["received"], &body["rejected"]), (&json!(500), &json!(500)), "{body}");
    assert!(body["errors"].as_array().unwrap().iter().all(|e| e["error_code"] == "unknown_experiment"));
    let asked = std::mem::take(&mut *noted.asked.lock().unwrap());
    assert_eq!((asked.len(), asked.values().max()), (500, Some(&1)));
    assert_eq!(noted.most.swap(0, Ordering::Relaxed), 16);

    let event =
        |i: usize| json!({"type": "conversion", "user_id": "u", "metric": format!("metric-{}", i % 500)});
    let events: Vec<_> = (0..1000).map(event).collect();
    let answer = client.post_json("/api/v1/events?strict=true", &json!({"events": events})).await.unwrap();
    let body = answer.json().unwrap();
    assert_eq!((&body["received"], &body["rejected"]), (&json!(500), &json!(500)), "{body}");
    let asked = noted.asked.lock().unwrap().clone();
    assert_eq!((asked.len(), asked.values().max()), (500, Some(&1)));
    assert_eq!(noted.most.load(Ordering::Relaxed), 16);
    serving.end().await;
}

#[tokio::test]
async fn a_catalogue_that_does_not_answer_costs_no_more_than_the_budget() {
    let serving = Serving::start(1, &[("AB_SLA_TIMEOUTS", "ingest=200ms")]).await;
    let (of_one, mixed) = ("/api/v1/experiments/name-0/exposures", "/api/v1/events?strict=true");
    let exposure = json!({"exposures": [{"user_id": "u", "variation_index": 0}]});
    let conversion = json!({"events": [{"type": "conversion", "user_id": "u", "metric": "metric-0"}]});
    serving.noted.silent.store(true, Ordering::Relaxed);
    for (path, body) in [(of_one, &exposure), (mixed, &conversion)] {
        let answer = serving.client.post_json(path, body).await.unwrap();
        assert_eq!((answer.status, error_code(&answer).as_str()), (503, "deadline_exceeded"), "{path}");
    }
    serving.end().await;
}

#[tokio::test]
async fn what_becomes_of_a_request_is_listened_for_before_it_is_written() {
    let serving = Serving::start(1, &[]).await;
    let body = json!({"exposures": [{"user_id": "u", "variation_index": 0}]}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "wait=30")];
    let path = "/api/v1/experiments/name-0/exposures";
    let answer = serving.client.post(path, &headers, body).await.unwrap();
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    assert_eq!(*serving.noted.done.lock().unwrap(), ["listen", "write"]);
    serving.end().await;
}
