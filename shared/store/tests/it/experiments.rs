//! Experiments: created once, found, listed, moved through their statuses, deleted; each change audited.

use crate::db::{ACTOR, Db, TENANT, definition, listing};
use crate::owner::{Owner, TODAY, conversion, key, moments, row};
use domain::ExperimentId;
use store::apply::{Changes, Count};
use store::{Actor, Created, ErrorKind, Experiment, Imported, Status, StoreError, Transition};

on_both!(
    creating_again_returns_what_is_there,
    of_many_who_create_one_does,
    keys_and_ids_find_an_experiment_of_the_tenant,
    statuses_move_as_allowed_and_keep_their_times,
    lists_come_in_pages,
    a_deleted_experiment_keeps_its_key_its_conversions_and_its_sums,
    an_owner_notices_a_deletion,
    every_change_is_audited,
    a_definition_comes_back_as_written,
    all_of_them_are_imported_or_none,
);

async fn creating_again_returns_what_is_there(db: Db) {
    let Created::New(first) = db.create_experiment(TENANT, &definition("one"), ACTOR).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!((first.tenant.as_str(), first.key.as_str()), (TENANT, "one"));
    assert_eq!((first.status, first.plan_version, first.revision), (Status::Draft, 1, 1));
    assert_eq!((first.started_at, first.stopped_at), (None, None));
    assert!(first.id.0 > 0 && first.created_at.0 > 0);

    let mut other = definition("one");
    other.name = "another name".into();
    let again = db.create_experiment(TENANT, &other, ACTOR).await.unwrap();
    assert_eq!(again, Created::Exists(first.clone()));
    // Another tenant's key is another key.
    let Created::New(theirs) = db.create_experiment("other", &definition("one"), ACTOR).await.unwrap() else {
        panic!("it is new")
    };
    assert_ne!(theirs.id, first.id);
}

async fn of_many_who_create_one_does(db: Db) {
    let mut creating = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = db.store.clone();
        creating.spawn(async move { store.create_experiment(TENANT, &definition("one"), ACTOR).await });
    }
    let mut new = 0;
    let mut ids = Vec::new();
    while let Some(created) = creating.join_next().await {
        let (Created::New(e) | Created::Exists(e)) = {
            let created = created.unwrap().unwrap();
            new += u32::from(matches!(created, Created::New(_)));
            created
        };
        ids.push(e.id);
    }
    ids.dedup();
    assert_eq!((new, ids.len()), (1, 1));
}

async fn keys_and_ids_find_an_experiment_of_the_tenant(db: Db) {
    let one = db.experiment("one").await;
    let id = one.id.to_string();
    for reference in ["one", &id] {
        assert_eq!(db.store.experiment(TENANT, reference).await.unwrap(), Some(one.clone()));
        assert_eq!(db.store.experiment("other", reference).await.unwrap(), None);
    }
    for unknown in ["two", "", "0", "-1", "9223372036854775807", "9223372036854775808", "One", "one "] {
        assert_eq!(db.store.experiment(TENANT, unknown).await.unwrap(), None, "{unknown:?}");
    }
}

async fn become_status(db: &Db, e: &Experiment, to: Status) -> Transition {
    db.set_status(TENANT, e.id, to, ACTOR).await.unwrap()
}

async fn done(db: &Db, e: &Experiment, to: Status) -> Experiment {
    match become_status(db, e, to).await {
        Transition::Done(e) => *e,
        other => panic!("{other:?}"),
    }
}

async fn statuses_move_as_allowed_and_keep_their_times(db: Db) {
    use Status::{Archived, Draft, Running, Stopped};
    let draft = db.experiment("one").await;
    assert_eq!(become_status(&db, &draft, Stopped).await, Transition::Refused(Draft));
    assert_eq!(done(&db, &draft, Draft).await, draft, "staying changes nothing");

    let running = done(&db, &draft, Running).await;
    assert_eq!((running.status, running.revision, running.stopped_at), (Running, 2, None));
    let started = running.started_at.unwrap();
    assert!(started >= draft.created_at);
    assert_eq!(done(&db, &draft, Running).await, running, "staying changes nothing");
    for refused in [Draft, Archived] {
        assert_eq!(become_status(&db, &draft, refused).await, Transition::Refused(Running));
    }

    let stopped = done(&db, &draft, Stopped).await;
    assert_eq!((stopped.revision, stopped.started_at), (3, Some(started)));
    assert!(stopped.stopped_at.unwrap() >= started);
    let again = done(&db, &draft, Running).await;
    assert_eq!((again.revision, again.started_at, again.stopped_at), (4, Some(started), None));
    let stopped = done(&db, &draft, Stopped).await;
    let archived = done(&db, &draft, Archived).await;
    assert_eq!((archived.revision, archived.stopped_at), (6, stopped.stopped_at));
    for refused in [Draft, Running, Stopped] {
        assert_eq!(become_status(&db, &draft, refused).await, Transition::Refused(Archived));
    }
    assert_eq!(db.store.experiment(TENANT, "one").await.unwrap(), Some(archived));

    let theirs = db.set_status("other", draft.id, Running, ACTOR).await.unwrap();
    assert_eq!(theirs, Transition::NotFound);
    let nobodys = db.set_status(TENANT, ExperimentId(9_999), Running, ACTOR).await.unwrap();
    assert_eq!(nobodys, Transition::NotFound);
}

