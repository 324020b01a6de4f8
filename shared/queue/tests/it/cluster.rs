//! A Redis Cluster whose slots move, whose masters die, and whose servers differ.

use std::sync::Arc;
use std::time::Duration;

use domain::ExperimentId;
use queue::catalogue::{Catalogue, Entry as Experiment};
use queue::producer::{Producer, SendError};
use queue::reader::{BLOCK_MAX, EntryId, Read};
use queue::redis::{ProducerConfig, RedisQueue};
use queue::{Queue, Weakness};
use testkit::RedisCluster;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{P0, config, eventually, frame_named, names, queue, soon};

const STREAM: &str = "ab:{events:00}";
const CATALOGUE: &str = "ab:{catalogue}";

/// Sends one request after the other until told to stop; the names of those acknowledged.
fn keep_sending(producer: Arc<dyn Producer>, stop: CancellationToken) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            if stop.is_cancelled() {
                break;
            }
            let name = format!("request-{n}");
            match producer.send(vec![frame_named(&name, 1)], soon()).await {
                Ok(()) => acknowledged.push(name),
                Err(SendError::Refused { .. }) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        acknowledged
    })
}

/// By events, of which each request has one: entries may also be signs of life.
async fn acknowledged_more(producer: &dyn Producer, more: u64) {
    let events = || producer.counters().events.load(std::sync::atomic::Ordering::Relaxed);
    let wanted = events() + more;
    eventually("more is acknowledged", || async { events() >= wanted }).await;
}

#[tokio::test]
async fn slots_move_under_a_writer_and_an_owner() {
    let cluster = RedisCluster::start().await.unwrap();
    let queue = queue(&cluster.url());
    let producer: Arc<dyn Producer> = Arc::from(queue.producer());
    let (stop, applied) = (CancellationToken::new(), CancellationToken::new());
    let sending = keep_sending(Arc::clone(&producer), stop.clone());
    let (mut reader, reporter, until) = (queue.reader(P0, EntryId::ZERO), queue.reporter(), applied.clone());
    let owner = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            // Asked before the look: what was acknowledged until then is seen by it.
            let done = until.is_cancelled();
            match reader.next(100, BLOCK_MAX).await.unwrap() {
                Read::Entries(entries) => {
                    let last = entries.last().unwrap();
                    reporter.report(P0, &[(last.writer, last.total)], &[], last.id, Duration::ZERO).await;
                    seen.extend(entries.iter().flat_map(names));
                }
                Read::Idle if done => return seen,
                Read::Idle => {}
                Read::AnchorLost => panic!("it is the same stream"),
            }
        }
    });
    let home = cluster.owner(STREAM).await.unwrap().unwrap().addr();
    for _ in 0..3 {
        acknowledged_more(&*producer, 50).await;
        let from = cluster.owner(STREAM).await.unwrap().unwrap().addr();
        let at = cluster.masters.iter().position(|master| master.addr() == from).unwrap();
        cluster.move_slot(STREAM, &cluster.masters[(at + 1) % 3]).await.unwrap();
    }
    assert_eq!(cluster.owner(STREAM).await.unwrap().unwrap().addr(), home, "once around");
    acknowledged_more(&*producer, 50).await;
    stop.cancel();
    let sent = sending.await.unwrap();
    applied.cancel();
    assert_eq!(owner.await.unwrap(), sent, "each once, in order");
    let counters = producer.counters();
    let count = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.refusals), count(&counters.resends)), (0, 0));
    eventually("everything is known to be applied", || async {
        let backlog = producer.backlog();
        backlog.reachable && backlog.events == 0
    })
    .await;
}

#[tokio::test]
async fn what_replicas_confirmed_is_there_after_a_master_died() {
    let cluster = RedisCluster::start_replicated(Duration::from_secs(1)).await.unwrap();
    let config = ProducerConfig { response_timeout: Duration::from_secs(2), ..config(&cluster.url()) };
    let queue = RedisQueue::with(ProducerConfig { replicas: 1, ..config }).unwrap();
    let producer: Arc<dyn Producer> = Arc::from(queue.producer());
    let stop = CancellationToken::new();
    let sending = keep_sending(Arc::clone(&producer), stop.clone());
    acknowledged_more(&*producer, 20).await;
    let master = cluster.fail_over(STREAM).await.unwrap();
    // The promoted one has no replica until the dead one is back: nothing can be acknowledged before.
    master.restart().await.unwrap();
    acknowledged_more(&*producer, 20).await;
    stop.cancel();
    let sent = sending.await.unwrap();
    let mut reader = queue.reader(P0, EntryId::ZERO);
    let mut found: Vec<(u64, String)> = Vec::new();
    while let Read::Entries(entries) = reader.next(1_000, Duration::ZERO).await.unwrap() {
        found.extend(entries.iter().flat_map(|e| names(e).into_iter().map(|name| (e.number, name))));
    }
    // An entry may be there twice, by its number.
    found.dedup();
    let found: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
    assert!(sent.len() >= 40);
    assert_eq!(found, sent);
}

