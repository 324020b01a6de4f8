//! The apply transaction: the position moves by compare-and-set, and all that is written with it or nothing.

use crate::db::{Db, PARTITIONS, TENANT};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, row, unit_of};
use domain::codec::encode_unit;
use domain::{Day, ExperimentId, Partition};
use std::time::Duration;
use store::apply::{Advance, Changes, Count, DeadLetter, HistoryOf, NewReceipt, NewUnit, Outcome};
use store::{ErrorKind, RECORDED, StoreError, WriterRow};
use uuid::Uuid;

on_both!(
    a_partition_begins_at_the_beginning,
    a_commit_is_seen_by_everybody,
    a_position_that_was_moved_lets_nobody_in,
    a_position_that_comes_again_raises_the_epoch,
    a_transaction_sees_its_own_move,
    a_transaction_given_up_leaves_nothing,
    a_transaction_dropped_at_any_step_leaves_nothing,
    what_is_refused_is_rolled_back_and_the_next_one_works,
    text_with_nul_is_refused,
    two_lanes_apply_side_by_side,
    a_partition_belongs_to_one_connection,
    a_partition_given_up_is_anothers,
    processes_that_take_and_begin_are_counted_until_the_position_moves,
    writers_are_remembered_and_forgotten,
    the_books_add_up,
    dead_letters_are_kept_whole,
);

async fn a_partition_begins_at_the_beginning(db: Db) {
    let owner = Owner::of(&*db, 2).await;
    assert_eq!((owner.state.epoch, owner.state.position.as_str(), owner.state.day), (0, "0-0", Day(0)));
    assert_eq!(owner.state.writers, []);
    assert_eq!(Owner::of(&*db, 2).await.state, owner.state);
    let accounts = db.accounting().await.unwrap();
    assert_eq!(accounts.partitions.len(), 1, "of the partitions held so far");
    assert_eq!((accounts.partitions[0].partition, accounts.partitions[0].accepted), (Partition(2), 0));
}

async fn a_commit_is_seen_by_everybody(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let advance = Advance { lost: 2, ..owner.advance("1728000000000-3", 7) };
    assert_eq!(owner.apply.begin(&advance, &[unit_of("u")]).await.unwrap(), Some(vec![]));
    owner.apply.record(TODAY, &HistoryOf::default(), &[conversion("u", "k", 1)]).await.unwrap();
    // Nobody sees it before the commit.
    assert_eq!(db.accounting().await.unwrap().partitions[0].position, "0-0");
    let all = Partition(0).unit_range(1);
    assert_eq!(db.conversions(all.0, all.1).await.unwrap(), []);
    owner.finish(advance, &Changes::default()).await.unwrap();

    let account = &db.accounting().await.unwrap().partitions[0];
    assert_eq!(account.position, "1728000000000-3");
    assert_eq!((account.accepted, account.lost), (7, 2));
    assert_eq!(db.conversions(all.0, all.1).await.unwrap().len(), 1);
    let state = Owner::of(&*db, 0).await.state;
    assert_eq!((state.epoch, state.position.as_str(), state.day), (0, "1728000000000-3", TODAY));
}

async fn a_position_that_was_moved_lets_nobody_in(db: Db) {
    let mut first = Owner::of(&*db, 0).await;
    let mut second = Owner::of(&*db, 0).await;
    first.write("1-0", &Changes::default()).await;
    let stale = second.advance("1-0", 1);
    assert_eq!(second.apply.begin(&stale, &[unit_of("u")]).await.unwrap(), None);
    // Neither the position nor the epoch alone is enough.
    let guess = Advance { from: "1-0".into(), to: "2-0".into(), epoch: 1, ..stale.clone() };
    assert_eq!(second.apply.begin(&guess, &[]).await.unwrap(), None);
    // After the refusal nothing is open, and the next one may begin.
    second.state = second.apply.load(second.partition).await.unwrap();
    second.write("2-0", &Changes::default()).await;
    assert_eq!(first.apply.begin(&first.advance("2-0", 1), &[]).await.unwrap(), None);
    assert_eq!(db.accounting().await.unwrap().partitions[0].accepted, 0);
}

