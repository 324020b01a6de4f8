//! Which conversions are new, what was stored under the key of the others, and what a user did before.

use crate::db::{Db, TENANT};
use crate::owner::{Owner, TODAY, conversion, unit_of};
use domain::{BatchId, Day, Decimal, ExperimentId, Partition, Timestamp, UnitId};
use store::apply::{Changes, HistoryOf, NewConversion, Outcome, Past};
use store::{ConversionRow, StoreError};
use uuid::Uuid;

on_both!(
    a_key_is_new_once_per_user_and_experiment,
    what_was_stored_comes_back_with_the_outcome,
    what_was_rolled_back_is_new_again,
    history_holds_nothing_of_its_own_transaction,
    history_is_of_the_users_experiments_and_metrics_asked_for,
    every_value_comes_back_as_it_was,
    ranges_are_inclusive_and_in_key_order,
    pages_begin_after_any_key,
    a_large_transaction_is_one_transaction,
);

async fn a_key_is_new_once_per_user_and_experiment(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let in_experiment = |experiment| NewConversion { experiment, ..conversion("u", "k", 1) };
    let rows = [
        conversion("u", "k", 1),
        conversion("v", "k", 1),
        in_experiment(ExperimentId(4)),
        in_experiment(ExperimentId(5)),
        conversion("u", "K", 1),
        conversion("u", "k ", 1),
        conversion("u", "", 1),
    ];
    assert_eq!(owner.record("1-0", &rows).await, vec![Outcome::New; rows.len()]);
    let known = owner.record("2-0", &rows).await;
    assert!(known.iter().all(|o| matches!(o, Outcome::Known { .. })), "{known:?}");
    assert_eq!(db.count("conversions").await, rows.len());
}

async fn what_was_stored_comes_back_with_the_outcome(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let given = |key, value, at| NewConversion { occurred_given: at, ..conversion("u", key, value) };
    let first = [given("b", 2, Some(Timestamp(-5))), given("a", 1, None), given("c", i64::MIN, None)];
    owner.record("1-0", &first).await;
    // Others in between, in another order; the outcomes keep the order of the call.
    let mut changed = given("b", 99, None);
    changed.metric = "signup";
    let second = [given("x", 1, None), changed, given("c", 3, Some(Timestamp(1))), given("a", 1, None)];
    let known = |value, occurred_given| Outcome::Known {
        metric: "purchase".into(),
        value: Decimal(value),
        occurred_given,
    };
    let expected = [Outcome::New, known(2, Some(Timestamp(-5))), known(i64::MIN, None), known(1, None)];
    assert_eq!(owner.record("2-0", &second).await, expected);
    // The first of a key stays.
    let all = Partition(0).unit_range(1);
    let stored = db.conversions(all.0, all.1).await.unwrap();
    let values: Vec<(&str, i64)> = stored.iter().map(|c| (c.key.as_str(), c.value.0)).collect();
    assert_eq!(values, [("a", 1), ("b", 2), ("c", i64::MIN), ("x", 1)]);
}

async fn what_was_rolled_back_is_new_again(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    for _ in 0..2 {
        let advance = owner.begin("1-0").await;
        let rows = [conversion("u", "k", 1)];
        let (_, outcomes) = owner.apply.record(advance.day, &HistoryOf::default(), &rows).await.unwrap();
        assert_eq!(outcomes, [Outcome::New]);
        owner.apply.rollback().await.unwrap();
    }
    assert_eq!(owner.record("1-0", &[conversion("u", "k", 1)]).await, [Outcome::New]);
}

fn history<'a>(users: &[&str], experiments: &[i64], metrics: &[&'a str]) -> HistoryOf<'a> {
    HistoryOf {
        units: users.iter().map(|u| unit_of(u)).collect(),
        experiments: experiments.iter().map(|e| ExperimentId(*e)).collect(),
        metrics: metrics.to_vec(),
    }
}

async fn history_holds_nothing_of_its_own_transaction(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let before = [conversion("u", "before", 1), conversion("v", "before", 2)];
    owner.record("1-0", &before).await;
    let advance = owner.begin("2-0").await;
    let rows = [conversion("u", "now", 3), conversion("w", "now", 4), conversion("v", "before", 2)];
    let asked = history(&["w", "u"], &[], &["purchase"]);
    let (past, outcomes) = owner.apply.record(advance.day, &asked, &rows).await.unwrap();
    let expected = Past {
        unit: unit_of("u"),
        experiment: ExperimentId::NONE,
        metric: "purchase".into(),
        value: Decimal(1),
        occurred_at: Timestamp(1_000_000),
    };
    assert_eq!(past, [expected]);
    assert!(matches!(outcomes[..], [Outcome::New, Outcome::New, Outcome::Known { .. }]), "{outcomes:?}");
    owner.finish(advance, &Changes::default()).await.unwrap();
}

