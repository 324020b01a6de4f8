//! Requests: what `Ok` means, in which order frames come, what happens when there is no room or no time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Partition;
use queue::producer::{Outgoing, SendError};
use queue::reader::{Entry, EntryId};
use tokio::time::Instant;

use super::of_each;
use super::rig::{Kind, Setup};
use crate::support::{P0, eventually, frame_named, names, soon};

of_each! {
    frames_come_in_order_numbered_with_running_totals,
    ok_means_durable,
    a_request_finds_room_for_all_of_its_frames_or_for_none,
    a_single_larger_frame_is_taken_when_alone,
    past_the_deadline_the_outcome_is_unknown_and_the_frame_arrives,
    a_frame_arrives_although_its_request_hung_up,
    draining_takes_no_more_and_ends_when_everything_is_durable,
    a_writer_silent_for_long_begins_anew,
    counters_count_what_was_acknowledged,
    nothing_to_send_is_sent_at_once,
}

fn to(partition: u16, name: &str, events: u32) -> Outgoing {
    Outgoing { partition: Partition(partition), ..frame_named(name, events) }
}

async fn frames_come_in_order_numbered_with_running_totals(kind: Kind) {
    let rig = kind.rig_with(Setup { partitions: 2, ..Setup::default() }).await;
    let mut requests = Vec::new();
    for i in 0..20 {
        requests.push(rig.put(&format!("{i}"), 1 + i % 3).await);
        requests.push(rig.put_in(Partition(1), &format!("other {i}"), 7).await);
    }
    for partition in [P0, Partition(1)] {
        let mut owner = rig.owner(partition, EntryId::ZERO);
        let mut entries: Vec<Entry> = Vec::new();
        while entries.iter().flat_map(names).count() < 20 {
            entries.extend(owner.apply(3).await);
        }
        let prefix = if partition == P0 { "" } else { "other " };
        let wanted: Vec<String> = (0..20).map(|i| format!("{prefix}{i}")).collect();
        assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), wanted);
        let (mut number, mut total) = (0, 0);
        for entry in &entries {
            number += 1;
            total += queue::frame::announced(&entry.payload);
            assert_eq!((entry.number, entry.total), (number, total));
            assert_eq!(entry.writer, entries[0].writer);
            assert!(!entry.malformed && !entry.writer.is_nil());
        }
        assert!(entries.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
    for request in requests {
        request.await.unwrap().unwrap();
    }
}

async fn ok_means_durable(kind: Kind) {
    let rig = kind.rig().await;
    let request = rig.put("a", 3).await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let entries = owner.read(10).await;
    assert_eq!(names(&entries[0]), ["a"]);
    if rig.queue.settles_on_commit() {
        // Read is not committed; part of it is not all of it.
        let writer = entries[0].writer;
        owner.report_totals(&[(writer, 2), (uuid::Uuid::new_v4(), 1_000)]).await;
        tokio::task::yield_now().await;
        assert!(!request.is_finished());
        assert_eq!(rig.producer.backlog().events, 3);
        owner.report(&entries, &[]).await;
        request.await.unwrap().unwrap();
        assert_eq!((rig.producer.queued_bytes(), rig.producer.backlog().events), (0, 0));
    } else {
        request.await.unwrap().unwrap();
        assert_eq!(rig.all(P0).await, entries, "it stays although nobody applied it");
    }
}

async fn a_request_finds_room_for_all_of_its_frames_or_for_none(kind: Kind) {
    let size = frame_named("a", 10).bytes.len();
    let rig = kind.rig_with(Setup { partitions: 2, queue_bytes: size, ..Setup::default() }).await;
    rig.hold();
    let waiting = rig.request(vec![to(1, "a", 10)]);
    eventually("it is queued", || async { rig.producer.queued_bytes() == size }).await;
    let refused = rig.producer.send(vec![to(0, "b", 10), to(1, "b", 10)], soon()).await;
    assert_eq!(refused, Err(SendError::Full(Partition(1))));
    let twice = rig.producer.send(vec![to(0, "c", 10), to(0, "c", 10)], soon()).await;
    assert_eq!(twice, Err(SendError::Full(P0)));
    let nowhere = rig.producer.send(vec![to(0, "d", 10), to(2, "d", 10)], soon()).await;
    assert_eq!(nowhere, Err(SendError::NoPartition(Partition(2))));
    assert_eq!(rig.producer.queued_bytes(), size);

    rig.release();
    waiting.await.unwrap().unwrap();
    rig.producer.send(vec![to(0, "e", 10), to(1, "e", 10)], soon()).await.unwrap();
    assert_eq!(rig.producer.queued_bytes(), 0);
    let totals = rig.queue.sent_totals().await.unwrap();
    let mut sent: Vec<_> = totals.iter().map(|t| (t.partition, t.sent)).collect();
    sent.sort();
    assert_eq!(sent, [(P0, 10), (Partition(1), 20)], "nothing of what was refused");
}

