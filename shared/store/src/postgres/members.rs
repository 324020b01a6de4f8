//! Who applies: signs of life in `workers`, on a connection of their own so that no transaction delays them.

use super::target::Target;
use super::types::PgTime;
use crate::StoreError;
use crate::apply::{Member, Members, Session};
use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// Late by this much is as bad as none.
const SESSION: &str = "-c statement_timeout=2000 -c lock_timeout=2000 -c synchronous_commit=off -c application_name=abstream-members";

pub struct PgMembers {
    client: Client,
    connection: JoinHandle<()>,
}

impl PgMembers {
    pub async fn connect(url: &str) -> Result<PgMembers, StoreError> {
        let mut target = Target::parse(url)?;
        target.config.options(SESSION);
        let (client, connection) = target.connect("members").await?;
        Ok(PgMembers { client, connection })
    }
}

impl Drop for PgMembers {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[async_trait]
impl Members for PgMembers {
    async fn beat(&mut self, me: Uuid, sessions: &[Session]) -> Result<Vec<Member>, StoreError> {
        let pids: Vec<i32> = sessions.iter().map(|s| s.pid).collect();
        let started: Vec<PgTime> = sessions.iter().map(|s| PgTime(s.started)).collect();
        let rows = self.client.query(include_str!("sql/beat.sql"), &[&me, &pids, &started]).await?;
        let member = |r: &Row| Member { id: r.get(0), silent: r.get(1) };
        Ok(rows.iter().map(member).collect())
    }

    async fn free(&mut self, silent: Uuid) -> Result<u64, StoreError> {
        let row = self.client.query_one(include_str!("sql/free_worker.sql"), &[&silent]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    async fn leave(&mut self, me: Uuid) -> Result<(), StoreError> {
        self.client.execute(include_str!("sql/leave.sql"), &[&me]).await?;
        Ok(())
    }
}
