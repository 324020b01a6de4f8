//! Which database, and how it is opened.

use crate::postgres::PgStore;
use crate::sqlite::SqliteStore;
use crate::{ErrorKind, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where the database is. Holds passwords: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// `pool_size` connections at most, besides those that apply.
    Postgres {
        url: String,
        pool_size: usize,
    },
    Sqlite {
        file: PathBuf,
    },
}

/// Connects as tools do: fails if the database cannot be reached now, changes nothing. A file is opened for reading
/// only.
pub async fn connect(location: &Location) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        Location::Postgres { url, pool_size } => Ok(Arc::new(PgStore::connect(url, *pool_size).await?)),
        Location::Sqlite { file } => Ok(Arc::new(SqliteStore::connect(file).await?)),
    }
}

/// The same, to write: a file is created if there is none.
pub async fn connect_to_write(location: &Location) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        Location::Postgres { .. } => connect(location).await,
        Location::Sqlite { file } => Ok(Arc::new(SqliteStore::open(file)?)),
    }
}

/// Connects and makes the database ready for this release: schema migrated, partition count agreed, a write made and
/// rolled back. A server that is not there yet is waited for up to `patience`; a file is created, and what is wrong
/// with one is said at once.
pub async fn open(
    location: &Location,
    partitions: u16,
    patience: Duration,
) -> Result<Arc<dyn Store>, StoreError> {
    patiently(location, patience, || ready(location, partitions)).await
}

/// What [`open`] would not do, without changing anything. An older schema is none of it: [`open`] migrates it.
pub async fn examine(
    location: &Location,
    partitions: u16,
    patience: Duration,
) -> Result<Arc<dyn Store>, StoreError> {
    patiently(location, patience, || fit(location, partitions)).await
}

/// Refuses an address that leads to a transaction pooler: locks would not hold. A file has no sessions.
pub async fn keeps_sessions(location: &Location, patience: Duration) -> Result<(), StoreError> {
    match location {
        Location::Postgres { url, .. } => {
            patiently(location, patience, || PgStore::keeps_sessions(url)).await
        }
        Location::Sqlite { .. } => Ok(()),
    }
}

async fn patiently<T, Fut: Future<Output = Result<T, StoreError>>>(
    location: &Location,
    patience: Duration,
    opened: impl Fn() -> Fut,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + patience;
    loop {
        match opened().await {
            Err(error)
                if matches!(location, Location::Postgres { .. })
                    && error.kind() == ErrorKind::Transient
                    && Instant::now() < deadline =>
            {
                tracing::warn!(%error, "the database is not ready; trying again");
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn fit(location: &Location, partitions: u16) -> Result<Arc<dyn Store>, StoreError> {
    let store = connect(location).await?;
    store.examine(partitions).await?;
    Ok(store)
}

async fn ready(location: &Location, partitions: u16) -> Result<Arc<dyn Store>, StoreError> {
    let store = connect_to_write(location).await?;
    store.migrate().await?;
    store.check(partitions).await?;
    store.write_probe().await?;
    Ok(store)
}
