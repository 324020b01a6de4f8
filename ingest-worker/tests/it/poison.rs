//! Values that the database refuses: their events are dead-lettered, and nothing else.
//!
//! A gateway lets none of them through; here they come from a writer that is not ours.

use crate::rig::{Rig, TENANT, conversions, exposures, frame};
use crate::tables::Backend;
use domain::{BatchId, ExperimentId};
use ingest_worker::apply::ApplyError;
use proptest::prelude::*;
use queue::frame::Frame;

const PURCHASE: &str = r#"[{"key":"purchase","type":"mean"}]"#;
const TENANTS: ExperimentId = ExperimentId::NONE;

fn batch() -> BatchId {
    BatchId(uuid::Uuid::now_v7())
}

on_both!(
    only_the_refused_events_are_dead_lettered,
    several_entries_are_refused_together_and_applied_one_by_one,
    a_frame_full_of_refused_events_is_given_up_whole,
    names_of_a_frame_that_cannot_be_stored_make_it_unreadable,
);

async fn only_the_refused_events_are_dead_lettered(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    // Text in a database holds no NUL: in a user, a key, a metric, first, in the middle and last.
    let frames = [
        frame(
            batch(),
            vec![
                conversions(TENANTS, &[("a\0", "purchase", 1, 5, "k"), ("b", "purchase", 2, 5, "k")]),
                exposures(&e, &[("b", 0, 0), ("c", 1, 0), ("d\0", 1, 0)]),
            ],
        ),
        frame(
            batch(),
            vec![conversions(
                e.id,
                &[
                    ("b", "purchase", 3, 6, "k\0"),
                    ("c", "purchase", 4, 6, "k"),
                    ("c", "pur\0chase", 5, 6, "l"),
                ],
            )],
        ),
    ];
    let entry = rig.entry(&frames);
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.dead_lettered), (4, 4));
    assert_eq!(
        applied.receipts.iter().map(|r| (r.recorded, r.dead_lettered)).collect::<Vec<_>>(),
        [(3, 2), (1, 2)]
    );
    assert_eq!(rig.count("SELECT count(*) FROM dead_letters WHERE reason = 'refused'").await, 4);
    assert_eq!(rig.count("SELECT count(*) FROM conversions").await, 2);
    // Each is kept as a frame of its own, the detail names no value.
    let refused = [
        (0, conversions(TENANTS, &[("a\0", "purchase", 1, 5, "k")])),
        (0, exposures(&e, &[("d\0", 1, 0)])),
        (1, conversions(e.id, &[("b", "purchase", 3, 6, "k\0")])),
        (1, conversions(e.id, &[("c", "pur\0chase", 5, 6, "l")])),
    ];
    for (letter, (of, group)) in rig.letters().await.into_iter().zip(refused) {
        let alone = Frame { receipt: None, groups: vec![group], ..frames[of].clone() };
        assert_eq!(queue::frame::decode(&letter.payload).unwrap(), alone);
        let details = ["database: SQLSTATE 22021", "the database file: a text holds a NUL character"];
        assert!(details.contains(&letter.detail.as_str()), "{}", letter.detail);
    }
    rig.assert_books(&[&e]).await;

    // The partition goes on.
    let next = rig.entry(&[frame(batch(), vec![exposures(&e, &[("e", 0, 9)])])]);
    assert_eq!(rig.apply(&[next]).await.unwrap().totals.recorded, 1);
    rig.assert_books(&[&e]).await;
}

async fn several_entries_are_refused_together_and_applied_one_by_one(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let entries = [
        rig.entry(&[frame(batch(), vec![exposures(&e, &[("a", 0, 0)])])]),
        rig.entry(&[frame(batch(), vec![conversions(TENANTS, &[("a", "purchase", 1, 5, "\0")])])]),
        rig.entry(&[frame(batch(), vec![conversions(TENANTS, &[("a", "purchase", 2, 5, "k")])])]),
    ];
    assert!(matches!(rig.apply(&entries).await, Err(ApplyError::Refused(_))));
    assert_eq!(rig.count("SELECT count(*) FROM conversions").await, 0);
    for entry in entries {
        rig.apply(&[entry]).await.unwrap();
    }
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded, account.dead_lettered), (3, 2, 1));
    rig.assert_books(&[&e]).await;
}

async fn a_frame_full_of_refused_events_is_given_up_whole(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let keys: Vec<String> = (0..300).map(|i| format!("{i}\0")).collect();
    let rows: Vec<_> = keys.iter().map(|k| ("u", "purchase", 1, 5, k.as_str())).collect();
    let full = frame(batch(), vec![conversions(TENANTS, &rows), exposures(&e, &[("v", 0, 0)])]);
    let good = frame(batch(), vec![exposures(&e, &[("w", 0, 0)])]);
    let entry = rig.entry(&[full, good]);
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.dead_lettered), (1, 301));
    rig.assert_books(&[&e]).await;
}

async fn names_of_a_frame_that_cannot_be_stored_make_it_unreadable(mut rig: Rig) {
    let e = rig.experiment("one", PURCHASE).await;
    let good = || frame(batch(), vec![exposures(&e, &[("a", 0, 0)])]);
    let tenant = format!("{TENANT}\0");
    let entry = rig.entry(&[
        Frame { tenant: &tenant, ..good() },
        Frame { request_id: "r\0", ..good() },
        Frame { tenant: "", ..good() },
        good(),
    ]);
    let applied = rig.apply(&[entry]).await.unwrap();
    assert_eq!((applied.totals.recorded, applied.totals.dead_lettered), (1, 3));
    assert_eq!(rig.count("SELECT count(*) FROM dead_letters WHERE reason = 'malformed_frame'").await, 3);
    rig.assert_books(&[&e]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whichever events are refused: the others are recorded, every one.
    #[test]
    fn the_search_finds_exactly_the_refused(
        backend in prop_oneof![Just(Backend::Postgres), Just(Backend::Sqlite)],
        refused in proptest::collection::vec(proptest::bool::weighted(0.08), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(backend).await;
            let keys: Vec<String> =
                refused.iter().enumerate().map(|(i, bad)| if *bad { format!("{i}\0") } else { i.to_string() }).collect();
            // A frame each: none is given up for its neighbours.
            let rows: Vec<_> = keys.iter().map(|k| [("u", "purchase", 1, 5, k.as_str())]).collect();
            let frames: Vec<_> = rows.iter().map(|r| frame(batch(), vec![conversions(TENANTS, r)])).collect();
            let entry = rig.entry(&frames);
            let applied = rig.apply(&[entry]).await.unwrap();
            let bad = refused.iter().filter(|bad| **bad).count() as u64;
            assert_eq!((applied.totals.recorded, applied.totals.dead_lettered), (refused.len() as u64 - bad, bad));
            rig.assert_books(&[]).await;
        });
    }
}
