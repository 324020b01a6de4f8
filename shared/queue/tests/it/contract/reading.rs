//! Readers: order, positions, waiting, and what an owner that failed finds.

use std::time::Duration;

use queue::reader::{BLOCK_MAX, EntryId, Read};
use tokio::time::timeout;

use super::of_each;
use super::rig::{Kind, Rig, totals};
use crate::support::{P0, names};

of_each! {
    entries_come_in_order_from_behind_the_position,
    an_owner_that_failed_finds_all_that_was_not_applied,
    what_is_applied_is_behind_the_position_for_good,
    what_arrives_while_a_reader_waits_is_returned,
    a_wait_on_an_empty_stream_ends,
    a_read_dropped_half_way_loses_nothing,
    partitions_are_apart,
}

async fn three(rig: &Rig) {
    for name in ["a", "b", "c"] {
        rig.put(name, 1).await;
    }
}

fn named(read: Read) -> Vec<String> {
    match read {
        Read::Entries(entries) => entries.iter().flat_map(names).collect(),
        other => panic!("no entries: {other:?}"),
    }
}

async fn entries_come_in_order_from_behind_the_position(kind: Kind) {
    let rig = kind.rig().await;
    three(&rig).await;
    let mut reader = rig.queue.reader(P0, EntryId::ZERO);
    let Read::Entries(first) = reader.next(1, Duration::ZERO).await.unwrap() else { panic!("an entry") };
    assert_eq!((first.len(), names(&first[0])), (1, vec!["a".to_owned()]));
    assert_eq!(reader.position(), first[0].id);
    assert!(first[0].id > EntryId::ZERO);
    assert_eq!(named(reader.next(10, Duration::ZERO).await.unwrap()), ["b", "c"]);
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::Idle);

    let mut again = rig.queue.reader(P0, first[0].id);
    assert_eq!(again.position(), first[0].id);
    assert_eq!(named(again.next(1, Duration::ZERO).await.unwrap()), ["b"]);
    again.seek(first[0].id);
    assert_eq!(named(again.next(10, Duration::ZERO).await.unwrap()), ["b", "c"]);
    again.seek(EntryId::ZERO);
    assert_eq!(named(again.next(10, Duration::ZERO).await.unwrap()), ["a", "b", "c"]);
}

async fn an_owner_that_failed_finds_all_that_was_not_applied(kind: Kind) {
    let rig = kind.rig().await;
    three(&rig).await;
    let mut failed = rig.owner(P0, EntryId::ZERO);
    let entries = failed.read(10).await;
    // The first was committed and the queue told; of the second only the database knows.
    failed.report(&entries[..1], &[]).await;
    let late = failed.reporter;
    rig.put("d", 1).await;
    let mut owner = rig.owner(P0, entries[1].id);
    let found = owner.read(10).await;
    assert_eq!(found[0], entries[2], "the same id, number and bytes");
    assert_eq!(found.iter().flat_map(names).collect::<Vec<_>>(), ["c", "d"]);
    owner.report_totals(&totals(&entries[..2])).await;
    owner.report(&found, &[]).await;
    // What the failed one still had to say comes late and changes nothing.
    late.report(P0, &totals(&entries[..2]), &[], entries[1].id, Duration::ZERO).await;
    let mut next = rig.owner(P0, found[1].id);
    assert_eq!(next.reader.next(10, Duration::ZERO).await.unwrap(), Read::Idle);
    let request = rig.put("e", 1).await;
    assert_eq!(next.apply(10).await.iter().flat_map(names).collect::<Vec<_>>(), ["e"]);
    request.await.unwrap().unwrap();
}

async fn what_is_applied_is_behind_the_position_for_good(kind: Kind) {
    let rig = kind.rig().await;
    three(&rig).await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let first = owner.read(1).await;
    owner.report(&first, &[]).await;
    // Whatever was dropped or trimmed, the stream is the same one.
    let mut again = rig.queue.reader(P0, first[0].id);
    assert_eq!(named(again.next(10, Duration::ZERO).await.unwrap()), ["b", "c"]);
    assert_eq!(named(owner.reader.next(10, Duration::ZERO).await.unwrap()), ["b", "c"]);
}

async fn what_arrives_while_a_reader_waits_is_returned(kind: Kind) {
    let rig = kind.rig().await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    let waiting = tokio::spawn(async move { owner.read(10).await });
    tokio::task::yield_now().await;
    rig.put("a", 1).await;
    assert_eq!(names(&waiting.await.unwrap()[0]), ["a"]);
}

async fn a_wait_on_an_empty_stream_ends(kind: Kind) {
    let rig = kind.rig().await;
    let mut reader = rig.queue.reader(P0, EntryId::ZERO);
    assert_eq!(reader.next(10, Duration::from_millis(10)).await.unwrap(), Read::Idle);
    assert_eq!(reader.next(10, Duration::ZERO).await.unwrap(), Read::Idle);
    assert_eq!(reader.position(), EntryId::ZERO);
}

async fn a_read_dropped_half_way_loses_nothing(kind: Kind) {
    let rig = kind.rig().await;
    let mut owner = rig.owner(P0, EntryId::ZERO);
    // Until one is: after a pause of a second a read has come to its end.
    while let Ok(read) = timeout(Duration::from_millis(5), owner.reader.next(10, BLOCK_MAX)).await {
        assert_eq!(read.unwrap(), Read::Idle);
    }
    three(&rig).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(owner.read(10).await.iter().flat_map(names));
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

async fn partitions_are_apart(kind: Kind) {
    let rig = kind.rig_with(super::rig::Setup { partitions: 2, ..Default::default() }).await;
    let other = domain::Partition(1);
    let (here, there) = (rig.put("here", 1).await, rig.put_in(other, "there", 1).await);
    let mut owner = rig.owner(other, EntryId::ZERO);
    assert_eq!(owner.apply(10).await.iter().flat_map(names).collect::<Vec<_>>(), ["there"]);
    there.await.unwrap().unwrap();
    assert_eq!(rig.all(P0).await.iter().flat_map(names).collect::<Vec<_>>(), ["here"]);
    rig.keep_applying(P0);
    here.await.unwrap().unwrap();
}