fn experiment(revision: u64) -> Experiment {
    Experiment {
        id: ExperimentId(7),
        tenant: "acme".to_owned(),
        key: "seven".to_owned(),
        status: "running".to_owned(),
        variations: vec!["control".to_owned(), "treatment".to_owned()],
        metrics: Vec::new(),
        revision,
    }
}

#[tokio::test]
async fn changes_are_heard_where_the_catalogue_has_gone() {
    let cluster = RedisCluster::start().await.unwrap();
    let queue = queue(&cluster.url());
    let (projection, catalogue) = (queue.projection(), queue.redis_catalogue(100));
    let ticket = projection.begin().await.unwrap();
    projection.reconcile(ticket, vec![experiment(1)]).await.unwrap();
    for revision in 2..4 {
        eventually("changes are heard", || async { catalogue.is_subscribed() }).await;
        let found = catalogue.lookup("acme", "7").await.unwrap().unwrap();
        assert_eq!(found.revision, revision - 1);
        let from = cluster.owner(CATALOGUE).await.unwrap().unwrap().addr();
        let to = cluster.masters.iter().find(|master| master.addr() != from).unwrap();
        cluster.move_slot(CATALOGUE, to).await.unwrap();
        projection.put(&experiment(revision)).await.unwrap();
        eventually("the change is known", || async {
            catalogue.lookup("acme", "7").await.unwrap().unwrap().revision == revision
        })
        .await;
        eventually("the subscription follows the slot", || async {
            let reply = to.command(&["PUBSUB", "NUMSUB", "ab:{catalogue}:changes"]).await.unwrap();
            matches!(reply, redis::Value::Array(pair) if pair[1] == redis::Value::Int(1))
        })
        .await;
    }
}

#[tokio::test]
async fn every_master_is_checked_and_the_fullest_one_counts() {
    let cluster = RedisCluster::start().await.unwrap();
    let queue = queue(&cluster.url());
    assert_eq!(queue.weaknesses(Duration::ZERO).await.unwrap(), []);
    let weak = &cluster.masters[2];
    weak.command(&["CONFIG", "SET", "appendfsync", "everysec"]).await.unwrap();
    let weakness = Weakness {
        server: Some(weak.addr().to_string()),
        setting: "appendfsync",
        found: "everysec".into(),
        wanted: "always",
    };
    assert!(weakness.to_string().starts_with(&format!("Redis at {} has appendfsync", weak.addr())));
    assert_eq!(queue.weaknesses(Duration::ZERO).await.unwrap(), [weakness]);

    let producer = queue.producer();
    eventually("there is room", || async {
        let backlog = producer.backlog();
        backlog.reachable && backlog.memory_fraction < 0.5
    })
    .await;
    cluster.masters[1].command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    eventually("one server is full", || async { producer.backlog().memory_fraction > 1.0 }).await;
}

#[tokio::test]
async fn one_server_that_answers_is_enough_to_find_the_others() {
    let cluster = RedisCluster::start().await.unwrap();
    let nobody = testkit::free_port().unwrap();
    for master in &cluster.masters {
        let url = format!("redis+cluster://127.0.0.1:{nobody},{}", master.addr());
        assert_eq!(queue(&url).weaknesses(Duration::ZERO).await.unwrap(), []);
    }
    for (url, transient) in [
        (format!("redis+cluster://127.0.0.1:{nobody}"), true),
        (format!("redis+cluster://user:wrong@{}", cluster.masters[0].addr()), false),
    ] {
        let error = queue(&url).weaknesses(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{error:?}");
    }
    for url in ["redis+cluster://", "redis+cluster://h:1/1", "redis+cluster://h:1,"] {
        assert!(!RedisQueue::new(url, 1, 0).err().unwrap().is_transient(), "{url}");
    }
}
