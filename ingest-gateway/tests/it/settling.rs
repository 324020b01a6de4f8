//! On a queue that settles on commit every answer is of the commit; `respond-async` only changes its form.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::Partition;
use queue::Queue;
use queue::frame::split;
use queue::local::{LocalConfig, LocalQueue};
use queue::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use queue::receipts::ReceiptMessage;
use serde_json::json;
use service::boot::{Boot, BootError, Listeners};
use service::shutdown::Shutdown;
use testkit::http::{Client, Response};
use tokio::task::JoinHandle;

use crate::rig::{PARTITIONS, TOKEN, catalogue, error_code, settings};

const PATH: &str = "/api/v1/experiments/checkout/conversions";
/// Users of all partitions.
const BODY: &str = r#"{"conversions":[{"user_id":"a","metric":"m"},{"user_id":"b","metric":"m"},{"user_id":"c","metric":"m"},{"user_id":"d","metric":"m"},{"user_id":"e","metric":"m"}]}"#;

/// A gateway on a queue in memory, whose owners the test plays.
struct Rig {
    queue: Arc<LocalQueue>,
    readers: Vec<Box<dyn Reader>>,
    addr: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<Result<(), BootError>>,
}

/// What the owners tell beside the totals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receipts {
    Told,
    /// As of owners that do not know how their commit ended, and begin again.
    Lost,
}

impl Rig {
    async fn start(queue_bytes: usize) -> Rig {
        Rig::start_with(queue_bytes, &[]).await
    }

    async fn start_with(queue_bytes: usize, env: &[(&str, &str)]) -> Rig {
        let queue = LocalConfig { queue_bytes, ..LocalConfig::new(PARTITIONS) };
        let queue = Arc::new(LocalQueue::with(queue));
        let projection = queue.projection();
        let ticket = projection.begin().await.unwrap();
        projection.reconcile(ticket, catalogue()).await.unwrap();
        let boot = Boot::embedded(settings("redis://not.used", env)).unwrap();
        let shutdown = boot.shutdown.clone();
        let listeners = Listeners::loopback().await.unwrap();
        let addr = listeners.public_addr().unwrap();
        let serving = tokio::spawn(ingest_gateway::serve(boot, listeners, queue.clone()));
        let readers =
            (0..PARTITIONS).map(|partition| queue.reader(Partition(partition), EntryId::ZERO)).collect();
        Rig { queue, readers, addr, shutdown, serving }
    }

    fn post(&self, prefer: Option<&str>) -> JoinHandle<Response> {
        let client = Client::at(self.addr).bearer(TOKEN);
        let prefer = prefer.map(str::to_owned);
        tokio::spawn(async move {
            let mut headers = vec![("content-type", "application/json"), ("idempotency-key", "k")];
            headers.extend(prefer.as_deref().map(|prefer| ("prefer", prefer)));
            client.post(PATH, &headers, BODY).await.unwrap()
        })
    }

    /// The entries that hold the next `events` events.
    async fn read(&mut self, events: u64) -> Vec<(Partition, Entry)> {
        let mut entries = Vec::new();
        let mut seen = 0;
        while seen < events {
            for (partition, reader) in (0..).map(Partition).zip(&mut self.readers) {
                if let Read::Entries(more) = reader.next(100, BLOCK_MAX / 50).await.unwrap() {
                    seen += more.iter().map(|e| queue::frame::announced(&e.payload)).sum::<u64>();
                    entries.extend(more.into_iter().map(|entry| (partition, entry)));
                }
            }
        }
        assert_eq!(seen, events);
        entries
    }

    /// As after the commit, with a receipt for each frame: its first event a conflict, the others recorded.
    async fn commit(&self, entries: &[(Partition, Entry)], receipts: Receipts) {
        let reporter = self.queue.reporter();
        for (partition, entry) in entries {
            let told: Vec<ReceiptMessage> = match receipts {
                Receipts::Told => receipts_of(entry),
                Receipts::Lost => vec![],
            };
            let totals = [(entry.writer, entry.total)];
            reporter.report(*partition, &totals, &told, entry.id, Duration::ZERO).await;
        }
    }

    async fn end(self) {
        self.shutdown.begin();
        self.serving.await.unwrap().unwrap();
    }
}

/// Of the frames whose sender waits.
fn receipts_of(entry: &Entry) -> Vec<ReceiptMessage> {
    let receipt = |frame: queue::frame::Frame<'_>| {
        let receipt = frame.receipt.filter(|receipt| !receipt.address.is_empty())?;
        Some(ReceiptMessage {
            address: receipt.address.to_owned(),
            request_id: frame.request_id.to_owned(),
            batch: frame.batch,
            part: receipt.part,
            recorded: frame.events() - 1,
            deduplicated: 1,
            conflicts: 1,
            dead_lettered: 0,
        })
    };
    split(&entry.payload).filter_map(|frame| receipt(frame.unwrap())).collect()
}

