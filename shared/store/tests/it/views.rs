//! Views: a partition as it stood, read slice by slice while its owner goes on.

use crate::db::{Backend, Db, TENANT};
use crate::owner::{Owner, TODAY, conversion, enrolled, key, moments, row, unit_of};
use domain::codec::encode_unit;
use domain::{Day, ExperimentId, Partition, Unit, UnitId};
use store::apply::{Changes, NewUnit};
use store::{StoreError, View};

on_both!(
    a_view_shows_what_was_there_when_it_was_opened,
    slices_end_where_the_next_begins,
    the_next_view_shows_everything,
    a_deleted_experiment_has_no_view,
    of_two_views_the_first_is_as_it_was_or_told,
    a_view_that_nobody_renews_ends_with_the_next_transaction,
);

const ALL: (UnitId, UnitId) = (UnitId([0; 16]), UnitId([255; 16]));

/// Users `names`, enrolled on `day`, in one transaction; those `known` have a row.
async fn write(owner: &mut Owner, db: &Db, to: &str, day: Day, names: &[&str], known: bool) {
    let e = db.experiment("one").await;
    let state = encode_unit(&enrolled(&e, day));
    let mut changes = Changes::default();
    for &user_id in names {
        match known {
            true => changes.changed_units.push((unit_of(user_id), state.clone())),
            false => changes.new_units.push(NewUnit {
                id: unit_of(user_id),
                tenant: TENANT,
                user_id,
                state: state.clone(),
            }),
        }
    }
    owner.write(to, &changes).await;
}

async fn open(db: &Db) -> Box<dyn View> {
    db.view(db.experiment("one").await.id, Partition(0)).await.unwrap().unwrap()
}

/// Name and state of every user, and the keys of every conversion.
async fn read(view: &mut dyn View) -> Option<(Vec<(String, Unit)>, Vec<String>)> {
    let slice = view.slice(ALL.0, ALL.1, 100).await.unwrap()?;
    assert_eq!(slice.end, ALL.1);
    let mut units: Vec<_> = slice.units.into_iter().map(|u| (u.user_id, u.unit)).collect();
    units.sort_by(|a, b| a.0.cmp(&b.0));
    Some((units, slice.conversions.into_iter().map(|c| c.key).collect()))
}

async fn a_view_shows_what_was_there_when_it_was_opened(db: Db) {
    let e = db.experiment("one").await;
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, &db, "1-0", TODAY, &["u", "v"], false).await;
    owner.record("2-0", &[conversion("u", "before", 1)]).await;
    let sums = moments(&e.plan(), 2);
    let before = vec![row(key(&e, Partition(0), 0, ""), &sums)];
    owner.write("3-0", &Changes { moments: before, ..Changes::default() }).await;

    let mut view = open(&db).await;
    assert_eq!((view.experiment(), view.moments().len()), (&e, 1));
    assert_eq!(view.moments()[0].moments, sums);
    // Changed twice, new, new and changed, with conversions old and new.
    write(&mut owner, &db, "4-0", Day(TODAY.0 + 1), &["u"], true).await;
    write(&mut owner, &db, "5-0", Day(TODAY.0 + 2), &["u"], true).await;
    write(&mut owner, &db, "6-0", TODAY, &["w"], false).await;
    write(&mut owner, &db, "7-0", Day(TODAY.0 + 1), &["w"], true).await;
    owner.record("8-0", &[conversion("u", "before", 1), conversion("u", "after", 1)]).await;
    owner.record("9-0", &[conversion("u", "after", 1), conversion("x", "after", 1)]).await;
    let was = (
        vec![("u".to_owned(), enrolled(&e, TODAY)), ("v".to_owned(), enrolled(&e, TODAY))],
        vec!["before".to_owned()],
    );
    assert_eq!(read(&mut *view).await, Some(was));
    view.close().await.unwrap();
    if db.backend == Backend::Postgres {
        assert_eq!((db.count("view_units").await, db.count("view_conversions").await), (0, 0));
        // Nobody looks: nothing is kept.
        write(&mut owner, &db, "10-0", TODAY, &["u"], true).await;
        assert_eq!(db.count("view_units").await, 0);
    }
}

async fn slices_end_where_the_next_begins(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, &db, "1-0", TODAY, &["a", "b", "c", "d", "e"], false).await;
    let mut view = open(&db).await;
    write(&mut owner, &db, "2-0", TODAY, &["f", "g", "h"], false).await;
    let (mut first, mut seen) = (ALL.0, 0);
    loop {
        let slice = view.slice(first, ALL.1, 2).await.unwrap().unwrap();
        seen += slice.units.len();
        if slice.end == ALL.1 {
            break;
        }
        assert_eq!(slice.units.last().unwrap().id, slice.end);
        first = UnitId((u128::from_be_bytes(slice.end.0) + 1).to_be_bytes());
    }
    assert_eq!(seen, 5);
    view.close().await.unwrap();
}

async fn the_next_view_shows_everything(db: Db) {
    let e = db.experiment("one").await;
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, &db, "1-0", TODAY, &["u"], false).await;
    // Never closed.
    let first = open(&db).await;
    write(&mut owner, &db, "2-0", Day(TODAY.0 + 1), &["u"], true).await;
    owner.record("3-0", &[conversion("u", "k", 1)]).await;
    drop(first);
    let mut second = open(&db).await;
    let now = (vec![("u".to_owned(), enrolled(&e, Day(TODAY.0 + 1)))], vec!["k".to_owned()]);
    assert_eq!(read(&mut *second).await, Some(now));
}

async fn a_deleted_experiment_has_no_view(db: Db) {
    let e = db.experiment("one").await;
    assert!(db.delete_experiment(TENANT, e.id, crate::db::ACTOR).await.unwrap());
    assert!(db.view(e.id, Partition(0)).await.unwrap().is_none());
    assert!(db.view(ExperimentId(99), Partition(0)).await.unwrap().is_none());
}

async fn of_two_views_the_first_is_as_it_was_or_told(db: Db) {
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, &db, "1-0", TODAY, &["u"], false).await;
    let mut first = open(&db).await;
    write(&mut owner, &db, "2-0", TODAY, &["v"], false).await;
    let mut second = open(&db).await;
    match db.backend {
        Backend::Postgres => {
            let told = first.slice(ALL.0, ALL.1, 100).await.unwrap_err();
            assert!(matches!(told, StoreError::Viewed(0)), "{told}");
        }
        Backend::Sqlite => assert_eq!(read(&mut *first).await.unwrap().0.len(), 1),
    }
    first.close().await.unwrap();
    write(&mut owner, &db, "3-0", TODAY, &["w"], false).await;
    assert_eq!(read(&mut *second).await.unwrap().0.len(), 2);
}

async fn a_view_that_nobody_renews_ends_with_the_next_transaction(db: Db) {
    if db.backend == Backend::Sqlite {
        return;
    }
    let mut owner = Owner::of(&*db, 0).await;
    write(&mut owner, &db, "1-0", TODAY, &["u"], false).await;
    let expire = "UPDATE partitions SET view_until = now() - interval '1 second'";
    let mut view = open(&db).await;
    db.execute(expire).await;
    // Nothing was applied meanwhile: reading renews it.
    assert!(read(&mut *view).await.is_some());
    write(&mut owner, &db, "2-0", TODAY, &["v"], false).await;
    assert_eq!(read(&mut *view).await.unwrap().0.len(), 1);
    db.execute(expire).await;
    write(&mut owner, &db, "3-0", TODAY, &["w"], false).await;
    assert!(read(&mut *view).await.is_none());
    view.close().await.unwrap();
}
