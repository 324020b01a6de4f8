//! What one transaction does with each kind of event.

use crate::rig::{Rig, conversions, exposures, frame};
use domain::{BatchId, ExperimentId};
use ingest_worker::apply::ApplyError;
use queue::frame::{Control, Events, Frame, Group};
use std::collections::BTreeMap;
use store::Actor;

const PURCHASE: &str = r#"[{"key":"purchase","type":"mean"}]"#;
const TENANTS: ExperimentId = ExperimentId::NONE;

on_both!(
    a_conversion_counts_once_whatever_comes_first,
    a_tenants_conversion_counts_in_every_experiment_that_uses_it,
    an_entry_written_twice_is_skipped,
    what_cannot_be_read_is_kept_and_does_not_block,
    events_of_a_deleted_experiment_are_discarded,
    an_event_that_overflows_is_a_dead_letter_and_the_rest_counts,
    days_keep_their_rows,
    a_writer_silent_for_a_day_is_forgotten,
);

async fn a_conversion_counts_once_whatever_comes_first(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    // Before its exposure, behind it in the same chunk, and again in a later one.
    let first = rig.entry(&[frame(
        BatchId(uuid::Uuid::now_v7()),
        vec![
            conversions(e.id, &[("u", "purchase", 5, 10, "k1")]),
            exposures(&e, &[("u", 1, 0)]),
            conversions(e.id, &[("u", "purchase", 7, 20, "k2"), ("u", "purchase", 7, 20, "k2")]),
        ],
    )]);
    let again = rig.entry(&[frame(
        BatchId(uuid::Uuid::now_v7()),
        vec![conversions(e.id, &[("u", "purchase", 5, 10, "k1"), ("u", "purchase", 8, 20, "k2")])],
    )]);
    let applied = rig.apply(&[first]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (3, 1));
    let applied = rig.apply(&[again]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.deduplicated), (0, 2));
    // The same key with another value is told.
    assert_eq!(applied.receipts[0].conflicts, 1);
    assert_eq!(rig.counter("conflicts").await, 1);

    let rows = rig.store.answer(&e, None).await.unwrap();
    assert_eq!(rows.len(), 1);
    let plan = e.plan();
    let features = plan.metric(&e.definition.metrics[0]);
    let sum = rows[0].moments.product(&plan, domain::plan::Feature::One, features.outcome);
    assert_eq!(sum, 12_000_000);
    rig.assert_books(&[&e]).await;
}

async fn a_tenants_conversion_counts_in_every_experiment_that_uses_it(mut rig: Rig) {
    let one = rig.experiment("one", PURCHASE).await;
    let two = rig.experiment("two", PURCHASE).await;
    let other = rig.experiment("other", r#"[{"key":"signup","type":"proportion"}]"#).await;
    let unused = rig.experiment("unused", PURCHASE).await;
    let entries = [
        rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&one, &[("u", 0, 0)])])]),
        rig.entry(&[frame(
            BatchId(uuid::Uuid::now_v7()),
            vec![conversions(TENANTS, &[("u", "purchase", 3, 5, "k")])],
        )]),
        rig.entry(&[frame(
            BatchId(uuid::Uuid::now_v7()),
            vec![exposures(&two, &[("u", 1, 1)]), exposures(&other, &[("u", 1, 1)])],
        )]),
        rig.entry(&[frame(
            BatchId(uuid::Uuid::now_v7()),
            vec![conversions(TENANTS, &[("u", "purchase", 3, 5, "k")])],
        )]),
    ];
    for entry in entries {
        rig.apply(&[entry]).await.unwrap();
    }
    for (e, expected) in [(&one, 1), (&two, 1), (&other, 0)] {
        let rows = rig.store.answer(e, None).await.unwrap();
        let plan = e.plan();
        let count = plan.metric(&e.definition.metrics[0]).count;
        let counted = rows[0].moments.product(&plan, domain::plan::Feature::One, count);
        assert_eq!(counted, expected, "{}", e.key);
    }
    assert!(
        rig.store.answer(&unused, None).await.unwrap().is_empty(),
        "no enrollment where nobody was exposed"
    );
    rig.assert_books(&[&one, &two, &other, &unused]).await;
}

async fn an_entry_written_twice_is_skipped(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let entry = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])])]);
    let mut copy = entry.clone();
    copy.id.seq += 1;
    rig.apply(&[entry, copy.clone()]).await.unwrap();
    copy.id.seq += 1;
    let applied = rig.apply(&[copy]).await.unwrap();
    assert_eq!((applied.resent, applied.totals.recorded, applied.totals.deduplicated), (1, 0, 0));
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded, account.deduplicated), (1, 1, 0));
}

