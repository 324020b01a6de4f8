//! What is particular to the queue in memory: ids under a clock that is not to be trusted, and commits that release
//! requests.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use domain::{BatchId, Partition, Timestamp};
use queue::Queue;
use queue::local::{LocalConfig, LocalQueue};
use queue::producer::{Outgoing, Producer};
use queue::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use queue::receipts::{ReceiptMessage, Totals};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

use crate::support::{P0, frame_named, names, soon};

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn at(ms: i64) -> Clock {
        Clock(Arc::new(AtomicI64::new(ms * 1000)))
    }

    fn set(&self, ms: i64) {
        self.0.store(ms * 1000, Ordering::Relaxed);
    }

    fn queue(&self) -> LocalQueue {
        let clock = Arc::clone(&self.0);
        let now = move || Timestamp(clock.load(Ordering::Relaxed));
        LocalQueue::with(LocalConfig { clock: Arc::new(now), ..LocalConfig::new(2) })
    }
}

/// Queues a frame of one event for each name.
async fn queue_up(producer: &dyn Producer, names: &[&str]) {
    for name in names {
        let late = producer.send(vec![frame_named(name, 1)], Instant::now()).await;
        assert!(late.is_err(), "nobody has applied it");
    }
}

async fn read(reader: &mut dyn Reader, max: usize) -> Vec<Entry> {
    match reader.next(max, Duration::ZERO).await.unwrap() {
        Read::Entries(entries) => entries,
        other => panic!("no entries: {other:?}"),
    }
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.to_string()).collect()
}

#[tokio::test]
async fn ids_are_of_the_clock_and_ascend_whatever_it_does() {
    let clock = Clock::at(1_000);
    let queue = clock.queue();
    let producer = queue.producer();
    let mut reader = queue.reader(P0, EntryId::ZERO);
    queue_up(&*producer, &["a", "b"]).await;
    assert_eq!(ids(&read(&mut *reader, 10).await), ["1000-0", "1000-1"]);
    clock.set(400);
    queue_up(&*producer, &["c"]).await;
    assert_eq!(ids(&read(&mut *reader, 10).await), ["1000-2"]);
    clock.set(1_001);
    queue_up(&*producer, &["d"]).await;
    assert_eq!(ids(&read(&mut *reader, 10).await), ["1001-0"]);
    // Read again they are the same.
    let again = read(&mut *queue.reader(P0, EntryId::ZERO), 10).await;
    assert_eq!(ids(&again), ["1000-0", "1000-1", "1000-2", "1001-0"]);
}

/// The process before had a clock that was ahead, and requests come in before the owner begins.
#[tokio::test]
async fn ids_are_above_the_position_of_an_earlier_process() {
    let clock = Clock::at(1_000);
    let queue = clock.queue();
    let producer = queue.producer();
    queue_up(&*producer, &["a"]).await;
    let position = EntryId { ms: 5_000, seq: 7 };
    let mut reader = queue.reader(P0, position);
    queue_up(&*producer, &["b"]).await;
    let entries = read(&mut *reader, 10).await;
    assert_eq!(ids(&entries), ["5000-8", "5000-9"]);
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), ["a", "b"]);
    let last = EntryId { ms: 6_000, seq: u64::MAX };
    reader.seek(last);
    queue_up(&*producer, &["c"]).await;
    assert_eq!(ids(&read(&mut *reader, 10).await), ["6001-0"]);
}

#[tokio::test]
async fn a_request_waits_for_all_of_its_partitions() {
    let queue = LocalQueue::new(2);
    let producer: Arc<dyn Producer> = Arc::from(queue.producer());
    let to = |partition, name| Outgoing { partition: Partition(partition), ..frame_named(name, 1) };
    let sender = Arc::clone(&producer);
    let both = vec![to(0, "here"), to(1, "there"), to(0, "here again")];
    let request: JoinHandle<_> = tokio::spawn(async move { sender.send(both, soon()).await });
    yield_now().await;
    let reporter = queue.reporter();
    let mut waiting = Vec::new();
    for partition in [P0, Partition(1)] {
        waiting.extend(
            read(&mut *queue.reader(partition, EntryId::ZERO), 10).await.into_iter().map(|e| (partition, e)),
        );
    }
    assert_eq!(waiting.len(), 3);
    for (partition, entry) in waiting {
        yield_now().await;
        assert!(!request.is_finished());
        let totals = [(entry.writer, entry.total)];
        reporter.report(partition, &totals, &[], entry.id, Duration::ZERO).await;
    }
    request.await.unwrap().unwrap();
}