#[tokio::test]
async fn without_a_wish_the_answer_tells_the_totals_of_the_commit() {
    let mut rig = Rig::start(1 << 20).await;
    for (prefer, applied) in [(None, None), (Some("wait=30"), Some("wait=30"))] {
        let answer = rig.post(prefer);
        let entries = rig.read(5).await;
        let (last, others) = entries.split_last().unwrap();
        assert!(!others.is_empty());
        rig.commit(others, Receipts::Told).await;
        assert!(!answer.is_finished(), "a part is not committed yet");
        rig.commit(std::slice::from_ref(last), Receipts::Told).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("preference-applied"), applied);
        let (body, parts) = (answer.json().unwrap(), entries.len());
        let wanted = json!({"batch_id": body["batch_id"], "received": 5, "recorded": 5 - parts,
            "deduplicated": parts, "conflicts": parts, "dead_lettered": 0, "status": "applied"});
        assert_eq!(body, wanted);
    }
    rig.end().await;
}

#[tokio::test]
async fn who_wants_no_outcome_is_told_where_it_is_and_not_before_the_commit() {
    let mut rig = Rig::start(1 << 20).await;
    for prefer in ["respond-async", "wait=0"] {
        let answer = rig.post(Some(prefer));
        let entries = rig.read(5).await;
        assert!(!answer.is_finished());
        rig.commit(&entries, Receipts::Told).await;
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.header("preference-applied")), (202, Some("respond-async")));
        let place = format!("&parts={}&received=5&at=", entries.len());
        assert!(answer.header("location").unwrap().contains(&place));
        for (_, entry) in &entries {
            let address = split(&entry.payload).next().unwrap().unwrap().receipt.unwrap().address;
            assert_eq!(address, "", "stored only");
        }
    }
    rig.end().await;
}

/// The receipt is stored with the commit, so its place is the answer.
#[tokio::test]
async fn a_commit_without_receipts_is_answered_with_their_place() {
    let mut rig = Rig::start(1 << 20).await;
    let answer = rig.post(None);
    let entries = rig.read(5).await;
    rig.commit(&entries, Receipts::Lost).await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.header("preference-applied")), (202, None));
    assert_eq!(answer.json().unwrap()["status"], "queued");
    let frame = split(&entries[0].1.payload).next().unwrap().unwrap();
    let place = format!("/api/v1/batches/{}?request={}", frame.batch, frame.request_id);
    assert!(answer.header("location").unwrap().starts_with(&place));
    rig.end().await;
}

#[tokio::test]
async fn a_commit_that_does_not_come_is_unavailable_and_what_was_sent_stays() {
    let mut rig = Rig::start_with(1 << 20, &[("AB_SLA_TIMEOUTS", "ingest=1s")]).await;
    let (late, patient) = (rig.post(None), rig.post(Some("wait=30")));
    let answer = late.await.unwrap();
    assert_eq!((answer.status, error_code(&answer).as_str()), (503, "queue_unavailable"));
    assert!(!patient.is_finished(), "it asked to wait longer than the budget");
    // Sent again it is the same batch: the owner sees keys that it knows.
    let again = rig.post(Some("wait=30"));
    let entries = rig.read(15).await;
    let batches: std::collections::BTreeSet<_> = entries
        .iter()
        .flat_map(|(_, entry)| split(&entry.payload).map(|frame| frame.unwrap().batch).collect::<Vec<_>>())
        .collect();
    assert_eq!(batches.len(), 1);
    rig.commit(&entries, Receipts::Told).await;
    assert_eq!(patient.await.unwrap().status, 200);
    assert_eq!(again.await.unwrap().status, 200);
    rig.end().await;
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more() {
    let mut rig = Rig::start(200).await;
    let first = rig.post(None);
    let entries = rig.read(5).await;
    let refused = rig.post(None).await.unwrap();
    assert_eq!((refused.status, error_code(&refused).as_str()), (503, "queue_full"));
    rig.commit(&entries, Receipts::Told).await;
    assert_eq!(first.await.unwrap().status, 200);
    let next = rig.post(None);
    let entries = rig.read(5).await;
    rig.commit(&entries, Receipts::Told).await;
    assert_eq!(next.await.unwrap().status, 200);
    rig.end().await;
}

#[tokio::test]
async fn an_sdk_that_is_not_ours_is_answered_after_the_commit_in_its_own_form() {
    let mut rig = Rig::start(1 << 20).await;
    let client = Client::at(rig.addr).bearer(TOKEN);
    let body = r#"{"batch":[{"type":"track","event":"Bought","userId":"u","messageId":"m"}]}"#;
    let answer = tokio::spawn(async move { client.post("/v1/batch", &[], body).await.unwrap() });
    let entries = rig.read(1).await;
    assert!(!answer.is_finished());
    rig.commit(&entries, Receipts::Told).await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, &answer.json().unwrap()["success"]), (200, &json!(true)));
    rig.end().await;
}

#[tokio::test]
async fn ending_waits_for_the_commit_of_what_is_under_way() {
    let mut rig = Rig::start(1 << 20).await;
    let ready = Client::at(rig.addr).get("/readyz").await.unwrap().text();
    assert!(ready.contains("backlog of 0 events") && ready.contains("complete"), "{ready}");
    let answer = rig.post(None);
    let entries = rig.read(5).await;
    rig.shutdown.begin();
    let closed = || async { tokio::net::TcpStream::connect(rig.addr).await.is_err() };
    testkit::eventually("nothing new is accepted", Duration::from_secs(60), closed).await.unwrap();
    assert!(!answer.is_finished() && !rig.serving.is_finished());
    rig.commit(&entries, Receipts::Told).await;
    assert_eq!(answer.await.unwrap().status, 200);
    rig.end().await;
}
