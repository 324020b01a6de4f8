//! Plan versions: asked for, built by the owners, served when every partition is done; and phases.

use crate::db::{ACTOR, Db, PARTITIONS, TENANT, definition};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, row, unit_of};
use domain::codec::encode_unit;
use domain::definition::Definition;
use domain::{Day, Partition, UnitId};
use store::apply::{Changes, MomentsRow, NewUnit, RebuildRow};
use store::{Change, Changed, Experiment, MomentsKey, Restored, Status, Transition};

on_both!(
    without_anybody_enrolled_a_plan_is_served_at_once,
    a_version_is_served_when_every_partition_is_done,
    a_later_wish_replaces_the_one_before_it,
    what_is_served_already_needs_no_building,
    rebuilding_keeps_the_definition,
    an_owner_reads_units_and_conversions_in_its_transaction,
    new_weights_begin_a_phase,
);

fn ask<'a>(of: &Experiment, definition: &'a Definition) -> Change<'a> {
    Change { revision: of.revision, definition, detail: "[]" }
}

async fn changed(db: &Db, of: &Experiment, definition: &Definition) -> Experiment {
    match db.change_definition(TENANT, of.id, ask(of, definition), ACTOR).await.unwrap() {
        Changed::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

async fn again(db: &Db, of: &Experiment) -> Experiment {
    match db.rebuild_experiment(TENANT, of.id, ACTOR).await.unwrap() {
        Changed::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

async fn found(db: &Db) -> Experiment {
    db.store.experiment(TENANT, "one").await.unwrap().unwrap()
}

fn of_event(event: &str) -> Definition {
    let mut wanted = definition("one");
    wanted.metrics[0].event = Some(event.to_owned());
    wanted
}

/// Somebody is enrolled in partition 0.
async fn used(db: &Db) -> (Experiment, Owner) {
    let one = db.experiment("one").await;
    let one = match db.set_status(TENANT, one.id, Status::Running, ACTOR).await.unwrap() {
        Transition::Done(e) => *e,
        other => panic!("{other:?}"),
    };
    let mut owner = Owner::of(&**db, 0).await;
    let sums = moments(&one.plan(), 1);
    let moments = vec![row(key(&one, Partition(0), 0, ""), &sums)];
    owner.write("1-0", &Changes { moments, ..Changes::default() }).await;
    (one, owner)
}

/// The next transaction of an owner that has looked again.
async fn build(owner: &mut Owner, to: &str, rebuilds: Vec<RebuildRow>, moments: Vec<MomentsRow<'_>>) {
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    owner.write(to, &Changes { rebuilds, moments, ..Changes::default() }).await;
}

fn done(of: &Experiment, version: u32) -> RebuildRow {
    RebuildRow { experiment: of.id, version, cursor: Some(UnitId([255; 16])), done: true }
}

async fn without_anybody_enrolled_a_plan_is_served_at_once(db: Db) {
    let one = db.experiment("one").await;
    let after = changed(&db, &one, &of_event("other")).await;
    assert_eq!((after.plan_version, after.rebuild.clone()), (2, None));
    assert_eq!(after.definition.metrics[0].event(), "other");
    assert_eq!(again(&db, &after).await.plan_version, 3);
}

async fn a_version_is_served_when_every_partition_is_done(db: Db) {
    let (one, mut owner) = used(&db).await;
    let wanted = of_event("other");
    let asked = changed(&db, &one, &wanted).await;
    assert_eq!((asked.plan_version, &asked.definition), (1, &one.definition));
    let next = asked.rebuild.clone().unwrap();
    assert_eq!((next.version, &next.definition), (2, &wanted));
    assert_eq!((next.done_partitions, next.partitions), (0, PARTITIONS));
    assert_eq!(asked.wanted(), &wanted);

    // The owner must look again, and is told.
    assert_eq!(owner.apply.begin(&owner.advance("2-0", 0), &[]).await.unwrap(), None);
    let all: Vec<Partition> = (0..PARTITIONS).map(Partition).collect();
    let pending = owner.apply.rebuilding(&all).await.unwrap();
    assert_eq!(pending, all.iter().map(|p| (*p, one.id)).collect::<Vec<_>>());
    assert_eq!(owner.apply.rebuilding(&all[2..3]).await.unwrap(), [(Partition(2), one.id)]);
    let cursor = Some(unit_of("u"));
    let begun = RebuildRow { experiment: one.id, version: 2, cursor, done: false };
    let new = MomentsKey { plan_version: 2, ..key(&one, Partition(0), 0, "") };
    let sums = [1, 2].map(|n| moments(&asked.next_plan().unwrap(), n));
    let rows = vec![
        row(new.clone(), &sums[0]),
        MomentsRow { key: new.clone(), day: Day(TODAY.0 - 3), moments: &sums[1], is_new: false },
    ];
    build(&mut owner, "2-0", vec![begun], rows).await;
    let advance = owner.begin("3-0").await;
    let mut known = owner.apply.experiments(Partition(0), &[one.id]).await.unwrap();
    owner.apply.rollback().await.unwrap();
    known.days.sort_by_key(|r| r.day);
    assert_eq!((&known.experiments, &known.rebuilds), (&vec![asked.clone()], &vec![begun]));
    let days: Vec<_> = known.days.iter().map(|r| (&r.key, r.day.0, &r.moments)).collect();
    assert_eq!(days, [(&new, TODAY.0 - 3, &sums[1]), (&new, TODAY.0, &sums[0])]);
    drop(advance);
    // Answers do not see it.
    assert_eq!(db.answer(&asked, None).await.unwrap().len(), 1);
    assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), []);

    build(&mut owner, "3-0", vec![done(&one, 2)], Vec::new()).await;
    assert_eq!(found(&db).await.rebuild.unwrap().done_partitions, 1);
    for p in 1..PARTITIONS {
        assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), []);
        let mut another = Owner::of(&*db, p).await;
        another.write("1-0", &Changes { rebuilds: vec![done(&one, 2)], ..Changes::default() }).await;
    }
    assert_eq!(owner.apply.rebuilding(&all).await.unwrap(), []);
    assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), [one.id]);
    assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), []);
    let served = found(&db).await;
    assert_eq!((served.plan_version, &served.definition, &served.rebuild), (2, &wanted, &None));
    assert!(served.revision > asked.revision);
    assert_eq!(owner.apply.begin(&owner.advance("4-0", 0), &[]).await.unwrap(), None);
    // Whoever had read which version is served still finds it.
    assert_eq!(
        (db.answer(&asked, None).await.unwrap().len(), db.answer(&served, None).await.unwrap().len()),
        (1, 1)
    );
}