/// The last words of an owner that failed, behind those of its successor.
#[tokio::test]
async fn a_late_report_takes_nothing_back() {
    let queue = LocalQueue::new(1);
    let producer = queue.producer();
    queue_up(&*producer, &["a", "b", "c"]).await;
    let entries = read(&mut *queue.reader(P0, EntryId::ZERO), 10).await;
    let reporter = queue.reporter();
    for entry in [&entries[1], &entries[0]] {
        reporter.report(P0, &[(entry.writer, entry.total)], &[], entry.id, Duration::ZERO).await;
    }
    assert_eq!(producer.backlog().events, 1);
    assert_eq!(queue.sent_totals().await.unwrap()[0].applied, 2);
    // Forgotten while an entry of it is here, a writer stays.
    reporter.forget(P0, &[entries[0].writer]).await;
    reporter.report(P0, &[(entries[2].writer, 3)], &[], entries[2].id, Duration::ZERO).await;
    assert_eq!(producer.backlog().events, 0);
}

#[tokio::test]
async fn receipts_are_told_before_the_request_is_released() {
    let queue = LocalQueue::new(1);
    let (producer, receipts) = (queue.producer(), queue.receipts());
    let batch = BatchId(uuid::Uuid::now_v7());
    let waiter = receipts.expect(batch, "r", 1);
    let owner = async {
        let entries = read(&mut *queue.reader(P0, EntryId::ZERO), 10).await;
        let receipt = ReceiptMessage {
            address: receipts.address().to_owned(),
            request_id: "r".to_owned(),
            batch,
            part: 0,
            recorded: 1,
            deduplicated: 0,
            conflicts: 0,
            dead_lettered: 0,
        };
        let totals = [(entries[0].writer, entries[0].total)];
        queue.reporter().report(P0, &totals, &[receipt], entries[0].id, Duration::ZERO).await;
    };
    let send = async {
        producer.send(vec![frame_named("r", 1)], soon()).await.unwrap();
        // Without waiting: it must be there.
        waiter.wait(Instant::now()).await
    };
    let (told, ()) = tokio::join!(send, owner);
    assert_eq!(told, Some(Totals { recorded: 1, ..Totals::default() }));
}

#[tokio::test]
async fn frames_without_events_are_not_written() {
    let queue = LocalQueue::new(1);
    let producer = queue.producer();
    producer.send(vec![frame_named("empty", 0)], soon()).await.unwrap();
    queue_up(&*producer, &["a"]).await;
    let entries = read(&mut *queue.reader(P0, EntryId::ZERO), 10).await;
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_read_is_bounded_in_bytes() {
    let queue = LocalQueue::new(1);
    let producer = queue.producer();
    for _ in 0..12 {
        let frame = Outgoing { partition: P0, bytes: vec![0; 1 << 20], events: 1 };
        assert!(producer.send(vec![frame], Instant::now()).await.is_err());
    }
    assert_eq!(producer.backlog().memory_fraction, 0.75);
    let mut reader = queue.reader(P0, EntryId::ZERO);
    let reads = [read(&mut *reader, 100).await.len(), read(&mut *reader, 100).await.len()];
    assert_eq!(reads, [8, 4]);
    let large = Outgoing { partition: P0, bytes: vec![0; 10 << 20], events: 1 };
    let other = Outgoing { partition: Partition(0), ..large.clone() };
    let queue = LocalQueue::new(1);
    let producer = queue.producer();
    assert!(producer.send(vec![large], Instant::now()).await.is_err());
    assert!(producer.send(vec![other], Instant::now()).await.is_err());
    assert_eq!(read(&mut *queue.reader(P0, EntryId::ZERO), 100).await.len(), 1, "larger, but alone");
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_entry_wakes_the_reader_that_waits() {
    let queue = LocalQueue::new(1);
    let producer = queue.producer();
    let mut reader = queue.reader(P0, EntryId::ZERO);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut next = pin!(reader.next(10, BLOCK_MAX));
    assert!(next.as_mut().poll(&mut context).is_pending());
    assert!(!woken.0.load(Ordering::Relaxed));
    queue_up(&*producer, &["a"]).await;
    assert!(woken.0.load(Ordering::Relaxed));
    let Poll::Ready(Ok(Read::Entries(entries))) = next.as_mut().poll(&mut context) else {
        panic!("it was woken for nothing")
    };
    assert_eq!(names(&entries[0]), ["a"]);
}