async fn a_single_larger_frame_is_taken_when_alone(kind: Kind) {
    let rig = kind.rig_with(Setup { queue_bytes: 100, ..Setup::default() }).await;
    rig.hold();
    let large = rig.request(vec![frame_named("large", 100)]);
    eventually("it is queued", || async { rig.producer.queued_bytes() > 100 }).await;
    let refused = rig.producer.send(vec![frame_named("small", 1)], soon()).await;
    assert_eq!(refused, Err(SendError::Full(P0)));
    rig.release();
    large.await.unwrap().unwrap();
    rig.producer.send(vec![frame_named("small", 1)], soon()).await.unwrap();
}

async fn past_the_deadline_the_outcome_is_unknown_and_the_frame_arrives(kind: Kind) {
    let rig = kind.rig().await;
    rig.hold();
    let late = rig.producer.send(vec![frame_named("late", 1)], Instant::now()).await;
    assert_eq!(late, Err(SendError::Unknown));
    assert!(rig.producer.queued_bytes() > 0);
    let next = rig.request(vec![frame_named("next", 1)]);
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let mut seen = Vec::new();
    if !rig.queue.settles_on_commit() {
        rig.release();
    }
    while seen.len() < 2 {
        seen.extend(owner.apply(10).await.iter().flat_map(names));
    }
    assert_eq!(seen, ["late", "next"]);
    next.await.unwrap().unwrap();
    assert_eq!(rig.producer.queued_bytes(), 0);
}

async fn a_frame_arrives_although_its_request_hung_up(kind: Kind) {
    let rig = kind.rig().await;
    rig.hold();
    for name in ["a", "b"] {
        let bytes = rig.producer.queued_bytes();
        let request = rig.request(vec![frame_named(name, 1)]);
        eventually("it is queued", || async { rig.producer.queued_bytes() > bytes }).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }
    if !rig.queue.settles_on_commit() {
        rig.release();
    }
    let last = rig.put("c", 1).await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(owner.apply(10).await.iter().flat_map(names));
    }
    assert_eq!(seen, ["a", "b", "c"]);
    last.await.unwrap().unwrap();
}

async fn draining_takes_no_more_and_ends_when_everything_is_durable(kind: Kind) {
    let rig = kind.rig().await;
    rig.hold();
    let mut requests = Vec::new();
    for name in ["a", "b"] {
        let bytes = rig.producer.queued_bytes();
        requests.push(rig.request(vec![frame_named(name, 1)]));
        eventually("it is queued", || async { rig.producer.queued_bytes() > bytes }).await;
    }
    assert!(!rig.producer.drain(Instant::now()).await, "nothing is acknowledged");
    assert_eq!(rig.producer.send(vec![frame_named("c", 1)], soon()).await, Err(SendError::Closed));
    rig.release();
    assert!(rig.producer.drain(soon()).await);
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(rig.producer.queued_bytes(), 0);
    assert_eq!(rig.queue.sent_totals().await.unwrap()[0].sent, 2);
}

async fn a_writer_silent_for_long_begins_anew(kind: Kind) {
    let rig = kind.rig_with(Setup { renew_after: Duration::ZERO, ..Setup::default() }).await;
    let (first, second) = (rig.put("a", 5).await, rig.put("b", 6).await);
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let mut entries = Vec::new();
    while entries.len() < 2 {
        entries.extend(owner.apply(10).await);
    }
    assert_eq!(entries.iter().map(|e| (e.number, e.total)).collect::<Vec<_>>(), [(1, 5), (1, 6)]);
    assert_ne!(entries[0].writer, entries[1].writer);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

async fn counters_count_what_was_acknowledged(kind: Kind) {
    let rig = kind.rig().await;
    let bytes = ["a", "b"].map(|name| frame_named(name, 4).bytes.len() as u64);
    let count = || {
        let counters = rig.producer.counters();
        [&counters.entries, &counters.events, &counters.bytes].map(|c| c.load(Ordering::Relaxed))
    };
    assert_eq!(count(), [0, 0, 0]);
    rig.keep_applying(P0);
    rig.producer.send(vec![frame_named("a", 4)], soon()).await.unwrap();
    assert_eq!(count(), [1, 4, bytes[0]]);
    rig.producer.send(vec![frame_named("b", 4)], soon()).await.unwrap();
    assert_eq!(count(), [2, 8, bytes[0] + bytes[1]]);
}

async fn nothing_to_send_is_sent_at_once(kind: Kind) {
    let rig = kind.rig().await;
    rig.hold();
    assert_eq!(rig.producer.send(vec![], Instant::now()).await, Ok(()));
    assert_eq!(rig.queue.weaknesses(Duration::ZERO).await.unwrap(), []);
}
