//! Unknown outcomes and refusals, made with a proxy between writer and server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use queue::Queue;
use queue::producer::{Producer, SendError};
use queue::reader::Entry;
use queue::redis::{ProducerConfig, RedisQueue};
use testkit::{Direction, FaultProxy, Redis};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{config, entries, eventually, frame_named, length, send, soon};

struct Rig {
    redis: Redis,
    proxy: FaultProxy,
    producer: Arc<dyn Producer>,
}

impl Rig {
    async fn start(change: impl FnOnce(ProducerConfig) -> ProducerConfig) -> Rig {
        let redis = Redis::start().await.unwrap();
        let proxy = FaultProxy::start(redis.addr()).await.unwrap();
        let queue = RedisQueue::with(change(config(&redis.url_at(proxy.addr())))).unwrap();
        Rig { redis, proxy, producer: Arc::from(queue.producer()) }
    }

    fn request(&self, name: &'static str, events: u32) -> JoinHandle<Result<(), SendError>> {
        let producer = Arc::clone(&self.producer);
        tokio::spawn(async move { producer.send(vec![frame_named(name, events)], soon()).await })
    }

    /// Sends a request whose entry is written and whose reply is thrown away.
    async fn unanswered(&self, name: &'static str, events: u32) -> JoinHandle<Result<(), SendError>> {
        let before = length(&self.redis).await;
        self.proxy.swallow(Direction::ToClient);
        let request = self.request(name, events);
        eventually("written", || async { length(&self.redis).await == before + 1 }).await;
        request
    }

    /// What the faults held back is gone.
    fn reconnect(&self) {
        self.proxy.cut();
        self.proxy.heal();
    }

    async fn set(&self, name: &str, value: &str) {
        self.redis.command(&["CONFIG", "SET", name, value]).await.unwrap();
    }

    async fn entries(&self) -> Vec<Entry> {
        entries(&self.redis).await
    }

    fn resends(&self) -> u64 {
        self.producer.counters().resends.load(Ordering::Relaxed)
    }
}

fn numbers(entries: &[Entry]) -> Vec<(u64, u64)> {
    entries.iter().map(|e| (e.number, e.total)).collect()
}

#[tokio::test]
async fn an_unknown_outcome_is_resent_with_the_same_number_and_bytes() {
    let rig = Rig::start(|c| c).await;
    send(&*rig.producer, "a", 1).await;
    let request = rig.unanswered("b", 10).await;
    rig.reconnect();
    request.await.unwrap().unwrap();
    send(&*rig.producer, "c", 100).await;

    let entries = rig.entries().await;
    assert_eq!(numbers(&entries), [(1, 1), (2, 11), (2, 11), (3, 111)]);
    assert_eq!(entries[1].payload, entries[2].payload);
    assert_eq!(entries[1].writer, entries[2].writer);
    assert_eq!(rig.resends(), 1);
}

#[tokio::test]
async fn a_server_without_answer_is_unknown_after_the_response_timeout() {
    let rig = Rig::start(|c| ProducerConfig { response_timeout: Duration::from_millis(500), ..c }).await;
    send(&*rig.producer, "a", 1).await;
    // On a slow machine that one was sent again as well.
    let before = rig.resends();
    rig.proxy.stall(Direction::ToClient);
    let request = rig.request("b", 10);
    eventually("it gave up waiting", || async { rig.resends() > before }).await;
    rig.proxy.heal();
    request.await.unwrap().unwrap();
    let (first, second): (Vec<_>, Vec<_>) = rig.entries().await.into_iter().partition(|e| e.number == 1);
    assert!(first.iter().all(|e| e.total == 1 && e.payload == first[0].payload));
    assert!(second.iter().all(|e| (e.number, e.total) == (2, 11) && e.payload == second[0].payload));
    assert!(!first.is_empty() && !second.is_empty());
}