async fn history_is_of_the_users_experiments_and_metrics_asked_for(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let mut rows = Vec::new();
    for user in ["u", "v"] {
        for experiment in [0, 4, 5] {
            for metric in ["purchase", "signup"] {
                let value = i64::try_from(rows.len()).unwrap();
                let experiment = ExperimentId(experiment);
                rows.push(NewConversion { experiment, metric, ..conversion(user, metric, value) });
            }
        }
    }
    owner.record("1-0", &rows).await;
    let mut asked = async |of: HistoryOf<'_>| {
        let advance = owner.begin("2-0").await;
        let (past, _) = owner.apply.record(advance.day, &of, &[]).await.unwrap();
        owner.apply.rollback().await.unwrap();
        let mut values: Vec<i64> = past.iter().map(|p| p.value.0).collect();
        values.sort_unstable();
        values
    };
    assert_eq!(asked(history(&["u"], &[], &["purchase"])).await, [0], "the tenant's are always included");
    assert_eq!(asked(history(&["u"], &[5], &["purchase", "signup"])).await, [0, 1, 4, 5]);
    // What names an experiment is included whatever its metric.
    let both = asked(history(&["v", "u"], &[4, 5], &["signup"])).await;
    assert_eq!(both, [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
    assert_eq!(asked(history(&["u"], &[4], &["unknown"])).await, [2, 3]);
    assert_eq!(asked(history(&["nobody"], &[4], &["signup"])).await, [0; 0]);
    assert_eq!(asked(history(&[], &[4], &["signup"])).await, [0; 0]);
}

async fn every_value_comes_back_as_it_was(db: Db) {
    // The first and the last instant that a gateway lets through.
    let (dawn, dusk) = (Timestamp(-62_135_596_800_000_000), Timestamp(253_402_207_199_999_999));
    let long: String = "🎈".repeat(200);
    let texts =
        ["", " ", "ü", "İstanbul", "e\u{301}", "\u{e9}", "\u{10ffff}", "'; DROP TABLE units; --", &long];
    let mut rows = Vec::new();
    for text in texts {
        rows.push(NewConversion { metric: text, tenant: text, ..conversion("u", text, 0) });
    }
    for (i, value) in [i64::MIN, -1, 0, 1, i64::MAX].into_iter().enumerate() {
        let batch = BatchId(Uuid::from_u128(if i == 0 { 0 } else { u128::MAX - i as u128 }));
        let (occurred_at, received_at) = if i % 2 == 0 { (dawn, dusk) } else { (dusk, dawn) };
        let occurred_given = (i % 2 == 0).then_some(occurred_at);
        let experiment = ExperimentId(if i == 4 { i64::MAX } else { i64::try_from(i).unwrap() });
        let row = conversion("v", "k", value);
        rows.push(NewConversion { experiment, batch, occurred_at, received_at, occurred_given, ..row });
    }
    rows.push(NewConversion { unit: UnitId([0; 16]), ..conversion("", "first", 1) });
    rows.push(NewConversion { unit: UnitId([255; 16]), ..conversion("", "last", 1) });
    let mut owner = Owner::of(&*db, 0).await;
    assert_eq!(owner.record("1-0", &rows).await, vec![Outcome::New; rows.len()]);

    let all = Partition(0).unit_range(1);
    let stored = db.conversions(all.0, all.1).await.unwrap();
    assert_eq!(stored.len(), rows.len());
    for row in &rows {
        let place = |c: &&ConversionRow| {
            (c.unit, c.experiment, c.key.as_str()) == (row.unit, row.experiment, &row.key)
        };
        let found = stored.iter().find(place).unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!((&*found.metric, found.value, found.day), (row.metric, row.value, TODAY));
        assert_eq!((found.occurred_at, found.occurred_given), (row.occurred_at, row.occurred_given));
        assert_eq!((found.received_at, found.batch), (row.received_at, row.batch));
    }
    assert_eq!(owner.record("2-0", &rows).await.iter().filter(|o| **o == Outcome::New).count(), 0);
    let tenants = db.texts("SELECT DISTINCT tenant FROM conversions").await;
    assert_eq!(tenants.len(), texts.len() + 1, "{TENANT} and each text");
}

async fn ranges_are_inclusive_and_in_key_order(db: Db) {
    let unit = |n: u128| UnitId(n.to_be_bytes());
    let mut rows = Vec::new();
    for n in [5, 1, 4, 2, 3, u128::MAX] {
        for (experiment, key) in [(2, "b"), (0, "z"), (2, "B"), (2, "a"), (-1, "ä")] {
            let row = conversion("", key, 0);
            rows.push(NewConversion { unit: unit(n), experiment: ExperimentId(experiment), ..row });
        }
    }
    let mut owner = Owner::of(&*db, 0).await;
    owner.record("1-0", &rows).await;
    let read = async |first, last| -> Result<Vec<_>, StoreError> {
        let rows = db.conversions(unit(first), unit(last)).await?;
        Ok(rows.into_iter().map(|c| (c.unit, c.experiment.0, c.key)).collect())
    };
    let mut expected: Vec<(UnitId, i64, String)> =
        rows.iter().map(|r| (r.unit, r.experiment.0, r.key.to_string())).collect();
    expected.sort_unstable();
    assert_eq!(read(0, u128::MAX).await.unwrap(), expected);
    assert_eq!(read(2, 4).await.unwrap(), expected[5..20]);
    assert_eq!(read(3, 3).await.unwrap(), expected[10..15]);
    assert_eq!(read(6, u128::MAX - 1).await.unwrap(), []);
    assert_eq!(read(4, 2).await.unwrap(), []);
}

async fn a_large_transaction_is_one_transaction(db: Db) {
    let keys: Vec<String> = (0..10_000).map(|i| format!("key-{i}")).collect();
    let users: Vec<String> = (0..10_000).map(|i| format!("user-{}", i % 3_000)).collect();
    let rows: Vec<_> = users.iter().zip(&keys).map(|(u, k)| conversion(u, k, 1)).collect();
    let mut owner = Owner::of(&*db, 0).await;
    let advance = owner.begin("1-0").await;
    let (_, outcomes) = owner.apply.record(Day(1), &HistoryOf::default(), &rows).await.unwrap();
    assert!(outcomes.iter().all(|o| *o == Outcome::New));
    owner.apply.rollback().await.unwrap();
    assert_eq!(db.count("conversions").await, 0);
    drop(advance);
    owner.record("1-0", &rows).await;
    assert_eq!(db.count("conversions").await, 10_000);
    // Half of the next are known.
    let half: Vec<_> = rows.iter().take(5_000).cloned().collect();
    let more: Vec<String> = (0..5_000).map(|i| format!("more-{i}")).collect();
    let mixed: Vec<_> =
        half.into_iter().chain(users.iter().zip(&more).map(|(u, k)| conversion(u, k, 1))).collect();
    let outcomes = owner.record("2-0", &mixed).await;
    let known = outcomes.iter().take(5_000).filter(|o| **o != Outcome::New).count();
    let new = outcomes.iter().skip(5_000).filter(|o| **o == Outcome::New).count();
    assert_eq!((known, new), (5_000, 5_000));
}

async fn pages_begin_after_any_key(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let mut rows = Vec::new();
    for user in ["u", "v", "w"] {
        for experiment in [0, 4, 5] {
            for key in ["a", "b b", "\u{e9}", ""] {
                let experiment = ExperimentId(experiment);
                rows.push(NewConversion { experiment, ..conversion(user, key, 1) });
            }
        }
    }
    owner.record("1-0", &rows).await;
    let (first, last) = Partition(0).unit_range(1);
    let mut expected = db.conversions(first, last).await.unwrap();
    expected.retain(|c| c.experiment != ExperimentId(5));
    assert_eq!(expected.len(), 3 * 2 * 4);
    for limit in [1, 5, 24, 100] {
        let (mut after, mut pages) = ((first, ExperimentId(-1), String::new()), Vec::new());
        loop {
            let place = (after.0, after.1, after.2.as_str());
            let page = db.conversions_after(place, last, ExperimentId(4), limit).await.unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(end) = page.last() else { break };
            after = (end.unit, end.experiment, end.key.clone());
            pages.extend(page);
        }
        assert_eq!(pages, expected, "{limit}");
    }
    // The range ends with its last user.
    let place = (first, ExperimentId(-1), "");
    let of_one = db.conversions_after(place, expected[0].unit, ExperimentId(4), 100).await.unwrap();
    assert_eq!(of_one, expected[..8]);
}
