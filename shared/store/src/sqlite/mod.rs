//! The SQLite adapter: one file, for one process that writes and any that read. Each concern has its file; SQL is in
//! `sql/`.
//!
//! All writes go through one connection behind a fair lock. An apply transaction holds it from its beginning to its
//! end, so one transaction is one commit and one fsync; reads run beside it on connections of their own (WAL).

mod answers;
mod api_keys;
mod apply;
mod audits;
mod changes;
mod connections;
mod dead_letters;
mod definitions;
mod erasures;
mod experiments;
mod export;
pub(crate) mod faults;
mod purges;
mod raw;
mod rebuilds;
mod rows;
mod snapshot;
mod text;
mod view;
mod webhooks;

use crate::migration::{self, Migration};
use crate::{StoreError, Upkeep};
use async_trait::async_trait;
use connections::{Readers, Writer, blocking};
use domain::Partition;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

mod migrations {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// A database file.
pub struct SqliteStore {
    readers: Readers,
    /// None: opened for reading only.
    writer: Option<Writer>,
    holders: Arc<Holders>,
}

/// Which apply connection of this store holds which partition.
#[derive(Default)]
struct Holders {
    last: AtomicU64,
    held: Mutex<HashMap<Partition, u64>>,
}

impl SqliteStore {
    /// Opens the file for reading and writing; creates it, without tables, if there is none.
    pub fn open(file: &Path) -> Result<SqliteStore, StoreError> {
        let writer = blocking(|| Writer::open(file))?;
        Ok(SqliteStore { readers: Readers::of(file), writer: Some(writer), holders: Arc::default() })
    }

    /// Opens the file for reading only, also while another process writes. Where the directory cannot be written
    /// either, SQLite needs the writer's `-wal` and `-shm` files there: it reads while the writer runs, and cannot
    /// open a file that was closed in good order.
    pub async fn connect(file: &Path) -> Result<SqliteStore, StoreError> {
        if !file.exists() {
            return Err(StoreError::NoFile(file.to_owned()));
        }
        let store = SqliteStore { readers: Readers::of(file), writer: None, holders: Arc::default() };
        store.readers.read(|c| Ok(c.execute_batch("SELECT 1 FROM sqlite_schema")?)).await?;
        Ok(store)
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.as_ref().ok_or(StoreError::OpenedForReading)
    }
}

#[async_trait]
impl Upkeep for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut lease = self.writer()?.lease().await;
        blocking(|| {
            let c = lease.connection_mut();
            let runner = migrations::migrations::runner().set_grouped(true);
            // Another process may have migrated between the runner's look and its write: the second look sees it.
            let run = runner.run(c).or_else(|_| runner.run(c));
            run.map(|_| ()).map_err(|e| StoreError::Migration(Box::new(e)))
        })
    }

    async fn migrations(&self) -> Result<Vec<Migration>, StoreError> {
        let read = |c: &Connection| {
            if schema_version(c)? == 0 {
                return Ok(Vec::new());
            }
            let mut sql = c.prepare(include_str!("sql/migrations.sql"))?;
            rows::all(&mut sql, &[], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        };
        let applied = self.readers.read(read).await?;
        Ok(migration::all(&migrations::migrations::runner(), applied))
    }

    async fn check(&self, partitions: u16) -> Result<(), StoreError> {
        let wanted = latest_migration();
        let found = self.readers.read(schema_version).await?;
        if found != wanted {
            return Err(StoreError::Schema { found, wanted });
        }
        let stored = match self.readers.read(partitions_recorded).await? {
            Some(stored) => stored,
            None => {
                let sql = include_str!("sql/settle_partitions.sql");
                let settle = |c: &Connection| {
                    c.execute(sql, [partitions.to_string()])?;
                    partitions_recorded(c)
                };
                self.writer()?.write(settle).await?.unwrap_or_default()
            }
        };
        if stored == partitions.to_string() {
            Ok(())
        } else {
            Err(StoreError::Partitions { stored, configured: partitions })
        }
    }

    async fn examine(&self, partitions: u16) -> Result<(), StoreError> {
        let (found, wanted) = (self.readers.read(schema_version).await?, latest_migration());
        if found != wanted {
            return if found < wanted { Ok(()) } else { Err(StoreError::Schema { found, wanted }) };
        }
        match self.partitions().await? {
            Some(stored) if stored != partitions => {
                Err(StoreError::Partitions { stored: stored.to_string(), configured: partitions })
            }
            // A file that tools open is for reading only; whether it can be written shows at the start.
            _ => Ok(()),
        }
    }

    async fn partitions(&self) -> Result<Option<u16>, StoreError> {
        let stored = self.readers.read(partitions_recorded).await?;
        stored.map(|n| n.parse().map_err(|_| StoreError::Corrupt("partitions"))).transpose()
    }

    /// Pages are written to the log, then taken back. It notices a file or directory that cannot be written, one that
    /// another process holds, and a full disk where the log has to grow; it does not where the log still has room
    /// from before, which is then where the next small transactions go.
    async fn write_probe(&self) -> Result<(), StoreError> {
        let lease = self.writer()?.lease().await;
        blocking(|| {
            lease.begin()?;
            lease.execute(include_str!("sql/write_probe.sql"), [])?;
            Ok(lease.cache_flush()?)
        })
    }
}

/// 0 where there is none.
fn schema_version(c: &Connection) -> Result<i32, StoreError> {
    let migrated: bool = c.query_row(include_str!("sql/schema_history.sql"), [], |r| r.get(0))?;
    if !migrated {
        return Ok(0);
    }
    Ok(c.query_row(include_str!("sql/schema_version.sql"), [], |r| r.get(0))?)
}

fn partitions_recorded(c: &Connection) -> Result<Option<String>, StoreError> {
    if schema_version(c)? == 0 {
        return Ok(None);
    }
    Ok(c.query_row(include_str!("sql/partitions.sql"), [], |r| r.get(0)).optional()?)
}

fn latest_migration() -> i32 {
    migrations::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}
