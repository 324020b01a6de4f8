//! Entries deleted from a stream by hand: what is gone is exact, named, and in the books; a stream that comes again
//! adds nothing to it.

use crate::support::eventually;
use domain::Partition;
use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, Setup, System};
use queue::Queue;
use queue::reader::{Entry, EntryId, Read};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::Process;

const LIMIT: Duration = Duration::from_secs(60);
const STREAM: &str = "ab:{events:00}";

/// Conversions of so many events, as one entry.
async fn send(system: &System, events: u32) {
    let sale = |_| json!({"user_id": "ann", "metric": "purchase"});
    let body = json!({"conversions": (0..events).map(sale).collect::<Vec<Value>>()});
    let answer = system.ingest().post_json("/api/v1/conversions", &body).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// The entries that have events, the oldest first. A gateway that heard nothing for seconds has written others between.
async fn entries(system: &System) -> Vec<Entry> {
    let (mut reader, mut found) = (system.queue.reader(Partition(0), EntryId::ZERO), Vec::new());
    while let Read::Entries(more) = reader.next(100, Duration::ZERO).await.unwrap() {
        found.extend(more.into_iter().filter(|entry| !entry.payload.is_empty()));
    }
    found
}

/// `abctl accounting`: exit code and output.
async fn accounting(system: &System, arguments: &[&str]) -> (i32, String) {
    let mut process = Process::of("abctl")
        .unwrap()
        .env("AB_DATABASE_URL", &system.database_url)
        .env("AB_REDIS_URL", system.redis.url())
        .env("AB_API_TOKEN", API_TOKEN)
        .env("AB_ADMIN_TOKEN", ADMIN_TOKEN)
        .arg("accounting");
    for argument in arguments {
        process = process.arg(argument);
    }
    let mut process = process.spawn().unwrap();
    let status = process.wait(LIMIT).await.unwrap();
    (status.code().unwrap(), process.stdout())
}

/// (lost, in flight, recorded, gaps with events in them, streams replaced).
async fn books(system: &System) -> (i64, i64, i64, usize, usize) {
    let books = system.books().await.unwrap();
    assert!(books.total.closes(), "{books:?}");
    let of = |why: &str| {
        books.losses.iter().filter(|l| l.why == why && (l.events > 0 || l.writer.is_none())).count()
    };
    (
        books.total.lost,
        books.total.in_flight,
        books.total.recorded,
        of("missing_entries"),
        of("stream_replaced"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_by_hand_are_named_and_the_books_close() {
    let setup = Setup { partitions: 1, worker: false, ..Setup::default() };
    let mut system = System::start(setup).await.unwrap();
    for events in [1, 2, 4, 8, 16] {
        send(&system, events).await;
    }
    let entries = entries(&system).await;
    assert_eq!(entries.len(), 5, "one entry a request: {entries:?}");
    // One in between, and the last: that shows when its writer says that it is idle.
    let [second, last] = [&entries[1], &entries[4]];
    for gone in [second, last] {
        system.redis.command(&["XDEL", STREAM, &gone.id.to_string()]).await.unwrap();
    }
    system.start_worker().unwrap();
    eventually("both are found out", LIMIT, async || books(&system).await == (18, 0, 13, 2, 0)).await;

    let (code, out) = accounting(&system, &[]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(code, 1, "{out}");
    let named = |entry: &Entry, events: &str| {
        let of = |line: &&&str| {
            line.split_whitespace().collect::<Vec<_>>()[2..5]
                == [entry.number.to_string().as_str(), events, "missing_entries"]
        };
        lines.iter().filter(|line| line.contains("missing_entries")).filter(of).count()
    };
    assert_eq!((named(second, "2"), named(last, "16")), (1, 1), "{out}");
    let total = "accounting: received=31 recorded=13 deduplicated=0 dead=0 discarded=0 in_flight=0 lost=18";
    assert_eq!(lines.last(), Some(&total));
    let (code, out) = accounting(&system, &["--json"]).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["total"]["lost"]), (1, &json!(18)));
    // Operators are told the same over HTTP, others nothing of it.
    let answer = system.admin().get("/api/v1/accounting").await.unwrap().json().unwrap();
    assert_eq!(answer["losses"], told["losses"]);
    let loss = &told["losses"][0];
    assert_eq!(
        (&loss["partition"], &loss["first"], &loss["last"], &loss["events"]),
        (&json!(0), &json!(last.number), &json!(last.number), &json!(16))
    );
    let reader = testkit::http::Client::at(system.analyzer_addr()).bearer(API_TOKEN);
    assert!(reader.get("/api/v1/accounting").await.unwrap().json().unwrap().get("losses").is_none());

    // The stream is replaced by an older one, with entries that were applied: in the books once, and nothing more is
    // lost.
    system.redis.command(&["COPY", STREAM, "older{events:00}"]).await.unwrap();
    send(&system, 32).await;
    eventually("it is applied", LIMIT, async || books(&system).await == (18, 0, 45, 2, 0)).await;
    system.redis.command(&["RENAME", "older{events:00}", STREAM]).await.unwrap();
    eventually("the older one is read", LIMIT, async || books(&system).await == (18, 0, 45, 2, 1)).await;
    send(&system, 64).await;
    eventually("work goes on", LIMIT, async || books(&system).await == (18, 0, 109, 2, 1)).await;
    system.stop().await.unwrap();
}
