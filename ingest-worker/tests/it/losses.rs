//! What is gone from a stream is named once, by writer and number, and the books close with it.

use crate::rig::{Rig, conversions, frame};
use crate::yielding::{Commit, Yielding};
use domain::{BatchId, ExperimentId};
use queue::reader::Entry;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

on_both!(
    entries_that_are_gone_are_named,
    a_lost_tail_shows_with_the_next_sign_of_life,
    an_entry_cut_short_is_a_loss,
    a_stream_read_again_has_lost_no_more,
    a_replaced_stream_is_in_the_books_once,
    without_a_loss_there_is_none,
);

/// An entry of so many purchases.
fn purchases(rig: &mut Rig, n: u32) -> Entry {
    let key = Uuid::new_v4().to_string();
    let users: Vec<String> = (0..n).map(|i| format!("u{i}")).collect();
    let mut groups = Vec::new();
    for user in &users {
        groups.push(conversions(ExperimentId::NONE, &[(user, "purchase", 1, 5, &key)]));
    }
    rig.entry(&[frame(BatchId(Uuid::now_v7()), groups)])
}

/// (first, last, events, why), in the order in which they were found.
async fn losses(rig: &Rig) -> Vec<(u64, u64, u64, String)> {
    let mut found = rig.store.accounting().await.unwrap().losses;
    found.reverse();
    found.into_iter().map(|l| (l.first, l.last, l.events, l.why)).collect()
}

async fn book(rig: &Rig) -> (i64, i64, i64) {
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    (account.accepted, account.recorded, account.lost)
}

async fn entries_that_are_gone_are_named(mut rig: Rig) {
    let entries: Vec<Entry> = [1, 2, 4, 1, 8, 1].into_iter().map(|n| purchases(&mut rig, n)).collect();
    let [first, _, _, fourth, _, sixth] = &entries[..] else { panic!("six") };
    rig.apply(&[first.clone(), fourth.clone()]).await.unwrap();
    rig.apply(std::slice::from_ref(sixth)).await.unwrap();
    let missing = |first, last, events| (first, last, events, "missing_entries".to_owned());
    assert_eq!(losses(&rig).await, [missing(2, 3, 6), missing(5, 5, 8)]);
    let named = rig.store.accounting().await.unwrap().losses;
    assert!(named.iter().all(|l| l.writer == Some(first.writer) && l.partition.0 == 0));
    assert_eq!(
        named.iter().map(|l| l.entry.as_str()).collect::<Vec<_>>(),
        [&*sixth.id.to_string(), &*fourth.id.to_string()]
    );
    assert!(named[0].seen_at >= named[1].seen_at && named[1].seen_at.0 > 1_577_836_800_000_000, "after 2020");
    assert_eq!(book(&rig).await, (17, 3, 14));
    rig.assert_books(&[]).await;
}

async fn a_lost_tail_shows_with_the_next_sign_of_life(mut rig: Rig) {
    let (first, _gone) = (purchases(&mut rig, 1), purchases(&mut rig, 3));
    let idle = rig.raw_entry(Vec::new(), 0);
    rig.apply(&[first]).await.unwrap();
    assert_eq!(losses(&rig).await, []);
    rig.apply(&[idle]).await.unwrap();
    assert_eq!(losses(&rig).await, [(2, 2, 3, "missing_entries".to_owned())]);
    // A sign of life that is gone holds no event, and is missed all the same.
    let (_gone, last) = (rig.raw_entry(Vec::new(), 0), purchases(&mut rig, 1));
    rig.apply(&[last]).await.unwrap();
    assert_eq!(losses(&rig).await[1..], [(4, 4, 0, "missing_entries".to_owned())]);
    assert_eq!(book(&rig).await, (5, 2, 3));
    rig.assert_books(&[]).await;
}

async fn an_entry_cut_short_is_a_loss(mut rig: Rig) {
    let whole = purchases(&mut rig, 2);
    let cut = rig.raw_entry(whole.payload.to_vec(), 5);
    rig.apply(&[whole, cut]).await.unwrap();
    assert_eq!(losses(&rig).await, [(2, 2, 3, "short_entry".to_owned())]);
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded, account.deduplicated, account.lost), (7, 2, 2, 3));
    rig.assert_books(&[]).await;
}

async fn a_stream_read_again_has_lost_no_more(mut rig: Rig) {
    let mut entries: Vec<Entry> = (0..5).map(|_| purchases(&mut rig, 2)).collect();
    entries.remove(1);
    rig.apply(&entries[..2]).await.unwrap();
    let found = losses(&rig).await;
    assert_eq!(found.len(), 1);
    // From the beginning, by an owner who remembers nothing; then all of it once more.
    rig.forget().await;
    rig.apply(&entries).await.unwrap();
    rig.apply(&entries).await.unwrap();
    assert_eq!(losses(&rig).await, found);
    assert_eq!(book(&rig).await, (10, 8, 2));
    rig.assert_books(&[]).await;
}

async fn a_replaced_stream_is_in_the_books_once(mut rig: Rig) {
    let entry = purchases(&mut rig, 1);
    rig.apply(&[entry]).await.unwrap();
    let (second, third) = (purchases(&mut rig, 1), purchases(&mut rig, 1));
    let commits = Arc::new(Mutex::new([Commit::Failed].into()));
    rig.apply = Yielding::with(rig.store.connect().await.unwrap(), commits);
    rig.cache.replaced = true;
    rig.apply(std::slice::from_ref(&second)).await.unwrap_err();
    assert_eq!(losses(&rig).await, []);
    rig.reconnect().await;
    rig.cache.replaced = true;
    rig.apply(&[second]).await.unwrap();
    rig.apply(&[third]).await.unwrap();
    assert_eq!(losses(&rig).await, [(0, 0, 0, "stream_replaced".to_owned())]);
    assert_eq!(rig.store.accounting().await.unwrap().losses[0].writer, None);
    assert_eq!(book(&rig).await, (3, 3, 0));
    rig.assert_books(&[]).await;
}

async fn without_a_loss_there_is_none(mut rig: Rig) {
    let entries: Vec<Entry> = (0..3).map(|_| purchases(&mut rig, 2)).collect();
    rig.apply(&entries[..2]).await.unwrap();
    rig.apply(&entries).await.unwrap();
    assert_eq!(losses(&rig).await, []);
    assert_eq!(rig.count("SELECT count(*) FROM losses").await, 0);
    assert_eq!(book(&rig).await, (6, 6, 0));
}