async fn a_position_that_comes_again_raises_the_epoch(db: Db) {
    let mut first = Owner::of(&*db, 0).await;
    first.write("5-0", &Changes::default()).await;
    let mut second = Owner::of(&*db, 0).await;
    second.write("9-0", &Changes::default()).await;
    let back = Advance { rewinds: true, ..second.advance("5-0", 0) };
    assert!(second.apply.begin(&back, &[]).await.unwrap().is_some());
    second.finish(back, &Changes::default()).await.unwrap();
    // The position is where the first left it, and it is told all the same.
    assert_eq!(first.state.position, second.state.position);
    assert_eq!(first.apply.begin(&first.advance("6-0", 0), &[]).await.unwrap(), None);
    second.write("6-0", &Changes::default()).await;
}

async fn a_transaction_sees_its_own_move(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    owner.begin("1-0").await;
    assert_eq!(owner.apply.load(Partition(0)).await.unwrap().position, "1-0");
    assert_eq!(owner.apply.expire_receipts(10).await.unwrap(), 0);
    owner.apply.rollback().await.unwrap();
    assert_eq!(owner.apply.load(Partition(0)).await.unwrap().position, "0-0");
}

/// Something in every table.
async fn fill(owner: &mut Owner, db: &Db, step: usize) {
    let e = db.experiment("one").await;
    let sums = moments(&e.plan(), 1);
    let state = encode_unit(&enrolled(&e, TODAY));
    let changes = Changes {
        new_units: vec![NewUnit { id: unit_of("u"), tenant: TENANT, user_id: "u", state }],
        moments: vec![row(key(&e, owner.partition, 0, ""), &sums)],
        counters: vec![Count { tenant: TENANT, experiment: e.id, variation: 0, name: "exposures", n: 1 }],
        receipts: vec![receipt()],
        dead_letters: vec![letter()],
        writers: vec![WriterRow { writer: Uuid::from_u128(1), number: 1, total: 1, seen_ms: 1 }],
        ..Changes::default()
    };
    let advance = owner.advance("1-0", 1);
    owner.apply.begin(&advance, &[]).await.unwrap();
    if step > 0 {
        owner.apply.record(TODAY, &HistoryOf::default(), &[conversion("u", "k", 1)]).await.unwrap();
    }
    if step > 1 {
        owner.apply.write(&advance, &changes).await.unwrap();
    }
}

fn receipt() -> NewReceipt<'static> {
    NewReceipt {
        tenant: TENANT,
        batch: domain::BatchId(Uuid::from_u128(7)),
        request_id: "r",
        part: 0,
        parts: 1,
        recorded: 1,
        deduplicated: 0,
        conflicts: 0,
        dead_lettered: 0,
    }
}

fn letter() -> DeadLetter<'static> {
    DeadLetter {
        tenant: TENANT,
        experiment: ExperimentId::NONE,
        entry: "1-0".into(),
        batch: None,
        request_id: None,
        reason: "overflow",
        detail: "a sum".into(),
        events: 1,
        payload: b"{}".as_slice().into(),
        digest: None,
    }
}

async fn assert_nothing_was_written(db: &Db) {
    for table in
        ["units", "conversions", "moments", "moments_keys", "counters", "receipts", "dead_letters", "writers"]
    {
        assert_eq!(db.count(table).await, 0, "{table}");
    }
    let account = &db.accounting().await.unwrap().partitions[0];
    assert_eq!((account.position.as_str(), account.accepted), ("0-0", 0));
}

