use std::time::Duration;

use queue::Queue;
use queue::producer::Producer;
use queue::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use testkit::{FaultProxy, Redis};
use uuid::Uuid;

use crate::support::{P0, eventually, int, names, queue, send};

const STREAM: &str = "ab:{events:00}";

async fn three() -> (Redis, Box<dyn Producer>, Box<dyn Reader>) {
    let redis = Redis::start().await.unwrap();
    let producer = queue(&redis.url()).producer();
    for name in ["a", "b", "c"] {
        send(&*producer, name, 1).await;
    }
    let reader = queue(&redis.url()).reader(P0, EntryId::ZERO);
    (redis, producer, reader)
}

fn got(read: Read) -> Vec<Entry> {
    match read {
        Read::Entries(entries) => entries,
        other => panic!("no entries: {other:?}"),
    }
}

async fn next(reader: &mut dyn Reader, max: usize) -> Vec<String> {
    got(reader.next(max, Duration::ZERO).await.unwrap()).iter().flat_map(names).collect()
}

/// Waits until the reader sits in its blocking read.
async fn until_blocked(redis: &Redis) {
    eventually("the reader blocks", || async {
        let info = redis.command(&["INFO", "clients"]).await.unwrap();
        let redis::Value::BulkString(text) = info else { panic!("INFO answers text") };
        String::from_utf8(text).unwrap().contains("blocked_clients:1")
    })
    .await;
}

#[test]
fn ids_are_ordered_and_written_as_redis_writes_them() {
    let id: EntryId = "1763600000123-7".parse().unwrap();
    assert_eq!(id, EntryId { ms: 1_763_600_000_123, seq: 7 });
    assert_eq!(id.to_string(), "1763600000123-7");
    assert_eq!(id.time(), domain::Timestamp(1_763_600_000_123_000));
    assert!(EntryId::ZERO < id && id < "1763600000123-10".parse().unwrap());
    for bad in ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "18446744073709551616-0"] {
        assert!(bad.parse::<EntryId>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let (redis, producer, mut reader) = three().await;
    assert_eq!(next(&mut *reader, 10).await.len(), 3);
    let waiting = tokio::spawn(async move {
        loop {
            match reader.next(10, BLOCK_MAX).await.unwrap() {
                Read::Idle => {}
                read => return (reader, got(read)),
            }
        }
    });
    until_blocked(&redis).await;
    send(&*producer, "d", 1).await;
    let (_, entries) = waiting.await.unwrap();
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), ["d"]);
}

#[tokio::test]
async fn the_anchor_is_missed_when_the_stream_is_another_one() {
    let (redis, producer, mut reader) = three().await;
    let first = got(reader.next(1, Duration::ZERO).await.unwrap()).remove(0);

    redis.command(&["XDEL", STREAM, &first.id.to_string()]).await.unwrap();
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::AnchorLost);
    reader.seek(EntryId::ZERO);
    assert_eq!(next(&mut *reader, 10).await, ["b", "c"]);

    redis.command(&["XTRIM", STREAM, "MAXLEN", "0"]).await.unwrap();
    assert_eq!(reader.next(10, BLOCK_MAX).await.unwrap(), Read::AnchorLost);

    redis.command(&["FLUSHALL"]).await.unwrap();
    send(&*producer, "d", 1).await;
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::AnchorLost);
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::AnchorLost, "until told to seek");
    reader.seek(EntryId::ZERO);
    assert_eq!(next(&mut *reader, 10).await, ["d"]);
}

/// A blocking read answers with entries of the new stream as if they followed.
#[tokio::test]
async fn a_stream_replaced_during_a_blocking_read_is_noticed() {
    let (redis, producer, mut reader) = three().await;
    assert_eq!(next(&mut *reader, 10).await.len(), 3);
    let waiting = tokio::spawn(async move {
        loop {
            match reader.next(10, BLOCK_MAX).await.unwrap() {
                Read::Idle => {}
                read => return read,
            }
        }
    });
    until_blocked(&redis).await;
    redis.command(&["FLUSHALL"]).await.unwrap();
    send(&*producer, "d", 1).await;
    assert_eq!(waiting.await.unwrap(), Read::AnchorLost);
}

