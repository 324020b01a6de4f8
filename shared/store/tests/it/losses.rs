//! Losses: written by the owner with the position, told with the books.

use crate::db::Db;
use crate::owner::Owner;
use domain::Partition;
use store::apply::{Advance, Changes, NewLoss};
use store::{LOSSES_MAX, Loss};
use uuid::Uuid;

on_both!(losses_are_told_the_newest_first, a_transaction_given_up_loses_nothing, the_oldest_are_not_told);

fn loss(number: u64, why: &'static str) -> NewLoss {
    let writer = Some(Uuid::from_u128(7));
    NewLoss { writer, first: number, last: number + 1, events: 5, entry: "17-3".into(), why }
}

async fn losses(db: &Db) -> Vec<Loss> {
    db.accounting().await.unwrap().losses
}

async fn losses_are_told_the_newest_first(db: Db) {
    assert_eq!(losses(&db).await, []);
    let mut owner = Owner::of(&*db, 2).await;
    let replaced = NewLoss { writer: None, first: 0, last: 0, events: 0, ..loss(0, "stream_replaced") };
    let advance = Advance { lost: 5, ..owner.advance("17-3", 9) };
    owner.apply.begin(&advance, &[]).await.unwrap().unwrap();
    let changes = Changes { losses: vec![replaced, loss(3, "missing_entries")], ..Changes::default() };
    owner.finish(advance, &changes).await.unwrap();
    let mut other = Owner::of(&*db, 0).await;
    other.write("18-0", &Changes { losses: vec![loss(1, "short_entry")], ..Changes::default() }).await;

    let told = losses(&db).await;
    let seen_at = told[0].seen_at;
    assert!(seen_at.0 > 1_577_836_800_000_000, "after 2020");
    assert!(told.is_sorted_by(|newer, older| newer.seen_at >= older.seen_at));
    let of = |partition, writer, first, last, events, why: &str, seen_at| Loss {
        partition: Partition(partition),
        writer,
        first,
        last,
        events,
        entry: "17-3".into(),
        why: why.into(),
        seen_at,
    };
    let writer = Some(Uuid::from_u128(7));
    let expected = [
        of(0, writer, 1, 2, 5, "short_entry", seen_at),
        of(2, writer, 3, 4, 5, "missing_entries", told[1].seen_at),
        of(2, None, 0, 0, 0, "stream_replaced", told[2].seen_at),
    ];
    assert_eq!(told, expected);
    let json = serde_json::to_value(&told[0]).unwrap();
    assert_eq!(json["seen_at"], seen_at.to_string());
}

async fn a_transaction_given_up_loses_nothing(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let advance = owner.begin("1-0").await;
    let changes = Changes { losses: vec![loss(3, "missing_entries")], ..Changes::default() };
    owner.apply.write(&advance, &changes).await.unwrap();
    owner.apply.rollback().await.unwrap();
    assert_eq!(losses(&db).await, []);
}

async fn the_oldest_are_not_told(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let many = (1..=u64::from(LOSSES_MAX) + 2).map(|n| loss(n, "missing_entries")).collect();
    owner.write("1-0", &Changes { losses: many, ..Changes::default() }).await;
    let told = losses(&db).await;
    assert_eq!((told.len(), told[0].first), (LOSSES_MAX as usize, u64::from(LOSSES_MAX) + 2));
    assert_eq!(told.last().unwrap().first, 3);
}