async fn a_transaction_given_up_leaves_nothing(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    for step in 0..3 {
        fill(&mut owner, &db, step).await;
        owner.apply.rollback().await.unwrap();
        assert_nothing_was_written(&db).await;
    }
    // The same connection goes on.
    fill(&mut owner, &db, 2).await;
    owner.apply.commit().await.unwrap();
    assert_eq!(db.count("units").await, 1);
}

async fn a_transaction_dropped_at_any_step_leaves_nothing(db: Db) {
    for step in 0..3 {
        let mut owner = Owner::of(&*db, 0).await;
        fill(&mut owner, &db, step).await;
        drop(owner);
        let mut next = Owner::of(&*db, 0).await;
        assert_eq!(next.state.position, "0-0");
        // It has the locks that the other held.
        fill(&mut next, &db, 2).await;
        next.apply.rollback().await.unwrap();
        assert_nothing_was_written(&db).await;
    }
}

async fn what_is_refused_is_rolled_back_and_the_next_one_works(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let twice = || {
        let unit = || NewUnit { id: unit_of("u"), tenant: TENANT, user_id: "u", state: vec![1] };
        Changes { new_units: vec![unit(), unit()], ..Changes::default() }
    };
    fill(&mut owner, &db, 1).await;
    let advance = owner.advance("1-0", 1);
    let refused = owner.apply.write(&advance, &twice()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
    owner.apply.rollback().await.unwrap();
    assert_nothing_was_written(&db).await;
    owner.write("1-0", &Changes::default()).await;

    // A unit that is changed must be there.
    let missing = Changes { changed_units: vec![(unit_of("nobody"), vec![1])], ..Changes::default() };
    let advance = owner.begin("2-0").await;
    let refused = owner.apply.write(&advance, &missing).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused}");
    owner.apply.rollback().await.unwrap();
    assert_eq!(Owner::of(&*db, 0).await.state.position, "1-0");
}

async fn text_with_nul_is_refused(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let mut metric = conversion("u", "k", 1);
    metric.metric = "pur\0chase";
    for bad in [conversion("u", "\0", 1), conversion("u", "k\0", 1), metric] {
        let advance = owner.begin("1-0").await;
        let refused = owner.apply.record(advance.day, &HistoryOf::default(), &[bad]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
        assert!(!refused.to_string().contains("chase"), "{refused}");
        owner.apply.rollback().await.unwrap();
    }
    let user = |tenant, user_id| NewUnit { id: unit_of("u"), tenant, user_id, state: vec![] };
    for bad in [user("acme\0", "u"), user(TENANT, "\0u")] {
        let advance = owner.begin("1-0").await;
        let changes = Changes { new_units: vec![bad], ..Changes::default() };
        let refused = owner.apply.write(&advance, &changes).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
        owner.apply.rollback().await.unwrap();
    }
    assert_eq!(owner.record("1-0", &[conversion("u", "k", 1)]).await, [Outcome::New]);
}

async fn two_lanes_apply_side_by_side(db: Db) {
    const EACH: i64 = 30;
    let lane = |partition| {
        let db = &db;
        async move {
            let mut owner = Owner::of(&**db, partition).await;
            for n in 1..=EACH {
                let advance = owner.advance(&format!("{n}-0"), 1);
                owner.apply.begin(&advance, &[]).await.unwrap().unwrap();
                let key = format!("{partition}-{n}");
                let stored =
                    owner.apply.record(TODAY, &HistoryOf::default(), &[conversion("u", &key, n)]).await;
                assert_eq!(stored.unwrap().1, [Outcome::New]);
                let one = Count {
                    tenant: TENANT,
                    experiment: ExperimentId::NONE,
                    variation: -1,
                    name: "conversions",
                    n: 1,
                };
                owner.finish(advance, &Changes { counters: vec![one], ..Changes::default() }).await.unwrap();
            }
        }
    };
    tokio::join!(lane(0), lane(1), lane(2));
    let accounts = db.accounting().await.unwrap().partitions;
    assert_eq!(accounts.len(), 3);
    for account in accounts {
        assert_eq!((account.accepted, account.recorded), (EACH, EACH), "{account:?}");
    }
    assert_eq!(db.count("conversions").await, 3 * usize::try_from(EACH).unwrap());
}

async fn a_partition_belongs_to_one_connection(db: Db) {
    let all: Vec<Partition> = (0..PARTITIONS).map(Partition).collect();
    let (mut first, mut second) = (db.connect().await.unwrap(), db.connect().await.unwrap());
    assert_eq!(first.acquire(&all[..3]).await.unwrap(), all[..3]);
    assert_eq!(second.acquire(&all).await.unwrap(), all[3..]);
    assert_eq!(second.acquire(&all[..3]).await.unwrap(), []);
    drop(first);
    // A server hears of it a moment later.
    let mut missing: Vec<Partition> = all[..3].into();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !missing.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the partitions are not freed: {missing:?}");
        // It frees one after the other, and may do so between two that are asked for.
        let got = second.acquire(&missing).await.unwrap();
        assert!(got.iter().all(|partition| missing.contains(partition)));
        missing.retain(|partition| !got.contains(partition));
    }
}

