//! What doctor asks of a server beside what a store does.

use super::target::Target;
use super::types::PgTime;
use crate::StoreError;
use crate::numbers::narrow;
use domain::Timestamp;
use std::collections::BTreeMap;
use tokio_postgres::Client;

const SESSION: &str = "-c statement_timeout=10000 -c lock_timeout=2000 -c application_name=abstream-doctor";

/// A PostgreSQL server, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// 150004 is 15.4.
    pub version: u32,
    /// Of those that durability hangs on, as they are for this role.
    pub settings: BTreeMap<String, String>,
    /// A standby: nothing can be written.
    pub is_standby: bool,
    pub now: Timestamp,
    pub connections: u32,
    pub max_connections: u32,
    /// Two sessions that were open at once were one and the same to the server.
    pub is_pooled: bool,
    /// Null where the role may not know.
    pub data_directory: Option<String>,
    /// Where there is no schema yet there is nobody.
    pub owners: Owners,
}

/// Who applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owners {
    pub living: u32,
    /// Without a sign of life for three seconds, and not freed.
    pub silent: u32,
    /// Partitions that somebody holds.
    pub held: u32,
    /// Of these, by a connection of a worker that is silent.
    pub held_by_silent: u32,
}

pub async fn examine(url: &str) -> Result<Examined, StoreError> {
    let mut target = Target::parse(url)?;
    target.config.options(SESSION);
    let (one, _one) = target.connect("doctor").await?;
    let (two, _two) = target.connect("doctor").await?;
    // Through a pooler of transactions both are the connection that is free.
    let is_pooled = pid(&one).await? == pid(&two).await?;
    let rows = one.query(include_str!("sql/examine/settings.sql"), &[]).await?;
    let row = one.query_one(include_str!("sql/examine/server.sql"), &[]).await?;
    let settings: BTreeMap<String, String> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    let owners = match row.get::<_, bool>(5) {
        true => owners(&one).await?,
        false => Owners::default(),
    };
    Ok(Examined {
        version: narrow(row.get::<_, i32>(0), "version")?,
        is_standby: row.get(1),
        now: row.get::<_, PgTime>(2).0,
        connections: narrow(row.get::<_, i64>(3), "connections")?,
        max_connections: narrow(row.get::<_, i32>(4), "connections")?,
        is_pooled,
        data_directory: settings.get("data_directory").cloned(),
        settings,
        owners,
    })
}

async fn pid(client: &Client) -> Result<i32, StoreError> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
}

async fn owners(client: &Client) -> Result<Owners, StoreError> {
    let row = client.query_one(include_str!("sql/examine/owners.sql"), &[]).await?;
    let number = |column| narrow(row.get::<_, i64>(column), "owners");
    Ok(Owners { living: number(0)?, silent: number(1)?, held: number(2)?, held_by_silent: number(3)? })
}