async fn lists_come_in_pages(db: Db) {
    let mut all = Vec::new();
    for i in 0..7 {
        all.push(db.experiment(&format!("e{i}")).await);
    }
    let theirs = db.experiment_of("other", "x").await;
    assert!(db.delete_experiment(TENANT, all[3].id, ACTOR).await.unwrap());
    all.remove(3);
    let mut listed = Vec::new();
    loop {
        let after = listed.last().map_or(ExperimentId(0), |e: &Experiment| e.id);
        let page = db.list_experiments(TENANT, listing(after, 4)).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed, all);
    assert_eq!(db.list_experiments("nobody", listing(ExperimentId(0), 4)).await.unwrap(), []);
    all.push(theirs);
    assert_eq!(db.all_experiments().await.unwrap(), all);
}

async fn a_deleted_experiment_keeps_its_key_its_conversions_and_its_sums(db: Db) {
    let (one, two) = (db.experiment("one").await, db.experiment("two").await);
    let mut owner = Owner::of(&*db, 0).await;
    let mut sale = conversion("u", "k", 1);
    sale.experiment = one.id;
    owner.record("1-0", &[sale]).await;
    let sums = moments(&one.plan(), 3);
    let changes = Changes {
        moments: vec![
            row(key(&one, owner.partition, 0, ""), &sums),
            row(key(&two, owner.partition, 0, ""), &sums),
        ],
        counters: vec![Count { tenant: TENANT, experiment: one.id, variation: 0, name: "exposures", n: 3 }],
        ..Changes::default()
    };
    owner.write("2-0", &changes).await;

    assert!(!db.delete_experiment("other", one.id, ACTOR).await.unwrap(), "another tenant's");
    assert!(db.delete_experiment(TENANT, one.id, ACTOR).await.unwrap());
    assert!(!db.delete_experiment(TENANT, one.id, ACTOR).await.unwrap(), "already deleted");
    assert_eq!(db.store.experiment(TENANT, "one").await.unwrap(), None);
    assert_eq!(become_status(&db, &one, Status::Running).await, Transition::NotFound);
    let refused = db.create_experiment(TENANT, &definition("one"), ACTOR).await.unwrap_err();
    assert!(matches!(&refused, StoreError::KeyUsed(key) if key == "one"), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Fatal);

    // Sums, ledger and books stay.
    assert_eq!((db.count("moments").await, db.count("moments_keys").await), (2, 2));
    assert_eq!(db.count("conversions").await, 1);
    assert_eq!(db.counters(TENANT, Some(one.id), None).await.unwrap()[0].n, 3);
    // What is created next has an id of its own.
    assert!(db.experiment("three").await.id > two.id);
}

async fn an_owner_notices_a_deletion(db: Db) {
    let one = db.experiment("one").await;
    let mut owners = [Owner::of(&*db, 0).await, Owner::of(&*db, 3).await];
    for owner in &mut owners {
        owner.write("1-0", &Changes::default()).await;
    }
    db.delete_experiment(TENANT, one.id, ACTOR).await.unwrap();
    for owner in &mut owners {
        let stale = owner.advance("2-0", 1);
        assert_eq!(owner.apply.begin(&stale, &[]).await.unwrap(), None);
        let state = owner.apply.load(owner.partition).await.unwrap();
        assert_eq!((state.epoch, state.position.as_str(), state.day), (1, "1-0", TODAY));
        owner.state = state;
        owner.begin("2-0").await;
        let known = owner.apply.experiments(owner.partition, &[one.id]).await.unwrap();
        assert_eq!(known.deleted, [one.id]);
        owner.apply.rollback().await.unwrap();
    }
}

