//! Totals: what was sent, what of it is applied, and the backlog as their difference.

use std::time::Duration;

use domain::Partition;
use queue::Queue;
use queue::numbering::Stamp;
use queue::producer::Backlog;
use queue::reader::{Ages, EntryId};
use uuid::Uuid;

use super::of_each;
use super::rig::{Kind, Rig, Setup};
use crate::support::{P0, eventually, names};

of_each! {
    the_backlog_is_what_was_sent_and_not_applied,
    totals_alone_settle_what_they_cover,
    writers_are_forgotten_when_told,
    producers_are_told_apart,
    ages_are_those_of_the_first_entries,
}

const P2: Partition = Partition(2);

async fn sent(queue: &dyn Queue) -> Vec<(Partition, u64, u64)> {
    let mut totals: Vec<_> =
        queue.sent_totals().await.unwrap().iter().map(|t| (t.partition, t.sent, t.applied)).collect();
    totals.sort();
    totals
}

async fn backlog(rig: &Rig, wanted: u64) {
    eventually("the backlog is as wanted", || async { rig.producer.backlog().events == wanted }).await;
}

async fn the_backlog_is_what_was_sent_and_not_applied(kind: Kind) {
    let rig = kind.rig_with(Setup { partitions: 3, ..Setup::default() }).await;
    assert_eq!(sent(&*rig.queue).await, []);
    rig.put("a", 2).await;
    rig.put_in(P2, "b", 30).await;
    rig.put_in(P2, "c", 10).await;
    backlog(&rig, 42).await;
    assert_eq!(sent(&*rig.queue).await, [(P0, 2, 0), (P2, 40, 0)]);
    let mut owner = rig.owner(P2, EntryId::ZERO);
    let entries = owner.read(1).await;
    owner.report(&entries, &[]).await;
    backlog(&rig, 12).await;
    assert_eq!(sent(&*rig.queue).await, [(P0, 2, 0), (P2, 40, 30)]);
    // More applied than sent is not less than nothing: the total sent may be told after the entry.
    rig.owner(P0, EntryId::ZERO).report_totals(&[(entries[0].writer, 1000)]).await;
    backlog(&rig, 10).await;
    let Backlog { memory_fraction, reachable, .. } = rig.producer.backlog();
    assert!(reachable && memory_fraction > 0.0 && memory_fraction < 0.5, "{memory_fraction}");
    owner.apply(10).await;
    backlog(&rig, 0).await;
}

/// So begins an owner whose predecessor died between its commit and its report.
async fn totals_alone_settle_what_they_cover(kind: Kind) {
    let rig = kind.rig().await;
    let requests = [rig.put("a", 2).await, rig.put("b", 3).await, rig.put("c", 4).await];
    let entries = rig.all(P0).await;
    let mut owner = rig.owner(P0, entries[1].id);
    owner.report_totals(&[(Uuid::new_v4(), 77), (entries[1].writer, entries[1].total)]).await;
    let [a, b, c] = requests;
    a.await.unwrap().unwrap();
    b.await.unwrap().unwrap();
    backlog(&rig, 4).await;
    if rig.queue.settles_on_commit() {
        assert!(!c.is_finished());
        rig.keep_applying(P0);
    }
    c.await.unwrap().unwrap();
}

async fn writers_are_forgotten_when_told(kind: Kind) {
    let rig = kind.rig().await;
    let request = rig.put("a", 2).await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let entries = owner.apply(10).await;
    request.await.unwrap().unwrap();
    owner.reporter.forget(P0, &[Uuid::new_v4()]).await;
    assert_eq!(sent(&*rig.queue).await, [(P0, 2, 2)]);
    owner.reporter.forget(P0, &[entries[0].writer]).await;
    // Forgotten too early, it goes on all the same. It may have noticed, and said so by an empty entry.
    let left = sent(&*rig.queue).await;
    let noticed = !rig.queue.settles_on_commit() && left == [(P0, 2, 0)];
    assert!(left.is_empty() || noticed, "{left:?}");
    let request = rig.put("b", 5).await;
    let mut found = Vec::new();
    while found.iter().flat_map(names).count() == 0 {
        found.extend(owner.apply(10).await);
    }
    let mut last = entries[0].stamp();
    for entry in &found {
        let events = queue::frame::announced(&entry.payload);
        assert_eq!(entry.stamp(), Stamp { number: last.number + 1, total: last.total + events });
        last = entry.stamp();
    }
    assert_eq!((last.total, found.iter().flat_map(names).collect::<Vec<_>>()), (7, vec!["b".to_owned()]));
    request.await.unwrap().unwrap();
    backlog(&rig, 0).await;
}

async fn producers_are_told_apart(kind: Kind) {
    let rig = kind.rig().await;
    let another = rig.queue.producer();
    rig.put("a", 2).await;
    let frames = vec![crate::support::frame_named("b", 3)];
    let late = another.send(frames, tokio::time::Instant::now() + Duration::from_millis(1)).await;
    assert!(late.is_err() || !rig.queue.settles_on_commit());
    eventually("both are there", || async { rig.all(P0).await.len() == 2 }).await;
    let entries = rig.all(P0).await;
    assert_eq!(entries.iter().map(|e| (e.number, e.total)).collect::<Vec<_>>(), [(1, 2), (1, 3)]);
    assert_ne!(entries[0].writer, entries[1].writer);
    let mut owner = rig.owner(P0, EntryId::ZERO);
    owner.apply(1).await;
    // A writer tells its total right behind the entry.
    eventually("both are told", || async { sent(&*rig.queue).await == [(P0, 2, 2), (P0, 3, 0)] }).await;
}

async fn ages_are_those_of_the_first_entries(kind: Kind) {
    let rig = kind.rig_with(Setup { partitions: 3, ..Setup::default() }).await;
    let ages = async |partition, position| {
        let ages = rig.queue.ages(&[(partition, position), (Partition(1), EntryId::ZERO)]).await.unwrap();
        assert_eq!((ages.len(), ages[1]), (2, Ages::default()), "nothing is in partition 1");
        ages[0]
    };
    assert_eq!(rig.queue.ages(&[]).await.unwrap(), []);
    assert_eq!(ages(P2, EntryId::ZERO).await, Ages::default());
    rig.put_in(P2, "a", 1).await;
    let a = rig.all(P2).await[0].id;
    let old = Duration::from_millis(20);
    eventually("it grows old", || async { ages(P2, EntryId::ZERO).await.waiting > Some(old) }).await;
    rig.put_in(P2, "b", 1).await;
    let b = rig.all(P2).await[1].id;
    // By the queue's clock: what is behind is younger by what lies between them.
    let Ages { kept: Some(first), waiting: Some(second) } = ages(P2, a).await else { panic!("both") };
    assert_eq!(first - second, Duration::from_millis(b.ms - a.ms));
    let Ages { kept: Some(first), waiting: Some(same) } = ages(P2, EntryId::ZERO).await else {
        panic!("both")
    };
    assert_eq!(first, same);
    assert_eq!(ages(P2, b).await.waiting, None);
    // What is applied is kept by the one, and not by the other.
    let mut owner = rig.owner(P2, EntryId::ZERO);
    owner.apply(10).await;
    let Ages { kept, waiting } = ages(P2, b).await;
    assert_eq!((kept.is_none(), waiting), (rig.queue.settles_on_commit(), None));
}
