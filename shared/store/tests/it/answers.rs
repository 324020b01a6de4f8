//! Moments by day, and counters.

use crate::db::{Db, TENANT};
use crate::owner::{Owner, TODAY, key, moments};
use domain::{Day, ExperimentId, Moments, Partition};
use store::apply::{Changes, Count, MomentsRow};
use store::{ArmRow, Counter, ErrorKind, Experiment, MomentsKey};

on_both!(
    the_last_row_of_every_key_answers_now_and_as_of_a_day,
    a_row_of_a_day_is_replaced_on_that_day,
    an_owner_is_given_the_last_rows_of_its_partition,
    counters_add_up_by_name,
    a_counter_beyond_64_bits_is_refused,
);

fn sorted(mut rows: Vec<ArmRow>) -> Vec<ArmRow> {
    rows.sort_by(|a, b| (&a.key, a.day).cmp(&(&b.key, b.day)));
    rows
}

fn row(key: &MomentsKey, day: Day, moments: &Moments) -> ArmRow {
    ArmRow { key: key.clone(), day, moments: moments.clone() }
}

async fn write(owner: &mut Owner, to: &str, day: Day, rows: &[(&MomentsKey, &Moments, bool)]) {
    let row =
        |&(key, moments, is_new): &(&MomentsKey, _, _)| MomentsRow { key: key.clone(), day, moments, is_new };
    let moments = rows.iter().map(row).collect();
    owner.write_on(day, to, &Changes { moments, ..Changes::default() }).await;
}

async fn the_last_row_of_every_key_answers_now_and_as_of_a_day(db: Db) {
    let (e, other) = (db.experiment("one").await, db.experiment("two").await);
    let plan = e.plan();
    let [m1, m2, m3] = [1, 2, 3].map(|n| moments(&plan, n));
    let (mut p0, mut p3) = (Owner::of(&*db, 0).await, Owner::of(&*db, 3).await);
    let a = key(&e, Partition(0), 0, "");
    let b = key(&e, Partition(0), -1, "gold ü");
    let c = MomentsKey { phase: u16::MAX, ..key(&e, Partition(3), i16::MAX, "") };
    let later_version = MomentsKey { plan_version: 2, ..a.clone() };
    let foreign = key(&other, Partition(3), 0, "");
    let day = |n: i32| Day(TODAY.0 + n);
    write(&mut p0, "1-0", TODAY, &[(&a, &m1, true), (&b, &m1, true)]).await;
    write(&mut p0, "2-0", day(2), &[(&a, &m2, false), (&later_version, &m3, true)]).await;
    write(&mut p3, "1-0", day(1), &[(&c, &m1, true), (&foreign, &m2, true)]).await;
    write(&mut p3, "2-0", day(40), &[(&c, &m3, false)]).await;

    let answer = async |as_of| sorted(db.answer(&e, as_of).await.unwrap());
    let now = [row(&b, TODAY, &m1), row(&a, day(2), &m2), row(&c, day(40), &m3)];
    assert_eq!(answer(None).await, sorted(now.to_vec()));
    assert_eq!(answer(Some(Day(TODAY.0 - 1))).await, []);
    assert_eq!(answer(Some(TODAY)).await, sorted(vec![row(&a, TODAY, &m1), row(&b, TODAY, &m1)]));
    let on_first = vec![row(&a, TODAY, &m1), row(&b, TODAY, &m1), row(&c, day(1), &m1)];
    assert_eq!(answer(Some(day(1))).await, sorted(on_first));
    let on_39 = vec![row(&a, day(2), &m2), row(&b, TODAY, &m1), row(&c, day(1), &m1)];
    assert_eq!(answer(Some(day(39))).await, sorted(on_39));
    assert_eq!(answer(Some(Day(2_900_000))).await, sorted(now.to_vec()), "the year 9909");

    // The version that is served, and no other experiment.
    let served = Experiment { plan_version: 2, ..e.clone() };
    assert_eq!(db.answer(&served, None).await.unwrap(), [row(&later_version, day(2), &m3)]);
    assert_eq!(db.answer(&other, None).await.unwrap(), [row(&foreign, day(1), &m2)]);

    // Every day of every key, in order.
    let series = db.moments_rows(e.id, 1).await.unwrap();
    let expected = [
        row(&b, TODAY, &m1),
        row(&a, TODAY, &m1),
        row(&a, day(2), &m2),
        row(&c, day(1), &m1),
        row(&c, day(40), &m3),
    ];
    assert_eq!(series, expected);
    assert_eq!(db.moments_rows(e.id, 9).await.unwrap(), []);
}

async fn a_row_of_a_day_is_replaced_on_that_day(db: Db) {
    let e = db.experiment("one").await;
    let (a, plan) = (key(&e, Partition(0), 0, ""), e.plan());
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, "1-0", TODAY, &[(&a, &moments(&plan, 1), true)]).await;
    write(&mut owner, "2-0", TODAY, &[(&a, &moments(&plan, 2), false)]).await;
    // Told once more that it is new: a cache may have been dropped.
    write(&mut owner, "3-0", TODAY, &[(&a, &moments(&plan, 3), true)]).await;
    assert_eq!(db.moments_rows(e.id, 1).await.unwrap(), [row(&a, TODAY, &moments(&plan, 3))]);
    assert_eq!(db.answer(&e, None).await.unwrap().len(), 1);
}