#[tokio::test]
async fn a_request_past_its_deadline_is_unknown_and_its_frame_arrives_all_the_same() {
    let rig = Rig::start(|c| c).await;
    rig.proxy.refuse();
    let answer =
        rig.producer.send(vec![frame_named("a", 1)], Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(answer, Err(SendError::Unknown));
    assert_eq!(length(&rig.redis).await, 0);
    rig.proxy.heal();
    send(&*rig.producer, "b", 10).await;
    // Nothing was sent without a connection, so nothing was in doubt.
    assert_eq!(numbers(&rig.entries().await), [(1, 1), (2, 11)]);
    assert_eq!(rig.resends(), 0);
}

#[tokio::test]
async fn a_refusal_does_not_use_the_number_up() {
    let rig = Rig::start(|c| c).await;
    send(&*rig.producer, "a", 1).await;
    rig.set("maxmemory", "1").await;
    let refused = rig.producer.send(vec![frame_named("b", 10)], soon()).await;
    assert_eq!(refused, Err(SendError::Refused { code: "OOM".to_owned() }));
    rig.set("maxmemory", "0").await;
    send(&*rig.producer, "c", 100).await;
    assert_eq!(numbers(&rig.entries().await), [(1, 1), (2, 101)]);

    rig.redis.command(&["DEL", "ab:{events:00}"]).await.unwrap();
    rig.redis.command(&["SET", "ab:{events:00}", "not a stream"]).await.unwrap();
    let refused = rig.producer.send(vec![frame_named("d", 1)], soon()).await;
    assert_eq!(refused, Err(SendError::Refused { code: "WRONGTYPE".to_owned() }));
    rig.redis.command(&["DEL", "ab:{events:00}"]).await.unwrap();
    send(&*rig.producer, "e", 1).await;
    assert_eq!(numbers(&rig.entries().await), [(3, 102)]);
}

#[tokio::test]
async fn a_replica_refuses_and_the_writer_finds_the_new_master() {
    let rig = Rig::start(|c| c).await;
    send(&*rig.producer, "a", 1).await;
    rig.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let refused = rig.producer.send(vec![frame_named("b", 1)], soon()).await;
    assert_eq!(refused, Err(SendError::Refused { code: "READONLY".to_owned() }));
    let before = rig.proxy.connections();
    rig.redis.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    send(&*rig.producer, "c", 1).await;
    assert!(rig.proxy.connections() > before, "the old connection may lead to the demoted server");
    assert_eq!(numbers(&rig.entries().await), [(1, 1), (2, 2)]);
}

/// The first attempt may be in the stream, so a refusal of the second must not free the number for other bytes.
#[tokio::test]
async fn a_refusal_after_an_unknown_outcome_is_still_in_doubt() {
    let rig = Rig::start(|c| c).await;
    send(&*rig.producer, "a", 1).await;
    let request = rig.unanswered("b", 10).await;
    rig.set("maxmemory", "1").await;
    rig.reconnect();
    eventually("a resend was refused", || async { rig.resends() >= 2 }).await;
    let behind = rig.request("c", 100);
    assert!(!request.is_finished());
    rig.set("maxmemory", "0").await;
    request.await.unwrap().unwrap();
    behind.await.unwrap().unwrap();

    let entries = rig.entries().await;
    assert_eq!(numbers(&entries), [(1, 1), (2, 11), (2, 11), (3, 111)]);
    assert_eq!(entries[1].payload, entries[2].payload);
    assert_eq!(rig.producer.counters().refusals.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn too_few_replicas_leave_the_outcome_unknown() {
    let change = |c| ProducerConfig { replicas: 1, response_timeout: Duration::from_millis(400), ..c };
    let rig = Rig::start(change).await;
    let request = rig.request("a", 3);
    eventually("sent again for want of a replica", || async { rig.resends() >= 1 }).await;
    assert!(!request.is_finished());

    let master = rig.redis.addr().port().to_string();
    let of_master = format!("127.0.0.1 {master}");
    let _replica = Redis::start_with(&[("replicaof", &of_master)]).await.unwrap();
    request.await.unwrap().unwrap();
    let entries = rig.entries().await;
    assert!(entries.len() >= 2);
    let same: Vec<(u64, u64, &Bytes)> = entries.iter().map(|e| (e.number, e.total, &e.payload)).collect();
    assert!(same.iter().all(|entry| *entry == (1, 3, &entries[0].payload)));
}

/// Restarts, cuts and stalls while requests keep coming: every acknowledged frame is in the stream under one
/// number, and no number carries two contents.
#[tokio::test]
async fn no_number_ever_carries_two_contents() {
    let rig = Rig::start(|c| ProducerConfig { response_timeout: Duration::from_secs(1), ..c }).await;
    send(&*rig.producer, "first", 1).await;
    // One at least is sent again, whatever the faults below meet.
    let mut requests = vec![("second", rig.unanswered("second", 1).await)];
    rig.reconnect();
    for round in 0..30 {
        for i in 0..5 {
            let name: &'static str = Box::leak(format!("{round}-{i}").into_boxed_str());
            requests.push((name, rig.request(name, 1)));
        }
        let passed = rig.proxy.passed(Direction::ToServer);
        match round % 5 {
            0 => rig.proxy.cut_after(Direction::ToServer, 700),
            1 => rig.proxy.swallow(Direction::ToClient),
            2 => rig.proxy.cut_after(Direction::ToClient, 9),
            3 => rig.proxy.stall(Direction::ToClient),
            _ => rig.redis.restart().await.unwrap(),
        }
        eventually("the fault was met", || async {
            rig.proxy.passed(Direction::ToServer) > passed || requests.iter().all(|(_, r)| r.is_finished())
        })
        .await;
        rig.reconnect();
    }
    let mut acknowledged = vec!["first".to_owned()];
    for (name, request) in requests {
        request.await.unwrap().unwrap();
        acknowledged.push(name.to_owned());
    }

    let mut content = std::collections::BTreeMap::new();
    for entry in rig.entries().await {
        let known = content.entry(entry.number).or_insert_with(|| entry.clone());
        assert_eq!((known.total, &known.payload), (entry.total, &entry.payload), "number {}", entry.number);
    }
    assert_eq!(content.keys().copied().collect::<Vec<_>>(), (1..=content.len() as u64).collect::<Vec<_>>());
    let mut written: Vec<String> = content.values().flat_map(crate::support::names).collect();
    written.sort();
    acknowledged.sort();
    assert_eq!(written, acknowledged);
    assert!(rig.resends() > 0);
}
