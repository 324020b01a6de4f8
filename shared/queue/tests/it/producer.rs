use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use queue::numbering::{Judgement, judge};
use queue::producer::{Outgoing, Producer, SendError};
use queue::reader::EntryId;
use queue::redis::{ProducerConfig, RedisQueue};
use testkit::{Direction, FaultProxy, Redis};
use tokio::time::Instant;

use crate::support::{P0, config, entries, eventually, frame_named, length, names, queue, send, soon};

/// A server, a proxy in front of it, and a producer that goes through the proxy.
async fn behind_proxy(
    change: impl FnOnce(ProducerConfig) -> ProducerConfig,
) -> (Redis, FaultProxy, Arc<dyn Producer>) {
    let redis = Redis::start().await.unwrap();
    let proxy = FaultProxy::start(redis.addr()).await.unwrap();
    let config = change(config(&redis.url_at(proxy.addr())));
    (redis, proxy, Arc::from(RedisQueue::with(config).unwrap().producer()))
}

/// Queues requests in this order while the replies are stalled; the first is in flight.
async fn queue_up(
    producer: &Arc<dyn Producer>,
    frames: Vec<Outgoing>,
) -> Vec<tokio::task::JoinHandle<Result<(), SendError>>> {
    let mut requests = Vec::new();
    let mut bytes = producer.queued_bytes();
    for frame in frames {
        bytes += frame.bytes.len();
        let sender = Arc::clone(producer);
        requests.push(tokio::spawn(async move { sender.send(vec![frame], soon()).await }));
        eventually("the frame is queued", || async { producer.queued_bytes() == bytes }).await;
    }
    requests
}

#[tokio::test]
async fn what_queues_behind_an_entry_goes_as_one_in_order() {
    let (redis, proxy, producer) = behind_proxy(|c| c).await;
    proxy.stall(Direction::ToClient);
    let all: Vec<String> = (0..100).map(|i| format!("r{i}")).collect();
    let mut requests = queue_up(&producer, vec![frame_named(&all[0], 1)]).await;
    // The handshake of the connection is stalled as well.
    proxy.heal();
    requests.remove(0).await.unwrap().unwrap();
    proxy.stall(Direction::ToClient);
    requests.extend(queue_up(&producer, vec![frame_named(&all[1], 1)]).await);
    eventually("the second entry is in the stream", || async { length(&redis).await == 2 }).await;
    let rest = all[2..].iter().map(|name| frame_named(name, 3)).collect();
    requests.extend(queue_up(&producer, rest).await);
    assert_eq!(length(&redis).await, 2);
    proxy.heal();
    for request in requests {
        request.await.unwrap().unwrap();
    }

    let entries = entries(&redis).await;
    let stamps: Vec<_> = entries.iter().map(|e| (e.number, e.total)).collect();
    assert_eq!(stamps, [(1, 1), (2, 2), (3, 2 + 98 * 3)]);
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), all);
    assert_eq!(producer.queued_bytes(), 0);
}

#[tokio::test]
async fn entries_are_bounded_unless_one_frame_is_larger() {
    let size = frame_named("a", 10).bytes.len();
    let (redis, proxy, producer) = behind_proxy(|c| ProducerConfig { entry_bytes: 2 * size + 1, ..c }).await;
    send(&*producer, "0", 1).await;
    proxy.stall(Direction::ToClient);
    let mut requests = queue_up(&producer, vec![frame_named("1", 1)]).await;
    eventually("it is in the stream", || async { length(&redis).await == 2 }).await;
    let frames = [("a", 10), ("b", 10), ("c", 10), ("d", 100), ("e", 1), ("f", 1)];
    requests.extend(queue_up(&producer, frames.map(|(n, events)| frame_named(n, events)).into()).await);
    proxy.heal();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    let sizes: Vec<Vec<String>> = entries(&redis).await.iter().map(names).collect();
    assert_eq!(sizes[2..], [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e", "f"]]);
}

#[tokio::test]
async fn an_idle_writer_sends_one_empty_entry() {
    let redis = Redis::start().await.unwrap();
    let config = ProducerConfig { idle_after: Duration::from_millis(20), ..config(&redis.url()) };
    let producer = RedisQueue::with(config).unwrap().producer();
    send(&*producer, "a", 5).await;
    eventually("a sign of life", || async { length(&redis).await == 2 }).await;
    // Draining ends the writer, which would owe another sign if the empty entry counted as one to confirm.
    assert!(producer.drain(soon()).await);
    let entries = entries(&redis).await;
    let stamps: Vec<_> = entries.iter().map(|e| (e.number, e.total, e.payload.len())).collect();
    assert_eq!(stamps, [(1, 5, entries[0].payload.len()), (2, 5, 0)]);
}

#[tokio::test]
async fn draining_writes_what_is_queued_and_a_last_sign() {
    let (redis, proxy, producer) = behind_proxy(|c| c).await;
    proxy.stall(Direction::ToClient);
    let requests = queue_up(&producer, vec![frame_named("a", 1), frame_named("b", 1)]).await;
    assert!(!producer.drain(Instant::now()).await, "the server does not answer");
    assert_eq!(producer.send(vec![frame_named("c", 1)], soon()).await, Err(SendError::Closed));
    proxy.heal();
    assert!(producer.drain(soon()).await);
    for request in requests {
        request.await.unwrap().unwrap();
    }
    let entries = entries(&redis).await;
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), ["a", "b"]);
    assert!(entries.last().unwrap().payload.is_empty());
}