#[tokio::test]
async fn another_entry_under_the_anchors_id_is_another_stream() {
    let (redis, producer, mut reader) = three().await;
    assert_eq!(next(&mut *reader, 10).await.len(), 3);
    // Its writer would notice, and write an entry of its own.
    drop(producer);
    redis.command(&["FLUSHALL"]).await.unwrap();
    // As when the server is emptied and written to within the millisecond of the last entry.
    let id = reader.position().to_string();
    let entry = ["XADD", STREAM, &id, "w", "0123456789abcdef", "n", "4", "t", "4", "f", ""];
    redis.command(&entry).await.unwrap();
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::AnchorLost);
    reader.seek(EntryId::ZERO);
    assert!(matches!(reader.next(10, Duration::ZERO).await.unwrap(), Read::Entries(e) if e.len() == 1));
}

#[tokio::test]
async fn what_no_writer_of_ours_wrote_is_handed_over_as_malformed() {
    let redis = Redis::start().await.unwrap();
    let writer = "0123456789abcdef";
    let nil = "\0".repeat(16);
    let malformed: &[&[&str]] = &[
        &["x", "1"],
        &["w", writer, "n", "1", "t", "1"],
        &["w", writer, "n", "1", "f", "frames"],
        &["w", "short", "n", "1", "t", "1", "f", "frames"],
        &["w", &nil, "n", "1", "t", "1", "f", "frames"],
        &["w", writer, "n", "0", "t", "1", "f", "frames"],
        &["w", writer, "n", "one", "t", "1", "f", "frames"],
        &["w", writer, "n", "1", "t", "-1", "f", "frames"],
    ];
    for fields in malformed {
        redis.command(&[&["XADD", STREAM, "*"], *fields].concat()).await.unwrap();
    }
    let order_is_free = ["XADD", STREAM, "*", "f", "frames", "t", "9", "n", "2", "w", writer, "z", "?"];
    redis.command(&order_is_free).await.unwrap();

    let mut reader = queue(&redis.url()).reader(P0, EntryId::ZERO);
    let mut entries = Vec::new();
    while let Read::Entries(more) = reader.next(100, Duration::ZERO).await.unwrap() {
        entries.extend(more);
    }
    assert_eq!(entries.len(), malformed.len() + 1);
    for (entry, fields) in entries.iter().zip(malformed) {
        assert!(entry.malformed, "{fields:?}");
        assert_eq!((entry.writer, entry.number), (Uuid::nil(), 0));
        assert_eq!(entry.payload, fields.concat().into_bytes());
    }
    let good = entries.last().unwrap();
    assert!(!good.malformed);
    assert_eq!((good.number, good.total, &good.payload[..]), (2, 9, &b"frames"[..]));
    assert_eq!(good.writer.as_bytes(), writer.as_bytes());
}

#[tokio::test]
async fn large_entries_come_a_few_at_a_time() {
    let redis = Redis::start().await.unwrap();
    let payload = "x".repeat(1 << 20);
    for n in 1..=40 {
        let n = n.to_string();
        let entry = ["XADD", STREAM, "*", "w", "0123456789abcdef", "n", &n, "t", &n, "f", &payload];
        redis.command(&entry).await.unwrap();
    }
    let mut reader = queue(&redis.url()).reader(P0, EntryId::ZERO);
    assert_eq!(got(reader.next(5, Duration::ZERO).await.unwrap()).len(), 5);
    assert_eq!(got(reader.next(1000, Duration::ZERO).await.unwrap()).len(), 2, "2 MiB");
}

#[tokio::test]
async fn a_broken_connection_is_an_error_once_and_the_position_stays() {
    let (redis, _producer, _) = three().await;
    let proxy = FaultProxy::start(redis.addr()).await.unwrap();
    let mut reader = queue(&redis.url_at(proxy.addr())).reader(P0, EntryId::ZERO);
    assert_eq!(next(&mut *reader, 1).await, ["a"]);
    proxy.cut();
    let error = reader.next(10, Duration::ZERO).await.unwrap_err();
    assert!(error.is_transient());
    // One entry after an error, in case it was too much for one reply; then more again.
    assert_eq!(next(&mut *reader, 10).await, ["b"]);
    assert_eq!(next(&mut *reader, 10).await, ["c"]);
    assert_eq!(int(redis.command(&["XLEN", STREAM]).await.unwrap()), 3);
}
