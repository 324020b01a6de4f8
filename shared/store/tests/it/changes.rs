//! Experiments that are changed, put away and brought back, and what the audit log says of it.

use crate::db::{ACTOR, Db, TENANT, definition, listing};
use crate::owner::{Owner, key, moments, row};
use domain::ExperimentId;
use domain::definition::Definition;
use store::apply::Changes;
use store::{Actor, Change, Changed, Experiment, Listing, Restored, Status, Transition};

on_both!(
    a_change_that_keeps_the_plan_keeps_its_version,
    another_plan_is_another_version_and_owners_learn_it,
    a_change_made_of_an_older_revision_changes_nothing,
    of_many_who_change_one_revision_one_does,
    what_was_put_away_comes_back_as_it_was,
    what_ran_when_it_was_deleted_comes_back_stopped_with_its_sums,
    history_comes_in_pages_and_outlives_the_experiment,
    lists_are_narrowed_by_status_and_label,
);

async fn change(db: &Db, of: &Experiment, definition: &Definition) -> Changed {
    let change = Change { revision: of.revision, definition, detail: "[]" };
    db.change_definition(&of.tenant, of.id, change, ACTOR).await.unwrap()
}

async fn changed(db: &Db, of: &Experiment, definition: &Definition) -> Experiment {
    match change(db, of, definition).await {
        Changed::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

async fn moved(db: &Db, of: &Experiment, to: Status) -> Experiment {
    match db.set_status(TENANT, of.id, to, ACTOR).await.unwrap() {
        Transition::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

/// A mean metric instead of a count of the same event.
fn other_plan(key: &str) -> Definition {
    let mut definition = definition(key);
    definition.metrics[0].event = Some("basket".to_owned());
    definition
}

async fn a_change_that_keeps_the_plan_keeps_its_version(db: Db) {
    let one = moved(&db, &db.experiment("one").await, Status::Running).await;
    let mut owner = Owner::of(&*db, 0).await;
    owner.write("1-0", &Changes::default()).await;
    let mut wanted = one.definition.clone();
    wanted.name = "Grüße".to_owned();
    wanted.analysis.alpha = 0.01;
    let after = changed(&db, &one, &wanted).await;
    assert_eq!((after.revision, after.plan_version, after.status), (3, 1, Status::Running));
    assert_eq!((&after.definition, after.started_at), (&wanted, one.started_at));
    assert_eq!(db.store.experiment(TENANT, "one").await.unwrap(), Some(after));
    // Its owners need not look again.
    owner.begin("2-0").await;
    owner.apply.rollback().await.unwrap();
}

async fn another_plan_is_another_version_and_owners_learn_it(db: Db) {
    let one = db.experiment("one").await;
    let mut owner = Owner::of(&*db, 3).await;
    owner.write("1-0", &Changes::default()).await;
    let after = changed(&db, &one, &other_plan("one")).await;
    assert_eq!((after.revision, after.plan_version), (2, 2));
    let stale = owner.advance("2-0", 1);
    assert_eq!(owner.apply.begin(&stale, &[]).await.unwrap(), None);
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    owner.begin("2-0").await;
    let known = owner.apply.experiments(owner.partition, &[one.id]).await.unwrap();
    assert_eq!(known.experiments, [after]);
    owner.apply.rollback().await.unwrap();
}

async fn a_change_made_of_an_older_revision_changes_nothing(db: Db) {
    let one = db.experiment("one").await;
    let mut wanted = one.definition.clone();
    wanted.name = "first".to_owned();
    let first = changed(&db, &one, &wanted).await;
    wanted.name = "second".to_owned();
    assert_eq!(change(&db, &one, &wanted).await, Changed::Outrun);
    // A change of status is a change too.
    let running = moved(&db, &first, Status::Running).await;
    assert_eq!(change(&db, &first, &wanted).await, Changed::Outrun);
    assert_eq!(db.store.experiment(TENANT, "one").await.unwrap(), Some(running.clone()));

    let theirs = Experiment { tenant: "other".to_owned(), ..running.clone() };
    assert_eq!(change(&db, &theirs, &wanted).await, Changed::NotFound);
    let nobodys = Experiment { id: ExperimentId(9_999), ..running.clone() };
    assert_eq!(change(&db, &nobodys, &wanted).await, Changed::NotFound);
    assert!(db.delete_experiment(TENANT, one.id, ACTOR).await.unwrap());
    assert_eq!(change(&db, &running, &wanted).await, Changed::NotFound);
    let actions = db.texts("SELECT action FROM audit_log ORDER BY id").await;
    assert_eq!(actions, ["experiment.create", "experiment.change", "experiment.status", "experiment.delete"]);
}

async fn of_many_who_change_one_revision_one_does(db: Db) {
    let one = db.experiment("one").await;
    let mut changing = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (store, id, revision) = (db.store.clone(), one.id, one.revision);
        let mut wanted = one.definition.clone();
        wanted.name = format!("name {n}");
        changing.spawn(async move {
            let change = Change { revision, definition: &wanted, detail: "[]" };
            store.change_definition(TENANT, id, change, ACTOR).await.unwrap()
        });
    }
    let outcomes = changing.join_all().await;
    let done: Vec<&Changed> = outcomes.iter().filter(|o| matches!(o, Changed::Done(_))).collect();
    assert_eq!(outcomes.iter().filter(|o| **o == Changed::Outrun).count(), 7);
    let stored = db.store.experiment(TENANT, "one").await.unwrap().unwrap();
    assert_eq!(done, [&Changed::Done(Box::new(stored))]);
}

async fn restored(db: &Db, reference: &str) -> Restored {
    db.restore_experiment(TENANT, reference, ACTOR).await.unwrap()
}

async fn what_was_put_away_comes_back_as_it_was(db: Db) {
    let running = moved(&db, &db.experiment("ran").await, Status::Running).await;
    assert_eq!(restored(&db, "ran").await, Restored::Done(Box::new(running.clone())), "it was not away");
    let stopped = moved(&db, &running, Status::Stopped).await;
    let archived = moved(&db, &stopped, Status::Archived).await;
    let back = Experiment { revision: archived.revision + 1, ..stopped };
    assert_eq!(restored(&db, &back.id.to_string()).await, Restored::Done(Box::new(back.clone())));
    assert_eq!(db.store.experiment(TENANT, "ran").await.unwrap(), Some(back));

    let draft = db.experiment("draft").await;
    moved(&db, &draft, Status::Archived).await;
    let back = Experiment { revision: 3, ..draft.clone() };
    assert_eq!(restored(&db, "draft").await, Restored::Done(Box::new(back)));
    assert!(db.delete_experiment(TENANT, draft.id, ACTOR).await.unwrap());
    let other = db.restore_experiment("other", "draft", ACTOR).await.unwrap();
    assert_eq!(other, Restored::NotFound);
    // Its owners cached that there is no such experiment.
    let mut owner = Owner::of(&*db, 0).await;
    owner.write("1-0", &Changes::default()).await;
    let back = Experiment { revision: 5, ..draft };
    assert_eq!(restored(&db, "draft").await, Restored::Done(Box::new(back.clone())));
    assert_eq!(db.store.experiment(TENANT, "draft").await.unwrap(), Some(back));
    let stale = owner.advance("2-0", 1);
    assert_eq!(owner.apply.begin(&stale, &[]).await.unwrap(), None);
    assert_eq!(restored(&db, "nothing").await, Restored::NotFound);
}

async fn what_ran_when_it_was_deleted_comes_back_stopped_with_its_sums(db: Db) {
    let running = moved(&db, &db.experiment("ran").await, Status::Running).await;
    let sums = moments(&running.plan(), 3);
    let mut owner = Owner::of(&*db, 0).await;
    let enrolled =
        Changes { moments: vec![row(key(&running, owner.partition, 0, ""), &sums)], ..Changes::default() };
    owner.write("1-0", &enrolled).await;
    let before = db.answer(&running, None).await.unwrap();
    assert!(db.delete_experiment(TENANT, running.id, ACTOR).await.unwrap());
    assert_eq!(db.store.experiment(TENANT, "ran").await.unwrap(), None);
    // Its owner is told, and has what it takes to keep the sums up.
    owner.state = owner.apply.load(owner.partition).await.unwrap();
    owner.begin("2-0").await;
    let known = owner.apply.experiments(owner.partition, &[running.id]).await.unwrap();
    assert_eq!((known.deleted, &known.moments), (vec![running.id], &before));
    assert_eq!(known.experiments[0].plan(), running.plan());
    owner.apply.rollback().await.unwrap();

    let Restored::Done(back) = restored(&db, "ran").await else { panic!("it is not purged") };
    assert_eq!((back.status, back.started_at), (Status::Stopped, running.started_at));
    assert!(back.stopped_at >= running.started_at, "when it was deleted, it was stopped");
    assert_eq!((&back.definition, back.revision), (&running.definition, running.revision + 2));
    assert_eq!(db.answer(&back, None).await.unwrap(), before);
    assert_eq!(db.store.experiment(TENANT, "ran").await.unwrap(), Some(*back.clone()));
    assert_eq!(restored(&db, "ran").await, Restored::Done(back.clone()), "it was not away");
    assert_eq!(owner.apply.begin(&owner.advance("2-0", 0), &[]).await.unwrap(), None);
    // What was stopped or archived before keeps the time of that.
    moved(&db, &back, Status::Archived).await;
    assert!(db.delete_experiment(TENANT, back.id, ACTOR).await.unwrap());
    let Restored::Done(again) = restored(&db, "ran").await else { panic!("it is not purged") };
    assert_eq!((again.status, again.stopped_at), (Status::Stopped, back.stopped_at));
}

async fn history_comes_in_pages_and_outlives_the_experiment(db: Db) {
    let one = db.experiment("one").await;
    db.experiment("two").await;
    let actor = Actor { name: "admin key", request_id: "r-2" };
    let mut wanted = one.definition.clone();
    wanted.name = "Grüße".to_owned();
    let detail = r#"[{"pointer":"/name","to":"Grüße"}]"#;
    let change = Change { revision: 1, definition: &wanted, detail };
    db.change_definition(TENANT, one.id, change, actor).await.unwrap();
    db.set_status(TENANT, one.id, Status::Running, actor).await.unwrap();
    assert!(db.delete_experiment(TENANT, one.id, actor).await.unwrap());

    let latest = db.experiment_history(TENANT, one.id, None, 3).await.unwrap();
    let actions: Vec<&str> = latest.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(actions, ["experiment.delete", "experiment.status", "experiment.change"]);
    assert_eq!((latest[2].detail.as_str(), latest[1].detail.as_str()), (detail, "running"));
    assert_eq!((latest[2].actor.as_str(), latest[2].request_id.as_str()), ("admin key", "r-2"));
    assert!(latest.is_sorted_by(|a, b| a.id > b.id && a.at >= b.at));
    let rest = db.experiment_history(TENANT, one.id, Some(latest[2].id), 3).await.unwrap();
    assert_eq!((rest.len(), rest[0].action.as_str()), (1, "experiment.create"));
    assert_eq!(serde_json::from_str::<Definition>(&rest[0].detail).unwrap(), one.definition);
    assert!(rest[0].at >= one.created_at);
    assert_eq!(db.experiment_history(TENANT, one.id, Some(rest[0].id), 3).await.unwrap(), []);
    assert_eq!(db.experiment_history("other", one.id, None, 3).await.unwrap(), []);
}

async fn lists_are_narrowed_by_status_and_label(db: Db) {
    for (key, labels) in [("a", vec!["team 1", "q3"]), ("b", vec![]), ("c", vec!["q3"]), ("d", vec!["Q3"])] {
        let e = db.experiment(key).await;
        let mut wanted = e.definition.clone();
        wanted.labels = labels.into_iter().map(str::to_owned).collect();
        changed(&db, &e, &wanted).await;
    }
    let c = db.store.experiment(TENANT, "c").await.unwrap().unwrap();
    moved(&db, &c, Status::Running).await;
    let keys = async |status, label| {
        let listing = Listing { status, label, ..listing(ExperimentId(0), 10) };
        let found = db.list_experiments(TENANT, listing).await.unwrap();
        found.iter().map(|e| e.key.clone()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(keys(None, None).await, "a,b,c,d");
    assert_eq!(keys(Some(Status::Running), None).await, "c");
    assert_eq!(keys(None, Some("q3")).await, "a,c");
    assert_eq!(keys(Some(Status::Draft), Some("q3")).await, "a");
    assert_eq!(keys(Some(Status::Archived), None).await, "");
    assert_eq!(keys(None, Some("team 1")).await, "a");
    assert_eq!(keys(None, Some("team' OR 1=1")).await, "");
}