async fn an_owner_is_given_the_last_rows_of_its_partition(db: Db) {
    let (one, two) = (db.experiment("one").await, db.experiment_of("other", "two").await);
    let gone = db.experiment("gone").await;
    let plan = one.plan();
    let [m1, m2] = [1, 2].map(|n| moments(&plan, n));
    let (mut p0, mut p1) = (Owner::of(&*db, 0).await, Owner::of(&*db, 1).await);
    let (a, b) = (key(&one, Partition(0), 0, ""), key(&two, Partition(0), 1, "s"));
    let elsewhere = key(&one, Partition(1), 0, "");
    write(&mut p0, "1-0", TODAY, &[(&a, &m1, true), (&b, &m1, true)]).await;
    write(&mut p0, "2-0", Day(TODAY.0 + 3), &[(&a, &m2, false)]).await;
    write(&mut p1, "1-0", TODAY, &[(&elsewhere, &m2, true)]).await;
    db.delete_experiment(TENANT, gone.id, crate::db::ACTOR).await.unwrap();

    p0.state = p0.apply.load(Partition(0)).await.unwrap();
    p0.begin("3-0").await;
    let ids = [two.id, gone.id, one.id, ExperimentId(4_444)];
    let known = p0.apply.experiments(Partition(0), &ids).await.unwrap();
    let mut experiments = known.experiments;
    experiments.sort_by_key(|e| e.id);
    assert_eq!(known.deleted, [gone.id]);
    assert_eq!(experiments.iter().map(|e| e.id).collect::<Vec<_>>(), [one.id, two.id, gone.id]);
    assert_eq!(experiments[..2], [one, two]);
    let expected = vec![row(&a, Day(TODAY.0 + 3), &m2), row(&b, TODAY, &m1)];
    assert_eq!(sorted(known.moments), sorted(expected));
    p0.apply.rollback().await.unwrap();
}

async fn counters_add_up_by_name(db: Db) {
    let (e, none) = (db.experiment("one").await, ExperimentId::NONE);
    let count = |tenant, experiment, variation, name, n| Count { tenant, experiment, variation, name, n };
    for partition in [0, 1] {
        let mut owner = Owner::of(&*db, partition).await;
        for (n, day) in [(1, TODAY), (2, TODAY), (3, Day(TODAY.0 + 1))] {
            let counters = vec![
                count(TENANT, e.id, 1, "exposures", 2),
                count(TENANT, e.id, -1, "late", 1),
                count(TENANT, none, -1, "conversions", i64::MAX / 6),
                count("other", none, -1, "conversions", 1),
            ];
            owner.write_on(day, &format!("{n}-0"), &Changes { counters, ..Changes::default() }).await;
        }
    }
    let counter =
        |experiment, variation, name: &str, n| Counter { experiment, variation, name: name.into(), n };
    let of_experiment = [counter(e.id, -1, "late", 6), counter(e.id, 1, "exposures", 12)];
    let of_none = counter(none, -1, "conversions", i64::MAX / 6 * 6);
    assert_eq!(db.counters(TENANT, Some(e.id), None).await.unwrap(), of_experiment);
    let [late, exposures] = of_experiment;
    let all = [of_none, late, exposures];
    assert_eq!(db.counters(TENANT, Some(none), None).await.unwrap(), all[..1]);
    assert_eq!(db.counters(TENANT, None, None).await.unwrap(), all);
    assert_eq!(db.counters("other", None, None).await.unwrap(), [counter(none, -1, "conversions", 6)]);
    assert_eq!(db.counters("nobody", None, None).await.unwrap(), []);
    // As of the day before the last.
    let earlier = [counter(e.id, -1, "late", 4), counter(e.id, 1, "exposures", 8)];
    assert_eq!(db.counters(TENANT, Some(e.id), Some(TODAY)).await.unwrap(), earlier);
    assert_eq!(db.counters(TENANT, None, Some(TODAY)).await.unwrap()[1..], earlier);
    assert_eq!(db.counters(TENANT, Some(e.id), Some(Day(TODAY.0 - 1))).await.unwrap(), []);
    // An answer of now reads no days: what they come to is kept, whoever wrote them.
    let days = "SELECT CAST(sum(n) AS text) FROM counters WHERE name = 'late'";
    assert_eq!(db.texts(days).await, ["6"]);
    assert_eq!(db.texts(&days.replace("counters", "counter_totals")).await, ["6"]);
    assert_eq!((db.count("counters").await, db.count("counter_totals").await), (16, 8));
    db.execute("UPDATE counters SET n = n + 1 WHERE name = 'late' AND partition = 0").await;
    assert_eq!(db.counters(TENANT, Some(e.id), None).await.unwrap()[0].n, 8);
    assert_eq!(db.counters(TENANT, Some(e.id), Some(TODAY)).await.unwrap()[0].n, 5);
}

async fn a_counter_beyond_64_bits_is_refused(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    let full = Count {
        tenant: TENANT,
        experiment: ExperimentId::NONE,
        variation: -1,
        name: "conversions",
        n: i64::MAX,
    };
    let changes = Changes { counters: vec![full], ..Changes::default() };
    owner.write("1-0", &changes).await;
    let advance = owner.begin("2-0").await;
    let refused = owner.apply.write(&advance, &changes).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
    owner.apply.rollback().await.unwrap();
    assert_eq!(db.counters(TENANT, None, None).await.unwrap()[0].n, i64::MAX);
}