async fn a_later_wish_replaces_the_one_before_it(db: Db) {
    let (one, mut owner) = used(&db).await;
    let asked = changed(&db, &one, &of_event("other")).await;
    let sums = moments(&asked.next_plan().unwrap(), 1);
    let new = MomentsKey { plan_version: 2, ..key(&one, Partition(0), 0, "") };
    build(&mut owner, "2-0", vec![done(&one, 2)], vec![row(new, &sums)]).await;
    let asked = changed(&db, &asked, &of_event("another")).await;
    let next = asked.rebuild.clone().unwrap();
    assert_eq!((next.version, next.done_partitions), (3, 0));
    // Nothing is left of the version before it.
    assert_eq!(db.moments_rows(one.id, 2).await.unwrap(), []);
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    owner.begin("3-0").await;
    let known = owner.apply.experiments(Partition(0), &[one.id]).await.unwrap();
    owner.apply.rollback().await.unwrap();
    let begun = RebuildRow { experiment: one.id, version: 3, cursor: None, done: false };
    assert_eq!((known.rebuilds, known.days), (vec![begun], vec![]));
    // A name is not a plan.
    let mut named = of_event("another");
    named.name = "a name".into();
    let asked = changed(&db, &asked, &named).await;
    assert_eq!((asked.rebuild.clone().unwrap().version, asked.wanted()), (3, &named));
    // What a transaction under way says of a version that is not asked for any more counts for nothing.
    build(&mut owner, "4-0", vec![done(&one, 2)], Vec::new()).await;
    assert_eq!(found(&db).await.rebuild.unwrap().done_partitions, 0);
}

