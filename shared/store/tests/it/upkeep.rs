//! Schema, partition count and the write probe.

use crate::db::{ACTOR, Backend, Db, PARTITIONS, PATIENCE, definition, nowhere};
use std::sync::Arc;
use store::{Created, ErrorKind, Location, Store, StoreError};

on_both!(
    a_database_opened_again_holds_what_it_held,
    the_number_of_partitions_is_fixed_by_the_first_start,
    another_releases_schema_is_refused,
    a_write_probe_leaves_nothing,
);

async fn a_database_opened_again_holds_what_it_held(db: Db) {
    let created = db.experiment("one").await;
    db.migrate().await.unwrap();
    let again = store::open(&db.location, PARTITIONS, PATIENCE).await.unwrap();
    assert_eq!(again.experiment("acme", "one").await.unwrap(), Some(created.clone()));
    let reader = store::connect(&db.location).await.unwrap();
    assert_eq!(reader.experiment("acme", "one").await.unwrap(), Some(created));
    // Both write.
    assert!(matches!(db.create_experiment("acme", &definition("two"), ACTOR).await, Ok(Created::New(_))));
    assert!(matches!(
        again.create_experiment("acme", &definition("three"), ACTOR).await,
        Ok(Created::New(_))
    ));
    let keys: Vec<String> = reader.all_experiments().await.unwrap().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["one", "two", "three"]);
}

async fn the_number_of_partitions_is_fixed_by_the_first_start(db: Db) {
    assert_eq!(db.partitions().await.unwrap(), Some(PARTITIONS));
    db.check(PARTITIONS).await.unwrap();
    let refused = db.check(8).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Partitions { stored, configured: 8 } if stored == "4"),
        "{refused}"
    );
    assert_eq!(refused.kind(), ErrorKind::Fatal);
    let opened = store::open(&db.location, 8, PATIENCE).await.err().unwrap();
    assert!(matches!(opened, StoreError::Partitions { .. }), "{opened}");
    assert_eq!(db.partitions().await.unwrap(), Some(PARTITIONS));
}

async fn another_releases_schema_is_refused(db: Db) {
    db.execute(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
         VALUES (99, 'later', '2026-01-01T00:00:00Z', '1')",
    )
    .await;
    let refused = db.check(PARTITIONS).await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema { found: 99, .. }), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Fatal);
    let opened = store::open(&db.location, PARTITIONS, PATIENCE).await.err().unwrap();
    assert!(matches!(opened, StoreError::Migration(_)), "{opened}");
}

async fn a_write_probe_leaves_nothing(db: Db) {
    for _ in 0..3 {
        db.write_probe().await.unwrap();
    }
    assert_eq!(db.texts("SELECT name FROM settings").await, ["partitions"]);
}

/// Where nothing was migrated yet.
async fn bare(backend: Backend) -> (Location, Arc<dyn Store>) {
    let (location, _tables) = nowhere(backend).await;
    let store: Arc<dyn Store> = match &location {
        Location::Postgres { .. } => store::connect(&location).await.unwrap(),
        Location::Sqlite { file } => Arc::new(store::sqlite::SqliteStore::open(file).unwrap()),
    };
    (location, store)
}

async fn before_the_first_start_there_is_no_schema(backend: Backend) {
    let (_, store) = bare(backend).await;
    assert_eq!(store.partitions().await.unwrap(), None);
    let refused = store.check(PARTITIONS).await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema { found: 0, .. }), "{refused}");
    store.migrate().await.unwrap();
    assert_eq!(store.partitions().await.unwrap(), None);
    store.check(PARTITIONS).await.unwrap();
    assert_eq!(store.partitions().await.unwrap(), Some(PARTITIONS));
}

async fn any_number_may_start_at_once(backend: Backend) {
    let (location, _) = bare(backend).await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let location = location.clone();
        starting.spawn(async move { store::open(&location, PARTITIONS, PATIENCE).await.map(|_| ()) });
    }
    while let Some(started) = starting.join_next().await {
        started.unwrap().unwrap();
    }
}

#[tokio::test]
async fn postgres_before_the_first_start_has_no_schema() {
    before_the_first_start_there_is_no_schema(Backend::Postgres).await;
}

#[tokio::test]
async fn sqlite_before_the_first_start_has_no_schema() {
    before_the_first_start_there_is_no_schema(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_may_be_started_by_any_number_at_once() {
    any_number_may_start_at_once(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_may_be_started_by_any_number_at_once() {
    any_number_may_start_at_once(Backend::Sqlite).await;
}