async fn every_change_is_audited(db: Db) {
    let one = db.experiment("one").await;
    let actor = Actor { name: "admin key", request_id: "r-2" };
    db.set_status(TENANT, one.id, Status::Running, actor).await.unwrap();
    // None of these changes anything.
    db.set_status(TENANT, one.id, Status::Running, actor).await.unwrap();
    db.set_status(TENANT, one.id, Status::Draft, actor).await.unwrap();
    db.create_experiment(TENANT, &definition("one"), actor).await.unwrap();
    db.delete_experiment("other", one.id, actor).await.unwrap();
    db.delete_experiment(TENANT, one.id, actor).await.unwrap();
    let columns = "tenant || '|' || actor || '|' || action || '|' || subject || '|' || request_id || '|'";
    let audited = db
        .texts(&format!(
            "SELECT {columns} || CASE WHEN action = 'experiment.create' THEN '' ELSE detail END
             FROM audit_log ORDER BY id"
        ))
        .await;
    let id = one.id;
    assert_eq!(
        audited,
        [
            format!("acme|tester|experiment.create|{id}|r-1|"),
            format!("acme|admin key|experiment.status|{id}|r-2|running"),
            format!("acme|admin key|experiment.delete|{id}|r-2|"),
        ]
    );
}

async fn a_definition_comes_back_as_written(db: Db) {
    let mut wanted = definition("one");
    wanted.name = "Grüße — 你好 🎈 \" ' \\ \u{7}".into();
    wanted.variations[0].weight = 0.1 + 0.2;
    wanted.variations[1].weight = f64::MIN_POSITIVE;
    let Created::New(created) = db.create_experiment("mieter-ü", &wanted, ACTOR).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(created.definition, wanted);
    let found = db.store.experiment("mieter-ü", "one").await.unwrap().unwrap();
    assert_eq!((found.definition, found.tenant.as_str()), (wanted, "mieter-ü"));
}

async fn all_of_them_are_imported_or_none(db: Db) {
    let there = db.experiment("there").await;
    let gone = db.experiment("gone").await;
    assert!(db.delete_experiment(TENANT, gone.id, ACTOR).await.unwrap());
    let new = [definition("a"), there.definition.clone(), definition("b")];
    let import = async |definitions: &[domain::definition::Definition], commit| {
        db.import_experiments(TENANT, definitions, commit, ACTOR).await.unwrap()
    };
    let keys = async || -> Vec<String> {
        let found = db.list_experiments(TENANT, listing(ExperimentId(0), 100)).await.unwrap();
        found.into_iter().map(|e| e.key).collect()
    };
    let outcomes = |imported: &[Imported]| -> Vec<char> {
        let letter = |one: &Imported| match one {
            Imported::New(_) => 'n',
            Imported::Equal(_) => 'e',
            Imported::Taken(_) => 't',
            Imported::Used => 'u',
        };
        imported.iter().map(letter).collect()
    };
    // Tried first.
    assert_eq!(outcomes(&import(&new, false).await), ['n', 'e', 'n']);
    assert_eq!(keys().await, ["there"]);
    // With something in the way nothing is written, whatever else there is.
    let mut other = there.definition.clone();
    other.name = "another".into();
    let in_the_way = [definition("a"), other, definition("gone")];
    for commit in [false, true] {
        assert_eq!(outcomes(&import(&in_the_way, commit).await), ['n', 't', 'u']);
        assert_eq!(keys().await, ["there"]);
    }
    let imported = import(&new, true).await;
    assert_eq!(outcomes(&imported), ['n', 'e', 'n']);
    assert_eq!(keys().await, ["there", "a", "b"]);
    let Imported::New(a) = &imported[0] else { panic!("it is new") };
    assert_eq!((a.status, &a.definition), (Status::Draft, &new[0]));
    let history = db.experiment_history(TENANT, a.id, None, 10).await.unwrap();
    assert_eq!(history.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["experiment.import"]);
    // Once more it is all there. One key twice is in its own way, unless it is the same.
    assert_eq!(outcomes(&import(&new, true).await), ['e', 'e', 'e']);
    let mut twice = definition("c");
    twice.name = "another".into();
    assert_eq!(outcomes(&import(&[definition("c"), twice], true).await), ['n', 't']);
    assert_eq!(keys().await, ["there", "a", "b"]);
}
