//! What several tests need.

use std::time::Duration;

use domain::Partition;
use queue::Queue;
use queue::frame::{self, Events, Frame, Group};
use queue::producer::{Outgoing, Producer};
use queue::reader::{Entry, EntryId, Read};
use queue::redis::{ProducerConfig, RedisQueue};
use testkit::Redis;
use tokio::time::{Instant, sleep, timeout};

pub const P0: Partition = Partition(0);

/// Far enough that no test meets it unless something is broken.
pub fn soon() -> Instant {
    Instant::now() + LIMIT
}

const LIMIT: Duration = Duration::from_secs(120);

/// Asks until the answer is yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let asking = async {
        while !ask().await {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// A frame of `events` exposures whose request id is `name`.
pub fn frame_named(name: &str, events: u32) -> Outgoing {
    let users: Vec<String> = (0..events).map(|i| format!("{name}-{i}")).collect();
    let exposure = |user: &'_ String| domain::event::Exposure {
        user_id: Box::leak(user.clone().into_boxed_str()),
        variation: 0,
        occurred_given: None,
        key: None,
    };
    let frame = Frame {
        batch: domain::BatchId(uuid::Uuid::now_v7()),
        tenant: "acme",
        request_id: name,
        traceparent: None,
        sent_at: None,
        received_at: domain::Timestamp(1),
        clock_shift: 0,
        receipt: None,
        groups: vec![Group {
            experiment: domain::ExperimentId(1),
            after_stop: false,
            events: Events::Exposures(users.iter().map(exposure).collect()),
        }],
    };
    Outgoing { partition: P0, bytes: frame::encode(&frame).unwrap(), events }
}

/// A producer for one partition that sends no signs of life, nor anything twice because the machine is slow; and nothing
/// fails for that reason either.
pub fn config(url: &str) -> ProducerConfig {
    let config = ProducerConfig::new(url, 1);
    let idle_after = Duration::from_secs(3600);
    ProducerConfig { idle_after, response_timeout: 2 * LIMIT, patience: LIMIT, ..config }
}

/// Of one partition, with [`config`].
pub fn queue(url: &str) -> RedisQueue {
    RedisQueue::with(config(url)).unwrap()
}

pub async fn send(producer: &dyn Producer, name: &str, events: u32) {
    producer.send(vec![frame_named(name, events)], soon()).await.unwrap();
}

/// All entries of partition 0.
pub async fn entries(redis: &Redis) -> Vec<Entry> {
    let mut reader = queue(&redis.url()).reader(P0, EntryId::ZERO);
    let mut entries = Vec::new();
    loop {
        match reader.next(1000, Duration::ZERO).await.unwrap() {
            Read::Entries(more) => entries.extend(more),
            Read::Idle => return entries,
            Read::AnchorLost => panic!("the stream changed under the test"),
        }
    }
}

/// Request ids of an entry's frames.
pub fn names(entry: &Entry) -> Vec<String> {
    frame::split(&entry.payload).map(|frame| frame.unwrap().request_id.to_owned()).collect()
}

pub async fn length(redis: &Redis) -> i64 {
    int(redis.command(&["XLEN", "ab:{events:00}"]).await.unwrap())
}

pub fn int(value: redis::Value) -> i64 {
    match value {
        redis::Value::Int(n) => n,
        other => panic!("not a number: {other:?}"),
    }
}
