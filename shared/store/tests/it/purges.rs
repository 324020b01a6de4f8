//! Retention, as the store carries it: asked for, due once a day, and taken in steps by the owner.

use crate::db::{ACTOR, Db, PARTITIONS, PATIENCE, TENANT};
use crate::owner::{Owner, TODAY, conversion, key, moments, row, unit_of};
use domain::{Day, ExperimentId, Partition, UnitId};
use store::apply::{Changes, DeadLetter, PurgeRow, PurgeStep};
use store::{Experiment, Kept, PurgeCounts, Restored, Status};

on_both!(
    a_purge_is_due_once_a_day,
    what_is_put_away_for_as_long_is_sealed,
    what_is_deleted_for_as_long_is_gone,
    a_step_takes_what_it_names_and_no_more,
    a_dry_run_is_apart_and_takes_nothing,
    every_migration_is_listed,
);

const ALL: Kept = Kept { conversions: Some(30), dead_letters: Some(7), audit: Some(90) };
const LAST: UnitId = UnitId([255; 16]);

async fn pending(owner: &mut Owner) -> Vec<PurgeRow> {
    owner.apply.purges(&[owner.partition]).await.unwrap()
}

/// One step, committed.
async fn step(owner: &mut Owner, to: &str, step: &PurgeStep<'_>) -> PurgeCounts {
    let advance = owner.begin(to).await;
    assert!(!owner.apply.is_viewed());
    let counts = owner.apply.purge(step).await.unwrap();
    owner.finish(advance, &Changes::default()).await.unwrap();
    counts
}

/// Whether a purge was due once more on the day of the last one: midnight may have passed since.
async fn due_again(db: &Db, kept: Kept) -> bool {
    let day = async || db.last_purge(false).await.unwrap().unwrap().audit.unwrap().before;
    let last = day().await;
    db.purge_when_due(kept, PARTITIONS, ACTOR).await.unwrap() && day().await == last
}

async fn a_purge_is_due_once_a_day(db: Db) {
    assert_eq!(db.last_purge(false).await.unwrap(), None);
    assert!(db.purge_when_due(ALL, PARTITIONS, ACTOR).await.unwrap());
    assert!(!due_again(&db, ALL).await);
    // Less to take is taken; more is not yet.
    assert!(!due_again(&db, Kept { conversions: Some(31), ..ALL }).await);
    assert!(db.purge_when_due(Kept { conversions: Some(29), ..ALL }, PARTITIONS, ACTOR).await.unwrap());
    let asked = db.last_purge(false).await.unwrap().unwrap();
    assert!(!due_again(&db, ALL).await);
    assert_eq!((asked.done_partitions, asked.partitions, asked.dry_run), (0, PARTITIONS, false));
    let before = |of: Option<store::PurgeOf>| of.unwrap().before;
    assert_eq!(before(asked.dead_letters).0 - before(asked.audit).0, 83);
    assert_eq!(before(asked.dead_letters).0 - before(asked.conversions).0, 22);
    // One of another kind leaves the others as they were.
    let only = Kept { audit: Some(1), ..Kept::default() };
    let asked = db.purge(TENANT, only, false, PARTITIONS, ACTOR).await.unwrap();
    assert_eq!((asked.conversions, asked.dead_letters, asked.audit.is_some()), (None, None, true));
    let told = db.audit_log(TENANT, "retention.", None, 10).await.unwrap();
    let [entry] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (&*entry.action, &*entry.actor, &*entry.detail),
        ("retention.purge", "tester", "{\"audit_days\":1}")
    );
    assert!(db.purge_when_due(ALL, PARTITIONS, ACTOR).await.unwrap());
}

