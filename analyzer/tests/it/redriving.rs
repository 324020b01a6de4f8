//! A letter is deleted only when the queue has acknowledged what was in it: an analyzer on a queue that says what the
//! test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use queue::catalogue::{Catalogue, Projection};
use queue::frame::encode;
use queue::local::LocalQueue;
use queue::producer::{Backlog, Counters, Outgoing, Producer, SendError, WriterTotals};
use queue::reader::{Ages, EntryId, Reader};
use queue::receipts::Receipts;
use queue::reporter::Reporter;
use queue::{Queue, QueueError, Weakness};
use serde_json::{Value, json};
use service::boot::{Boot, Listeners};
use service::health::Health;
use store::{LetterFilter, Location, Store};
use testkit::http::{Client, Response};
use tokio::time::Instant;

use crate::dead_letters::{conversion, frame, stored};
use crate::rig::{self, PARTITIONS, code};

/// Answers to come, and the number of frames of each call that was made.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Result<(), SendError>>>>,
    sent: Arc<Mutex<Vec<usize>>>,
}

struct Scripted {
    queue: LocalQueue,
    script: Script,
}

struct ScriptedProducer {
    script: Script,
    counters: Counters,
}

#[async_trait]
impl Producer for ScriptedProducer {
    async fn send(&self, frames: Vec<Outgoing>, _: Instant) -> Result<(), SendError> {
        self.script.sent.lock().unwrap().push(frames.len());
        self.script.answers.lock().unwrap().pop_front().expect("no more calls")
    }

    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn queued_bytes(&self) -> usize {
        0
    }

    async fn drain(&self, _: Instant) -> bool {
        true
    }
}

#[async_trait]
impl Queue for Scripted {
    fn producer(&self) -> Box<dyn Producer> {
        Box::new(ScriptedProducer { script: self.script.clone(), counters: Counters::default() })
    }

    fn reader(&self, partition: Partition, from: EntryId) -> Box<dyn Reader> {
        self.queue.reader(partition, from)
    }

    fn reporter(&self) -> Box<dyn Reporter> {
        self.queue.reporter()
    }

    fn receipts(&self) -> Box<dyn Receipts> {
        self.queue.receipts()
    }

    fn catalogue(&self, max_loaded: usize) -> Box<dyn Catalogue> {
        self.queue.catalogue(max_loaded)
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

struct Running {
    store: Arc<dyn Store>,
    database: String,
    script: Script,
    admin: Client,
}

impl Running {
    async fn start() -> Running {
        let server = testkit::postgres().await;
        let database = server.create_database().await.unwrap();
        let url = server.url_for(&database);
        let boot = Boot::embedded(rig::settings(&url, "redis://127.0.0.1:1", &[]).await).unwrap();
        let location = Location::Postgres { url, pool_size: 2 };
        let store = store::open(&location, PARTITIONS, Duration::from_secs(30)).await.unwrap();
        let script = Script::default();
        let queue = Scripted { queue: LocalQueue::new(PARTITIONS), script: script.clone() };
        let part = analyzer::Part::start(&boot, store.clone(), Arc::new(queue)).await.unwrap();
        let listeners = Listeners::loopback().await.unwrap();
        let admin = rig::client(listeners.public_addr().unwrap(), "admin-a");
        let health = Health::new(&boot.settings);
        tokio::spawn(async move { listeners.serve(&boot, part.app(), health).await });
        Running { store, database, script, admin }
    }

    /// So many letters of more than half a slice each.
    async fn letters(&self, n: usize) -> Vec<i64> {
        let metric = "m".repeat(700 << 10);
        let payload = encode(&frame("a", 0, conversion("ann", &metric))).unwrap();
        let mut ids = Vec::new();
        for _ in 0..n {
            ids.push(stored(&self.database, &*self.store, "a", 0, "refused", &payload).await);
        }
        ids
    }

    async fn redrive(&self, ids: &[i64], answers: &[Result<(), SendError>]) -> Response {
        *self.script.answers.lock().unwrap() = answers.iter().cloned().collect();
        self.admin.post_json("/api/v1/dead-letters/redrive", &json!({"ids": ids})).await.unwrap()
    }

    async fn left(&self) -> Vec<i64> {
        let letters = self.store.dead_letters("a", LetterFilter::default(), 0, 100).await.unwrap();
        letters.into_iter().map(|letter| letter.id).collect()
    }
}

fn items(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()["items"].take()
}

#[tokio::test]
async fn what_was_not_acknowledged_stays_and_what_was_goes() {
    let running = Running::start().await;
    let ids = running.letters(3).await;
    let answer = running.redrive(&ids, &[Ok(()), Err(SendError::Unknown)]).await;
    let outcome = |id: i64, outcome: &str| json!({"id": id, "outcome": outcome});
    let expected = [outcome(ids[0], "redriven"), outcome(ids[1], "not_sent"), outcome(ids[2], "not_sent")];
    assert_eq!(items(&answer), json!(expected));
    assert_eq!(running.left().await, ids[1..]);
    // One at a time: more would be too much to hold. After the first doubt nothing more was tried.
    assert_eq!(*running.script.sent.lock().unwrap(), [1, 1]);
    let answer = running.redrive(&ids[1..], &[Ok(()), Ok(())]).await;
    assert_eq!(items(&answer), json!([outcome(ids[1], "redriven"), outcome(ids[2], "redriven")]));
    assert_eq!(running.left().await, Vec::<i64>::new());
}

#[tokio::test]
async fn a_queue_that_takes_nothing_is_told_as_such() {
    let running = Running::start().await;
    let ids = running.letters(2).await;
    for refusal in
        [SendError::Full(Partition(1)), SendError::Refused { code: "OOM".into() }, SendError::Unknown]
    {
        let refused = running.redrive(&ids, &[Err(refusal)]).await;
        assert_eq!((refused.status, code(&refused).as_str()), (503, "queue_unavailable"));
        assert!(refused.header("retry-after").is_some());
        assert_eq!(running.left().await, ids);
    }
}
