//! A database of the test's own, of either kind.

use domain::ExperimentId;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Actor, Created, Experiment, Listing, Location, Store};

pub const PARTITIONS: u16 = 4;
pub const TENANT: &str = "acme";
pub const ACTOR: Actor<'static> = Actor { name: "tester", request_id: "r-1" };
/// For a server that is slow to answer; nothing waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Postgres,
    Sqlite,
}

/// Ready for use, and its tables past the store.
pub struct Db {
    pub backend: Backend,
    pub location: Location,
    pub store: Arc<dyn Store>,
    tables: Tables,
}

pub enum Tables {
    Postgres(tokio_postgres::Client),
    Sqlite(PathBuf),
}

impl Deref for Db {
    type Target = dyn Store;

    fn deref(&self) -> &(dyn Store + 'static) {
        &*self.store
    }
}

/// Where nothing is yet.
pub async fn nowhere(backend: Backend) -> (Location, Tables) {
    match backend {
        Backend::Postgres => {
            let server = testkit::postgres().await;
            let name = server.create_database().await.unwrap();
            let location = Location::Postgres { url: server.url_for(&name), pool_size: 8 };
            (location, Tables::Postgres(server.connect(&name).await.unwrap()))
        }
        Backend::Sqlite => {
            let file = testkit::temp_dir("sqlite").unwrap().join("abstream.db");
            (Location::Sqlite { file: file.clone() }, Tables::Sqlite(file))
        }
    }
}

impl Db {
    pub async fn new(backend: Backend) -> Db {
        let (location, tables) = nowhere(backend).await;
        let store = store::open(&location, PARTITIONS, PATIENCE).await.unwrap();
        Db { backend, location, store, tables }
    }

    /// What is ready already.
    pub async fn of(backend: Backend, location: Location, tables: Tables) -> Db {
        let store = store::connect(&location).await.unwrap();
        Db { backend, location, store, tables }
    }

    pub async fn execute(&self, sql: &str) {
        match &self.tables {
            Tables::Postgres(client) => client.batch_execute(sql).await.unwrap(),
            Tables::Sqlite(file) => rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap(),
        }
    }

    /// The first column of every row, a text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        match &self.tables {
            Tables::Postgres(client) => {
                client.query(sql, &[]).await.unwrap().iter().map(|r| r.get(0)).collect()
            }
            Tables::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
            }
        }
    }

    pub async fn count(&self, table: &str) -> usize {
        let counted = self.texts(&format!("SELECT CAST(count(*) AS text) FROM {table}")).await;
        counted[0].parse().unwrap()
    }

    pub async fn experiment(&self, key: &str) -> Experiment {
        self.experiment_of(TENANT, key).await
    }

    pub async fn experiment_by(&self, key: &str) -> Experiment {
        self.store.experiment(TENANT, key).await.unwrap().unwrap()
    }

    pub async fn experiment_of(&self, tenant: &str, key: &str) -> Experiment {
        match self.store.create_experiment(tenant, &definition(key), ACTOR).await.unwrap() {
            Created::New(e) | Created::Exists(e) => e,
        }
    }
}

/// Of whatever status and labels.
pub fn listing(after: ExperimentId, limit: u32) -> Listing<'static> {
    Listing { after, limit, status: None, label: None }
}

pub fn definition(key: &str) -> domain::definition::Definition {
    let text = format!(
        r#"{{"key":"{key}","variations":[{{"key":"a"}},{{"key":"b"}}],"metrics":[{{"key":"purchase","type":"mean"}}]}}"#
    );
    let definition: domain::definition::Definition = serde_json::from_str(&text).unwrap();
    definition.checked().unwrap()
}

/// Each test once on a new database of either kind.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::db::Db::new(crate::db::Backend::Postgres).await).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::db::Db::new(crate::db::Backend::Sqlite).await).await;
            })+
        }
    };
}