async fn what_is_served_already_needs_no_building(db: Db) {
    let (one, mut owner) = used(&db).await;
    let asked = changed(&db, &one, &of_event("other")).await;
    let mut wanted = one.definition.clone();
    wanted.name = "a name".into();
    let after = changed(&db, &asked, &wanted).await;
    assert_eq!((after.plan_version, &after.definition, &after.rebuild), (1, &wanted, &None));
    assert_eq!(owner.apply.rebuilding(&[Partition(0)]).await.unwrap(), []);
    assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), []);
}

async fn rebuilding_keeps_the_definition(db: Db) {
    let (one, mut owner) = used(&db).await;
    let asked = again(&db, &one).await;
    let next = asked.rebuild.clone().unwrap();
    assert_eq!((next.version, &next.definition), (2, &one.definition));
    // Once more is from the beginning.
    assert_eq!(again(&db, &asked).await.rebuild.unwrap().version, 3);
    assert_eq!(db.rebuild_experiment("other", one.id, ACTOR).await.unwrap(), Changed::NotFound);
    let actions = db.texts("SELECT action FROM audit_log ORDER BY id").await;
    assert_eq!(actions[2..], ["experiment.rebuild", "experiment.rebuild"]);
    // Of a deleted one too: it may come back.
    assert!(db.delete_experiment(TENANT, one.id, ACTOR).await.unwrap());
    assert_eq!(owner.apply.rebuilding(&[Partition(0)]).await.unwrap(), [(Partition(0), one.id)]);
    db.execute("UPDATE rebuilds SET done = true").await;
    assert_eq!(owner.apply.serve_rebuilt().await.unwrap(), [one.id]);
    let Restored::Done(back) = db.restore_experiment(TENANT, "one", ACTOR).await.unwrap() else {
        panic!("it is not purged")
    };
    assert_eq!((back.plan_version, back.rebuild), (3, None));
}

async fn an_owner_reads_units_and_conversions_in_its_transaction(db: Db) {
    let one = db.experiment("one").await;
    let mut owner = Owner::of(&*db, 0).await;
    let state = encode_unit(&enrolled(&one, TODAY));
    let new = |user_id| NewUnit { id: unit_of(user_id), tenant: TENANT, user_id, state: state.clone() };
    owner
        .write("1-0", &Changes { new_units: vec![new("a"), new("b"), new("c")], ..Changes::default() })
        .await;
    owner.record("2-0", &[conversion("a", "k", 1), conversion("b", "k", 2), conversion("c", "k", 3)]).await;
    let mut ids = ["a", "b", "c"].map(unit_of);
    ids.sort();
    let (first, last) = (UnitId([0; 16]), UnitId([255; 16]));
    owner.begin("3-0").await;
    let two = owner.apply.slice(first, last, 2).await.unwrap();
    assert_eq!((two.units.iter().map(|u| u.id).collect::<Vec<_>>(), two.end), (ids[..2].to_vec(), ids[1]));
    assert_eq!(two.conversions.iter().map(|c| c.unit).collect::<Vec<_>>(), ids[..2]);
    let rest = owner.apply.slice(ids[1], last, 9).await.unwrap();
    assert_eq!((rest.units.len(), rest.conversions.len(), rest.end), (2, 2, last));
    owner.apply.rollback().await.unwrap();
}

async fn new_weights_begin_a_phase(db: Db) {
    let draft = db.experiment("one").await;
    let weighed = |weight| {
        let mut wanted = definition("one");
        wanted.variations[1].weight = weight;
        wanted
    };
    // Nobody was assigned by the old ones.
    let one = changed(&db, &draft, &weighed(2.0)).await;
    assert_eq!((one.phases.len(), one.phase()), (0, 0));
    let (one, mut owner) = used(&db).await;
    let two = changed(&db, &one, &weighed(3.0)).await;
    assert_eq!((two.plan_version, &two.rebuild, two.phase()), (1, &None, 1));
    assert_eq!(two.phases.iter().map(|p| p.weights[1]).collect::<Vec<_>>(), [2.0, 3.0]);
    assert_eq!(Some(two.phases[0].began_at), one.started_at);
    assert!(two.phases[1].began_at >= two.phases[0].began_at);
    // Owners enroll into it from their next transaction on.
    assert_eq!(owner.apply.begin(&owner.advance("2-0", 0), &[]).await.unwrap(), None);
    let mut named = weighed(3.0);
    named.name = "a name".into();
    assert_eq!(changed(&db, &two, &named).await.phase(), 1);
}
