//! Everything an answer needs, as it stood at one instant.

use crate::db::{Db, TENANT};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, unit_of};
use domain::codec::encode_unit;
use domain::plan::Feature;
use domain::{Day, Moments, Partition};
use std::sync::Arc;
use store::apply::{Changes, Count, HistoryOf, MomentsRow, NewConversion, NewUnit};
use store::{Asked, Experiment, Rows, Snapshot};

on_both!(a_snapshot_holds_what_was_asked_for, a_snapshot_is_of_one_instant);

const EVERYTHING: Asked =
    Asked { as_of: None, moments: |_| Rows::EveryDay, counters: true, user: None, conversions: true };

/// One transaction in which every number there is becomes `n`.
async fn all_become(owner: &mut Owner, e: &Experiment, day: Day, n: u32) {
    let all = moments(&e.plan(), n.into());
    let arm = |variation| MomentsRow {
        key: key(e, Partition(0), variation, ""),
        day: day.max(owner.state.day),
        moments: &all,
        is_new: n == 1,
    };
    let count = Count { tenant: TENANT, experiment: e.id, variation: 0, name: "exposures", n: 1 };
    let state = encode_unit(&enrolled(e, Day(i32::try_from(n).unwrap())));
    let mut changes = Changes { moments: vec![arm(0), arm(1)], counters: vec![count], ..Changes::default() };
    if n == 1 {
        changes.new_units = vec![NewUnit { id: unit_of("u"), tenant: TENANT, user_id: "u", state }];
    } else {
        changes.changed_units = vec![(unit_of("u"), state)];
    }
    let mut advance = owner.advance(&format!("{n}-0"), 0);
    advance.day = day.max(advance.day);
    assert!(owner.apply.begin(&advance, &[]).await.unwrap().is_some());
    let order = format!("order-{n}");
    let bought = NewConversion { experiment: e.id, ..conversion("u", &order, 1) };
    owner.apply.record(advance.day, &HistoryOf::default(), &[bought]).await.unwrap();
    owner.finish(advance, &changes).await.unwrap();
}

/// The numbers of a snapshot that are to be equal.
fn numbers(snapshot: &Snapshot, e: &Experiment) -> Vec<i64> {
    let users = |m: &Moments| m.product(&e.plan(), Feature::One, Feature::One).as_i64();
    let last_day = snapshot.moments.iter().map(|row| row.day).max();
    let last = snapshot.moments.iter().filter(|row| Some(row.day) == last_day);
    let mut numbers: Vec<i64> = last.map(|row| users(&row.moments)).collect();
    numbers.extend(snapshot.counters.iter().map(|c| c.n));
    if let Some(user) = &snapshot.user {
        numbers.push(user.unit.unit.enrollments[0].day.0.into());
        numbers.push(user.conversions.len().try_into().unwrap());
    }
    numbers
}

async fn a_snapshot_holds_what_was_asked_for(db: Db) {
    let (e, other) = (db.experiment("one").await, db.experiment_of("other", "one").await);
    let mut owner = Owner::of(&*db, 0).await;
    all_become(&mut owner, &e, TODAY, 1).await;
    all_become(&mut owner, &e, Day(TODAY.0 + 1), 2).await;
    let ask = async |tenant, reference: &str, asked| db.snapshot(tenant, reference, &asked).await.unwrap();
    let user = Asked { user: Some(unit_of("u")), ..EVERYTHING };

    let all = ask(TENANT, "one", user).await.unwrap();
    assert_eq!(all.experiment, e);
    assert_eq!(all.moments, db.moments_rows(e.id, 1).await.unwrap());
    assert_eq!(all.counters, db.counters(TENANT, Some(e.id), None).await.unwrap());
    assert_eq!(numbers(&all, &e), [2; 5]);
    assert_eq!(ask(TENANT, &e.id.to_string(), user).await.unwrap(), all);
    // Which rows is decided by the experiment that was found.
    let by_key = |e: &Experiment| if e.key == "one" { Rows::Last } else { Rows::None };
    let last = ask(TENANT, "one", Asked { moments: by_key, ..EVERYTHING }).await.unwrap();
    assert_eq!((last.moments, last.user), (db.answer(&e, None).await.unwrap(), None));
    // As of a day; the user is as of now.
    let earlier = ask(TENANT, "one", Asked { as_of: Some(TODAY), ..user }).await.unwrap();
    assert_eq!(numbers(&earlier, &e), [1, 1, 1, 2, 2]);
    let before = Asked { as_of: Some(Day(TODAY.0 - 1)), moments: |_| Rows::Last, ..EVERYTHING };
    assert!(numbers(&ask(TENANT, "one", before).await.unwrap(), &e).is_empty());
    // Nothing but what was asked for.
    let without = ask(TENANT, "one", Asked { conversions: false, ..user }).await.unwrap();
    assert_eq!(without.user.unwrap().conversions, []);
    let bare = ask(TENANT, "one", Asked::of(None, |_| Rows::None)).await.unwrap();
    assert_eq!(bare, Snapshot { experiment: e.clone(), moments: vec![], counters: vec![], user: None });
    // Another tenant sees nothing of it, neither sums nor users.
    let foreign = ask("other", "one", user).await.unwrap();
    assert_eq!((foreign.experiment, foreign.moments, foreign.user), (other, vec![], None));
    assert_eq!(ask("other", &e.id.to_string(), EVERYTHING).await, None);
    assert_eq!(ask(TENANT, "two", EVERYTHING).await, None);
    db.delete_experiment(TENANT, e.id, crate::db::ACTOR).await.unwrap();
    assert_eq!(ask(TENANT, "one", EVERYTHING).await, None);
}

async fn a_snapshot_is_of_one_instant(db: Db) {
    const CHANGES: u32 = 300;
    let e = db.experiment("one").await;
    let mut owner = Owner::of(&*db, 0).await;
    all_become(&mut owner, &e, TODAY, 1).await;
    let (store, changing) = (Arc::clone(&db.store), e.clone());
    let writing = tokio::spawn(async move {
        for n in 2..=CHANGES {
            all_become(&mut owner, &changing, TODAY, n).await;
        }
    });
    let asked = Asked { user: Some(unit_of("u")), ..EVERYTHING };
    let mut last = 0;
    while last < i64::from(CHANGES) {
        let snapshot = store.snapshot(TENANT, "one", &asked).await.unwrap().unwrap();
        let numbers = numbers(&snapshot, &e);
        assert_eq!(numbers, [numbers[0]; 5]);
        assert!(numbers[0] >= last, "{} after {last}", numbers[0]);
        last = numbers[0];
    }
    writing.await.unwrap();
}
