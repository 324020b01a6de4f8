use std::time::Duration;

use queue::Queue;
use queue::reader::{Entry, EntryId};
use testkit::{FaultProxy, Redis};

use crate::support::{P0, entries, length, queue, send};

const HOUR: Duration = Duration::from_secs(3600);

async fn filled(entries_wanted: usize) -> (Redis, Vec<Entry>) {
    let redis = Redis::start().await.unwrap();
    let producer = queue(&redis.url()).producer();
    for i in 0..entries_wanted {
        send(&*producer, &i.to_string(), 1).await;
    }
    let all = entries(&redis).await;
    (redis, all)
}

#[tokio::test]
async fn trimming_keeps_the_position_and_everything_after_it() {
    let (redis, all) = filled(600).await;
    let position = all[399].id;
    let reporter = queue(&redis.url()).reporter();
    reporter.report(P0, &[], &[], position, Duration::ZERO).await;
    let left = entries(&redis).await;
    assert!(left[0].id <= position);
    assert_eq!(left[left.len() - 201..], all[399..]);
    // Whole nodes of the stream go, at most 100 entries each.
    assert!(left.len() < 201 + 100, "{} left", left.len());

    reporter.report(P0, &[], &[], EntryId::ZERO, Duration::ZERO).await;
    assert_eq!(entries(&redis).await, left);
    let last = all[599].id;
    reporter.report(P0, &[], &[], last, Duration::ZERO).await;
    assert_eq!(entries(&redis).await.last().unwrap().id, last);
}

#[tokio::test]
async fn young_entries_are_kept_until_memory_is_short() {
    let (redis, all) = filled(600).await;
    let position = all[599].id;
    let reporter = queue(&redis.url()).reporter();
    reporter.report(P0, &[], &[], position, HOUR).await;
    assert_eq!(length(&redis).await, 600);

    let info = redis.command(&["INFO", "memory"]).await.unwrap();
    let redis::Value::BulkString(info) = info else { panic!("INFO answers text") };
    let info = String::from_utf8(info).unwrap();
    let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().parse().unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", &(used * 3 / 2).to_string()]).await.unwrap();
    // Another worker's: this one has seen the memory less than a second ago.
    queue(&redis.url()).reporter().report(P0, &[], &[], position, HOUR).await;
    let left = entries(&redis).await;
    assert!(left.len() < 100, "{} left", left.len());
    assert_eq!(left.last().unwrap().id, position);
}

/// Draining must work when Redis is full, or it stays full.
#[tokio::test]
async fn a_full_server_is_trimmed() {
    let (redis, all) = filled(300).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let reporter = queue(&redis.url()).reporter();
    reporter.report(P0, &[(all[0].writer, 300)], &[], all[299].id, HOUR).await;
    assert!(length(&redis).await < 100);
}

#[tokio::test]
async fn a_failure_has_no_consequence() {
    let (redis, all) = filled(1).await;
    let proxy = FaultProxy::start(redis.addr()).await.unwrap();
    let reporter = queue(&redis.url_at(proxy.addr())).reporter();
    let writer = all[0].writer;
    reporter.report(P0, &[(writer, 1)], &[], EntryId::ZERO, HOUR).await;
    proxy.cut();
    reporter.report(P0, &[(writer, 2)], &[], all[0].id, HOUR).await;
    reporter.report(P0, &[(writer, 3)], &[], all[0].id, HOUR).await;
    let stored = redis.command(&["HVALS", "ab:{events:00}:applied"]).await.unwrap();
    assert_eq!(stored, redis::Value::Array(vec![redis::Value::BulkString(b"3".to_vec())]));
}
