//! A database's tables, past the store.

use domain::UnitId;
use std::path::PathBuf;
use store::Location;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Postgres,
    Sqlite,
}

pub enum Tables {
    Postgres(tokio_postgres::Client),
    Sqlite(PathBuf),
}

/// A dead letter as stored.
pub struct Letter {
    pub reason: String,
    pub detail: String,
    pub events: i64,
    pub payload: Vec<u8>,
    pub digest: Option<Vec<u8>>,
}

/// A database of the test's own.
pub async fn empty(backend: Backend) -> (Location, Tables) {
    match backend {
        Backend::Postgres => {
            let server = testkit::postgres().await;
            let database = server.create_database().await.unwrap();
            let location = Location::Postgres { url: server.url_for(&database), pool_size: 4 };
            (location, Tables::Postgres(server.connect(&database).await.unwrap()))
        }
        Backend::Sqlite => {
            let file = testkit::temp_dir("sqlite").unwrap().join("abstream.db");
            (Location::Sqlite { file: file.clone() }, Tables::Sqlite(file))
        }
    }
}

const LETTERS: &str = "SELECT reason, detail, events, payload, digest FROM dead_letters ORDER BY id";

impl Tables {
    pub async fn count(&self, sql: &str) -> i64 {
        match self {
            Tables::Postgres(client) => client.query_one(sql, &[]).await.unwrap().get(0),
            Tables::Sqlite(file) => open(file).query_row(sql, [], |r| r.get(0)).unwrap(),
        }
    }

    pub async fn execute(&self, sql: &str) {
        match self {
            Tables::Postgres(client) => client.batch_execute(sql).await.unwrap(),
            Tables::Sqlite(file) => open(file).execute_batch(sql).unwrap(),
        }
    }

    pub async fn letters(&self) -> Vec<Letter> {
        match self {
            Tables::Postgres(client) => {
                let rows = client.query(LETTERS, &[]).await.unwrap();
                let letter = |r: &tokio_postgres::Row| Letter {
                    reason: r.get(0),
                    detail: r.get(1),
                    events: r.get(2),
                    payload: r.get(3),
                    digest: r.get(4),
                };
                rows.iter().map(letter).collect()
            }
            Tables::Sqlite(file) => {
                let connection = open(file);
                let mut rows = connection.prepare(LETTERS).unwrap();
                let letter = |r: &rusqlite::Row<'_>| {
                    let (reason, detail, events) = (r.get(0)?, r.get(1)?, r.get(2)?);
                    Ok(Letter { reason, detail, events, payload: r.get(3)?, digest: r.get(4)? })
                };
                rows.query_map([], letter).unwrap().map(Result::unwrap).collect()
            }
        }
    }

    pub async fn damage(&self, unit: UnitId, state: &[u8]) {
        match self {
            Tables::Postgres(client) => {
                let sql = "UPDATE units SET state = $1 WHERE unit = $2";
                client.execute(sql, &[&state, &uuid::Uuid::from_bytes(unit.0)]).await.unwrap();
            }
            Tables::Sqlite(file) => {
                let sql = "UPDATE units SET state = ?1 WHERE unit = ?2";
                open(file).execute(sql, (state, unit.0)).unwrap();
            }
        }
    }
}

fn open(file: &PathBuf) -> rusqlite::Connection {
    rusqlite::Connection::open(file).unwrap()
}