async fn a_partition_given_up_is_anothers(db: Db) {
    let all = [Partition(0), Partition(1)];
    let (mut first, mut second) = (db.connect().await.unwrap(), db.connect().await.unwrap());
    assert_eq!(first.acquire(&all).await.unwrap(), all);
    // Not its to give.
    second.release(Partition(0)).await.unwrap();
    assert_eq!(second.acquire(&all).await.unwrap(), []);
    first.release(Partition(1)).await.unwrap();
    assert_eq!(second.acquire(&all).await.unwrap(), all[1..]);
    assert_eq!(first.acquire(&all[1..]).await.unwrap(), []);
}

async fn processes_that_take_and_begin_are_counted_until_the_position_moves(db: Db) {
    let mut apply = db.connect().await.unwrap();
    let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
    let p = Partition(0);
    let mut take = async |me| {
        let taken = apply.take(p, me).await.unwrap();
        (taken.takes, taken.begun)
    };
    assert_eq!(take(a).await, (1, 0));
    assert_eq!(take(b).await, (2, 0));
    assert_eq!(take(c).await, (3, 0));
    assert_eq!(take(c).await, (1, 0), "it has survived");
    assert_eq!(take(b).await, (2, 0));
    assert_eq!(apply.suspect(p, b, "5-0").await.unwrap(), 1);
    assert_eq!(apply.suspect(p, b, "5-0").await.unwrap(), 1, "the same process");
    let mut next = db.connect().await.unwrap();
    let taken = next.take(p, c).await.unwrap();
    assert_eq!((taken.takes, taken.begun), (3, 1), "it outlives the connection");
    assert_eq!(next.suspect(p, c, "5-0").await.unwrap(), 2);
    assert_eq!(next.suspect(p, c, "6-0").await.unwrap(), 1, "another entry");
    assert_eq!(next.take(p, c).await.unwrap().begun, 0, "it has survived what it had begun");
    next.suspect(p, c, "6-0").await.unwrap();

    let mut owner = Owner::of(&*db, 0).await;
    owner.write("6-0", &Changes::default()).await;
    let taken = next.take(p, a).await.unwrap();
    assert_eq!((taken.takes, taken.begun), (1, 0));
}