async fn what_cannot_be_read_is_kept_and_does_not_block(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let good = frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])]);
    let mut damaged = queue::frame::encode(&good).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let half = rig.raw_entry([damaged.clone(), queue::frame::encode(&good).unwrap()].concat(), 2);
    let garbage = rig.raw_entry(b"no frame at all".to_vec(), 3);
    let mut foreign = rig.raw_entry(b"field".to_vec(), 0);
    foreign.malformed = true;
    let control = Group {
        experiment: TENANTS,
        after_stop: false,
        events: Events::Controls(vec![Control::Erase { user_id: "u" }]),
    };
    let control = frame(BatchId(uuid::Uuid::now_v7()), vec![control]);
    let unsupported = rig.entry(std::slice::from_ref(&control));
    let applied = rig.apply(&[half, garbage, foreign, unsupported]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.dead_lettered, applied.lost), (1, 5, 0));
    let kept: Vec<(String, i64, Vec<u8>)> = rig
        .letters()
        .await
        .into_iter()
        .map(|letter| (letter.reason, letter.events, letter.payload))
        .collect();
    let expected = [
        ("undecodable_frame", 1, damaged),
        ("undecodable_frame", 3, b"no frame at all".to_vec()),
        ("malformed_entry", 0, b"field".to_vec()),
        ("unsupported_control", 1, queue::frame::encode(&Frame { receipt: None, ..control }).unwrap()),
    ];
    assert_eq!(kept, expected.map(|(reason, n, payload)| (reason.to_owned(), n, payload)));
    rig.assert_books(&[&e]).await;
}

async fn events_of_a_deleted_experiment_are_discarded(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let before = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])])]);
    let after = rig.entry(&[frame(
        BatchId(uuid::Uuid::now_v7()),
        vec![exposures(&e, &[("v", 0, 0)]), conversions(e.id, &[("u", "purchase", 1, 1, "k")])],
    )]);
    rig.apply(&[before]).await.unwrap();
    let actor = Actor { name: "test", request_id: "r" };
    assert!(rig.store.delete_experiment(&e.tenant, e.id, actor).await.unwrap());
    // The owner's memory is out of date, and the transaction says so before anything is written.
    let stale = rig.apply(std::slice::from_ref(&after)).await;
    assert!(matches!(stale, Err(ApplyError::Moved(_))), "{stale:?}");
    rig.forget().await;
    let applied = rig.apply(&[after]).await.unwrap();
    assert_eq!((applied.totals.discarded, applied.totals.recorded), (2, 0));
    assert_eq!(applied.discards, BTreeMap::from([("deleted_experiment", 2)]));
    let counted = "SELECT CAST(sum(n) AS bigint) FROM counters WHERE name = 'discarded:deleted_experiment'";
    assert_eq!(rig.count(counted).await, 2);
    assert_eq!(rig.count("SELECT count(*) FROM conversions").await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM moments").await, 1, "its sums are kept");
}

async fn an_event_that_overflows_is_a_dead_letter_and_the_rest_counts(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let entry =
        rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0), ("v", 0, 0)])])]);
    rig.apply(&[entry]).await.unwrap();
    // No client can bring a user here; a damaged row could.
    let full = domain::Tally { count: u32::MAX, sum: 0, ..domain::Tally::default() };
    let id = domain::UnitId::of(crate::rig::TENANT, "u");
    let rows = rig.store.units((id, id), None, 1).await.unwrap();
    let mut unit = rows[0].unit.clone();
    unit.enrollments[0].tallies[0] = full;
    rig.damage(id, &unit).await;
    rig.forget().await;
    let entry = rig.entry(&[frame(
        BatchId(uuid::Uuid::now_v7()),
        vec![conversions(e.id, &[("u", "purchase", 1, 1, "k"), ("v", "purchase", 1, 1, "k")])],
    )]);
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.dead_lettered), (1, 1));
    assert_eq!(rig.count("SELECT count(*) FROM conversions").await, 1);
    assert_eq!(rig.count("SELECT count(*) FROM dead_letters WHERE reason = 'overflow'").await, 1);
}

async fn days_keep_their_rows(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let monday = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])])]);
    rig.next_day();
    let tuesday = rig.entry(&[frame(
        BatchId(uuid::Uuid::now_v7()),
        vec![conversions(e.id, &[("u", "purchase", 2, 9, "k")]), exposures(&e, &[("v", 1, 0)])],
    )]);
    rig.apply(&[monday]).await.unwrap();
    rig.apply(&[tuesday]).await.unwrap();
    let then = rig.store.answer(&e, Some(crate::rig::today())).await.unwrap();
    let now = rig.store.answer(&e, None).await.unwrap();
    assert_eq!((then.len(), now.len()), (1, 2));
    assert_ne!(then[0].moments, now[0].moments);
    rig.assert_books(&[&e]).await;
}

async fn a_writer_silent_for_a_day_is_forgotten(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let old = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("u", 0, 0)])])]);
    rig.next_day();
    rig.next_day();
    let again = old.clone();
    let mut new = rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), vec![exposures(&e, &[("v", 0, 0)])])]);
    (new.writer, new.number, new.total) = (uuid::Uuid::new_v4(), 1, 1);
    rig.apply(&[old]).await.unwrap();
    let applied = rig.apply(&[new]).await.unwrap();
    assert_eq!(applied.forgotten.len(), 1);
    assert_eq!(rig.count("SELECT count(*) FROM writers").await, 1);
    // Its entries may still be in the stream, and are met again when that is read from its beginning.
    let applied = rig.apply(&[again]).await.unwrap();
    assert_eq!((applied.resent, applied.lost, applied.totals.deduplicated), (1, 0, 0));
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded), (2, 2));
    rig.assert_books(&[&e]).await;
}