async fn what_is_put_away_for_as_long_is_sealed(db: Db) {
    let (old, new, running) =
        (db.experiment("old").await, db.experiment("new").await, db.experiment("running").await);
    for e in [&old, &new] {
        db.set_status(TENANT, e.id, Status::Archived, ACTOR).await.unwrap();
    }
    db.set_status(TENANT, running.id, Status::Running, ACTOR).await.unwrap();
    put_away_long_ago(&db, &old).await;
    let mut owner = Owner::of(&*db, 0).await;
    db.purge(TENANT, ALL, true, PARTITIONS, ACTOR).await.unwrap();
    let dry = pending(&mut owner).await;
    assert_eq!(dry[0].sealed, [old.id]);
    assert_eq!(db.experiment_by("old").await.purged_at, None);
    db.purge(TENANT, ALL, false, PARTITIONS, ACTOR).await.unwrap();
    assert!(db.experiment_by("old").await.purged_at.is_some());
    assert_eq!(db.experiment_by("new").await.purged_at, None);
    assert_eq!(db.experiment_by("running").await.purged_at, None);
    // Owners look again.
    assert_eq!(owner.apply.begin(&owner.advance("1-0", 0), &[]).await.unwrap(), None);
    assert_eq!(db.restore_experiment(TENANT, "old", ACTOR).await.unwrap(), Restored::Purged);
    assert_eq!(db.rebuild_experiment(TENANT, old.id, ACTOR).await.unwrap(), store::Changed::Purged);
    let purged = db.texts("SELECT subject FROM audit_log WHERE action = 'experiment.purge'").await;
    assert_eq!(purged, [old.id.to_string()]);
}

/// Forty days.
async fn put_away_long_ago(db: &Db, experiment: &Experiment) {
    let long_ago = match db.backend {
        crate::db::Backend::Postgres => "now() - interval '40 days'",
        crate::db::Backend::Sqlite => "(unixepoch() - 40 * 86400) * 1000000",
    };
    let id = experiment.id;
    db.execute(&format!("UPDATE experiments SET archived_at = {long_ago} WHERE id = {id}")).await;
}

async fn what_is_deleted_for_as_long_is_gone(db: Db) {
    let [old, archived, new] =
        [db.experiment("old").await, db.experiment("archived").await, db.experiment("new").await];
    let mut owner = Owner::of(&*db, 0).await;
    let sums = moments(&old.plan(), 3);
    let of = |e| row(key(e, owner.partition, 0, ""), &sums);
    let changes = Changes { moments: vec![of(&old), of(&archived), of(&new)], ..Changes::default() };
    owner.write("1-0", &changes).await;
    db.set_status(TENANT, archived.id, Status::Archived, ACTOR).await.unwrap();
    put_away_long_ago(&db, &archived).await;
    for e in [&old, &archived, &new] {
        assert!(db.delete_experiment(TENANT, e.id, ACTOR).await.unwrap());
    }
    put_away_long_ago(&db, &old).await;
    db.purge(TENANT, ALL, true, PARTITIONS, ACTOR).await.unwrap();
    assert_eq!(pending(&mut owner).await[0].sealed, [old.id, archived.id]);
    assert_eq!(db.count("moments").await, 3);
    db.purge(TENANT, ALL, false, PARTITIONS, ACTOR).await.unwrap();
    assert_eq!((db.count("moments").await, db.count("moments_keys").await), (1, 1));
    for e in [&old, &archived] {
        assert_eq!(db.restore_experiment(TENANT, &e.key, ACTOR).await.unwrap(), Restored::Purged);
        assert_eq!(db.store.experiment(TENANT, &e.key).await.unwrap(), None);
    }
    let Restored::Done(back) = db.restore_experiment(TENANT, "new", ACTOR).await.unwrap() else {
        panic!("it was deleted today")
    };
    assert_eq!(db.answer(&back, None).await.unwrap().len(), 1);
}