#[tokio::test]
async fn an_emptied_server_shows_as_a_jump_of_so_many_events() {
    let redis = Redis::start().await.unwrap();
    let producer = queue(&redis.url()).producer();
    send(&*producer, "a", 5).await;
    let last = entries(&redis).await.remove(0).stamp();
    send(&*producer, "b", 7).await;
    redis.restart_empty().await.unwrap();
    send(&*producer, "c", 1).await;
    let (mut last, mut lost) = (last, Vec::new());
    // The writer may have noticed before: then an empty entry is the first one.
    for entry in entries(&redis).await {
        let Judgement::Apply(since) = judge(Some(last), entry.stamp(), entry.id.ms, entry.id.ms) else {
            panic!("it is a new one")
        };
        let found = queue::frame::announced(&entry.payload);
        lost.push((since.contiguous, since.lost(found)));
        last = entry.stamp();
    }
    assert_eq!(lost[0], (false, 7));
    assert!(lost[1..].iter().all(|lost| *lost == (true, 0)), "{lost:?}");
}

#[tokio::test]
async fn a_server_out_of_reach_leaves_the_backlog_as_it_was() {
    let (redis, proxy, producer) = behind_proxy(|c| c).await;
    send(&*producer, "a", 2).await;
    eventually("it is behind", || async { producer.backlog().events == 2 }).await;
    proxy.refuse();
    proxy.cut();
    eventually("Redis is out of reach", || async { !producer.backlog().reachable }).await;
    assert_eq!(producer.backlog().events, 2);
    let applied = [(entries(&redis).await[0].writer, 2)];
    queue(&redis.url()).reporter().report(P0, &applied, &[], EntryId::ZERO, Duration::ZERO).await;
    proxy.heal();
    eventually("it is back", || async {
        let backlog = producer.backlog();
        backlog.reachable && backlog.events == 0
    })
    .await;
}

#[tokio::test]
async fn an_idle_writer_says_what_is_gone() {
    let redis = Redis::start().await.unwrap();
    let producer = queue(&redis.url()).producer();
    send(&*producer, "first", 3).await;
    send(&*producer, "second", 2).await;
    redis.command(&["FLUSHALL"]).await.unwrap();
    // It sends no signs of life: this one is because Redis does not know its total any more.
    eventually("an empty entry", || async { length(&redis).await == 1 }).await;
    let entry = entries(&redis).await.remove(0);
    assert_eq!((entry.number, entry.total, entry.payload.len()), (3, 5, 0));
    // Now it does, however often it is asked.
    two_more_looks(&redis).await;
    assert_eq!(length(&redis).await, 1);
}

/// Until the producer has asked twice for both totals of its partition.
async fn two_more_looks(redis: &Redis) {
    let looks = async || {
        let stats = redis.command(&["INFO", "commandstats"]).await.unwrap();
        let stats = redis::from_redis_value::<String>(stats).unwrap();
        let calls = stats.split_once("cmdstat_hgetall:calls=").map_or("0", |(_, calls)| calls);
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = looks().await;
    eventually("two more looks", || async { looks().await > before + 4 }).await;
}

/// Owners forget it after a day, and that is no loss.
#[tokio::test]
async fn a_writer_silent_for_long_misses_nothing() {
    let redis = Redis::start().await.unwrap();
    let config = ProducerConfig { renew_after: Duration::ZERO, ..config(&redis.url()) };
    let queue = RedisQueue::with(config).unwrap();
    let producer = queue.producer();
    send(&*producer, "first", 3).await;
    queue.reporter().forget(P0, &[entries(&redis).await[0].writer]).await;
    two_more_looks(&redis).await;
    assert_eq!(length(&redis).await, 1);
}