async fn writers_are_remembered_and_forgotten(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let writer = |n: u128, number| WriterRow {
        writer: Uuid::from_u128(n),
        number,
        total: number * 10,
        seen_ms: u64::try_from(i64::MAX).unwrap(),
    };
    let wrote = |writers| Changes { writers, ..Changes::default() };
    owner.write("1-0", &wrote(vec![writer(1, 1), writer(2, 5), writer(u128::MAX, 3)])).await;
    owner.write("2-0", &wrote(vec![writer(1, 2)])).await;
    Owner::of(&*db, 1).await.write("1-0", &wrote(vec![writer(1, 9)])).await;
    let changes = Changes { forgotten: vec![Uuid::from_u128(2), Uuid::from_u128(77)], ..Changes::default() };
    owner.write("3-0", &changes).await;

    let mut remembered = Owner::of(&*db, 0).await.state.writers;
    remembered.sort_unstable_by_key(|w| w.writer);
    assert_eq!(remembered, [writer(1, 2), writer(u128::MAX, 3)]);
    let of_all = db.accounting().await.unwrap().writers;
    let expected =
        [(Partition(0), writer(1, 2)), (Partition(0), writer(u128::MAX, 3)), (Partition(1), writer(1, 9))];
    assert_eq!(of_all, expected);
}

async fn the_books_add_up(db: Db) {
    let e = db.experiment("one").await;
    for partition in [3, 0, 2] {
        let mut owner = Owner::of(&*db, partition).await;
        for (n, day) in [(1, TODAY), (2, Day(TODAY.0 + 1))] {
            let count =
                |experiment, variation, name, n| Count { tenant: TENANT, experiment, variation, name, n };
            let none = ExperimentId::NONE;
            let recorded = RECORDED.iter().map(|name| count(e.id, -1, name, 1));
            let others = [
                count(e.id, 0, "exposures", 5),
                count(e.id, 1, "exposures", 6),
                count(none, -1, "conversions", 7),
                count(none, -1, "deduplicated", 8),
                count(none, -1, "dead_lettered", 9),
                count(e.id, -1, "discarded", 10),
                // No fate of its own.
                count(e.id, 0, "keyless", 1000),
            ];
            let changes = Changes { counters: recorded.chain(others).collect(), ..Changes::default() };
            let advance = Advance { lost: 11, day, ..owner.advance(&format!("{n}-0"), 62) };
            owner.apply.begin(&advance, &[]).await.unwrap().unwrap();
            owner.finish(advance, &changes).await.unwrap();
        }
    }
    let accounts = db.accounting().await.unwrap().partitions;
    let partitions: Vec<u16> = accounts.iter().map(|a| a.partition.0).collect();
    assert_eq!(partitions, [0, 2, 3]);
    for a in accounts {
        assert_eq!((a.position.as_str(), a.accepted, a.lost), ("2-0", 124, 22));
        assert_eq!((a.recorded, a.deduplicated, a.dead_lettered, a.discarded), (48, 16, 18, 20));
    }
}

async fn dead_letters_are_kept_whole(db: Db) {
    let mut owner = Owner::of(&*db, 1).await;
    let full = DeadLetter {
        experiment: ExperimentId(i64::MAX),
        batch: Some(domain::BatchId(Uuid::from_u128(7))),
        request_id: Some("r-ü"),
        detail: String::new(),
        events: u64::MAX,
        payload: vec![0, 255, 1].into(),
        ..letter()
    };
    let unreadable = DeadLetter { tenant: "", payload: Vec::new().into(), ..letter() };
    owner.write("1-0", &Changes { dead_letters: vec![full, unreadable], ..Changes::default() }).await;
    let stored = db
        .texts(
            "SELECT tenant || '|' || CAST(experiment AS text) || '|' || CAST(partition AS text) || '|' || entry
                || '|' || coalesce(request_id, '-') || '|' || CASE WHEN batch IS NULL THEN '-' ELSE 'batch' END
                || '|' || reason || '|' || detail || '|' || CAST(events AS text)
                || '|' || CAST(length(payload) AS text)
             FROM dead_letters ORDER BY id",
        )
        .await;
    assert_eq!(
        stored,
        [
            "acme|9223372036854775807|1|1-0|r-ü|batch|overflow||9223372036854775807|3",
            "|0|1|1-0|-|-|overflow|a sum|1|0",
        ]
    );
}
