//! The PostgreSQL adapter: connection, schema, start checks. Each concern has its file; SQL is in `sql/`.

// The connector of a build without TLS is `Copy`, that of the others is not.
#![cfg_attr(not(feature = "tls"), allow(clippy::clone_on_copy))]

mod answers;
mod api_keys;
mod apply;
mod audits;
mod changes;
mod dead_letters;
mod definitions;
mod erasures;
mod examine;
mod experiments;
mod import;
mod members;
mod pool;
mod purges;
mod raw;
mod rebuilds;
mod rows;
mod snapshot;
mod statements;
mod target;
mod tls;
mod types;
mod view;
mod webhooks;

pub use examine::{Examined, Owners, examine};
pub use import::Import;

use crate::migration::{self, Migration};
use crate::{StoreError, Upkeep};
use async_trait::async_trait;
use pool::{Connections, Lease};
use std::time::Duration;
use target::Target;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

mod migrations {
    refinery::embed_migrations!("../../migrations/postgres");
}

/// Serialises the migrations of replicas that start together ("abmigrat").
const MIGRATION_LOCK: i64 = 0x6162_6d69_6772_6174;
const SESSION_LOOKS: usize = 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A query for an answer is cancelled by the server after this long.
const READ_TIMEOUT_MS: u32 = 30_000;

/// A pool of connections for everything but the apply transaction, which has connections of its own.
pub struct PgStore {
    url: String,
    pool: Connections,
}

impl PgStore {
    /// Fails if the database cannot be reached now.
    pub async fn connect(url: &str, pool_size: usize) -> Result<PgStore, StoreError> {
        let mut target = Target::parse(url)?;
        target.config.options(format!(
            "-c default_transaction_isolation=read\\ committed -c statement_timeout={READ_TIMEOUT_MS} \
             -c lock_timeout=10000 -c idle_in_transaction_session_timeout=30000"
        ));
        let store = PgStore { url: url.to_owned(), pool: Connections::new(target, pool_size)? };
        drop(store.client().await?);
        Ok(store)
    }

    /// Refuses an address of somebody who gives each transaction another session: locks, and so the ownership of
    /// partitions, would not hold.
    ///
    /// While the second connection is in a transaction, it has a server process to itself. If that is the one that the
    /// first was told, or the first is told another one than before, they do not have processes of their own.
    pub async fn keeps_sessions(url: &str) -> Result<(), StoreError> {
        let target = Target::parse(url)?;
        let (first, _driver) = target.connect("check").await?;
        let (second, _driver) = target.connect("check").await?;
        let known = session(&first, "SELECT pg_backend_pid()").await?;
        // Others who use the pooler may hide it once, and not every time. The first asks while the second is in a
        // transaction and while it is not, as there may be a process that it gets in one of the two only.
        for _ in 0..SESSION_LOOKS {
            let other = session(&second, "BEGIN; SELECT pg_backend_pid()").await?;
            // Where there is only one server process, the first would wait for it for ever.
            if known == other || known != session(&first, "SELECT pg_backend_pid()").await? {
                return Err(StoreError::Pooler);
            }
            if other != session(&second, "COMMIT; SELECT pg_backend_pid()").await? {
                return Err(StoreError::Pooler);
            }
            if known != session(&first, "SELECT pg_backend_pid()").await? {
                return Err(StoreError::Pooler);
            }
        }
        Ok(())
    }

    async fn client(&self) -> Result<Lease, StoreError> {
        self.pool.get().await
    }
}

#[async_trait]
impl Upkeep for PgStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut client = self.pool.get_own().await?;
        client.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0").await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        let pg: &mut tokio_postgres::Client = &mut client;
        let run = migrations::migrations::runner().run_async(pg).await;
        run.map(|_| ()).map_err(|e| StoreError::Migration(Box::new(e)))
    }

    async fn migrations(&self) -> Result<Vec<Migration>, StoreError> {
        let client = self.client().await?;
        let mut applied = Vec::new();
        if schema_version(&client).await? > 0 {
            let rows = client.query(include_str!("sql/migrations.sql"), &[]).await?;
            applied.extend(rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))));
        }
        Ok(migration::all(&migrations::migrations::runner(), applied))
    }

    async fn check(&self, partitions: u16) -> Result<(), StoreError> {
        let client = self.client().await?;
        let wanted = latest_migration();
        let found = schema_version(&client).await?;
        if found != wanted {
            return Err(StoreError::Schema { found, wanted });
        }
        let row =
            client.query_one(include_str!("sql/settle_partitions.sql"), &[&partitions.to_string()]).await?;
        let stored: String = row.get(0);
        if stored == partitions.to_string() {
            Ok(())
        } else {
            Err(StoreError::Partitions { stored, configured: partitions })
        }
    }

    async fn examine(&self, partitions: u16) -> Result<(), StoreError> {
        let client = self.client().await?;
        let (found, wanted) = (schema_version(&client).await?, latest_migration());
        drop(client);
        if found != wanted {
            return if found < wanted { Ok(()) } else { Err(StoreError::Schema { found, wanted }) };
        }
        match self.partitions().await? {
            Some(stored) if stored != partitions => {
                Err(StoreError::Partitions { stored: stored.to_string(), configured: partitions })
            }
            _ => self.write_probe().await,
        }
    }

    async fn partitions(&self) -> Result<Option<u16>, StoreError> {
        let client = self.client().await?;
        if schema_version(&client).await? == 0 {
            return Ok(None);
        }
        let row = client.query_opt(include_str!("sql/partitions.sql"), &[]).await?;
        let number = |r: Row| r.get::<_, &str>(0).parse().map_err(|_| StoreError::Corrupt("partitions"));
        row.map(number).transpose()
    }

    async fn write_probe(&self) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let probe = "INSERT INTO settings (name, value) VALUES ('write_probe:' || gen_random_uuid(), '')";
        transaction.execute(probe, &[]).await?;
        transaction.rollback().await?;
        Ok(())
    }
}

/// By the simple protocol, since prepared statements are what poolers cannot do.
async fn session(client: &Client, sql: &str) -> Result<Option<String>, StoreError> {
    let messages = client.simple_query(sql).await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// 0 where there is none.
async fn schema_version(client: &tokio_postgres::Client) -> Result<i32, StoreError> {
    let migrated = client.query_one(include_str!("sql/schema_history.sql"), &[]).await?;
    if !migrated.get::<_, bool>(0) {
        return Ok(0);
    }
    Ok(client.query_one(include_str!("sql/schema_version.sql"), &[]).await?.get(0))
}

fn latest_migration() -> i32 {
    migrations::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}