async fn a_step_takes_what_it_names_and_no_more(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    owner.record("1-0", &[conversion("a", "k", 1), conversion("a", "l", 2), conversion("b", "k", 3)]).await;
    let letter = || DeadLetter {
        tenant: TENANT,
        experiment: ExperimentId::NONE,
        entry: "1-0".into(),
        batch: None,
        request_id: None,
        reason: "overflow",
        detail: String::new(),
        events: 1,
        payload: vec![1].into(),
        digest: None,
    };
    let changes = Changes { dead_letters: vec![letter(), letter(), letter()], ..Changes::default() };
    owner.write("2-0", &changes).await;
    match db.backend {
        crate::db::Backend::Postgres => db.execute("UPDATE dead_letters SET created_at = 'epoch'").await,
        crate::db::Backend::Sqlite => db.execute("UPDATE dead_letters SET created_at = 0").await,
    }
    db.purge(TENANT, ALL, false, PARTITIONS, ACTOR).await.unwrap();
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    let row = pending(&mut owner).await.remove(0);
    assert_eq!((row.partition, row.dry_run, row.cursor), (Partition(0), false, None));
    let gone = vec![(unit_of("a"), ExperimentId::NONE, "k"), (unit_of("b"), ExperimentId::NONE, "k")];
    let first = PurgeStep { of: &row, conversions: gone, cursor: unit_of("b"), is_last: false, limit: 2 };
    let counts = step(&mut owner, "3-0", &first).await;
    assert_eq!(counts, PurgeCounts { conversions: 2, dead_letters: 2, audit: 0, done: false });
    assert_eq!((db.count("conversions").await, db.count("dead_letters").await), (1, 1));
    // Whoever goes on finds where it was.
    let row = pending(&mut owner).await.remove(0);
    assert_eq!(row.cursor, Some(unit_of("b")));
    let last = PurgeStep { of: &row, conversions: Vec::new(), cursor: LAST, is_last: true, limit: 2 };
    let counts = step(&mut owner, "4-0", &last).await;
    assert_eq!(counts, PurgeCounts { conversions: 0, dead_letters: 1, audit: 0, done: true });
    assert_eq!(pending(&mut owner).await, []);
    let state = db.last_purge(false).await.unwrap().unwrap();
    assert_eq!(
        (state.done_partitions, state.conversions.unwrap().rows, state.dead_letters.unwrap().rows),
        (1, 2, 3)
    );
    // What is not committed did not happen.
    db.purge(TENANT, ALL, false, PARTITIONS, ACTOR).await.unwrap();
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    let row = pending(&mut owner).await.remove(0);
    owner.begin("5-0").await;
    let gone = vec![(unit_of("a"), ExperimentId::NONE, "l")];
    let step = PurgeStep { of: &row, conversions: gone, cursor: LAST, is_last: true, limit: 2 };
    owner.apply.purge(&step).await.unwrap();
    owner.apply.rollback().await.unwrap();
    assert_eq!((db.count("conversions").await, pending(&mut owner).await), (1, vec![row]));
}

async fn a_dry_run_is_apart_and_takes_nothing(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    owner.record("1-0", &[conversion("a", "k", 1)]).await;
    db.purge(TENANT, ALL, true, PARTITIONS, ACTOR).await.unwrap();
    db.purge(TENANT, ALL, false, PARTITIONS, ACTOR).await.unwrap();
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    let rows = pending(&mut owner).await;
    assert_eq!(rows.iter().map(|row| row.dry_run).collect::<Vec<_>>(), [false, true]);
    let gone = vec![(unit_of("a"), ExperimentId::NONE, "k")];
    let dry = PurgeStep { of: &rows[1], conversions: gone, cursor: LAST, is_last: true, limit: 2 };
    let counts = step(&mut owner, "2-0", &dry).await;
    assert_eq!((counts.conversions, counts.done, db.count("conversions").await), (1, true, 1));
    assert_eq!(db.last_purge(true).await.unwrap().unwrap().conversions.unwrap().rows, 1);
    assert_eq!(db.last_purge(false).await.unwrap().unwrap().conversions.unwrap().rows, 0);
    assert_eq!(pending(&mut owner).await, [rows[0].clone()]);
    assert!(rows[0].conversions.unwrap() > Day(TODAY.0));
}

async fn every_migration_is_listed(db: Db) {
    let all = db.migrations().await.unwrap();
    assert!(all.len() > 5 && all.iter().all(|m| m.known && m.applied_at.is_some()), "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0].version < pair[1].version));
    let (location, _tables) = crate::db::nowhere(db.backend).await;
    let empty = store::connect_to_write(&location).await.unwrap();
    let none = empty.migrations().await.unwrap();
    assert_eq!(none.len(), all.len());
    assert!(none.iter().all(|m| m.applied_at.is_none()));
    drop(empty);
    store::open(&location, PARTITIONS, PATIENCE).await.unwrap();
}
