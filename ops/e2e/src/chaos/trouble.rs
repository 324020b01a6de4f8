//! What befalls PostgreSQL: it dies or stands still, or it goes on and does not do as it is told.

use super::schedule::Kind;
use anyhow::{Result, bail};
use std::sync::Arc;
use testkit::{Postgres, PostgresClient};

/// What our programs call themselves.
const OURS: &str = "application_name LIKE 'abstream%'";

pub struct Trouble {
    server: Arc<Postgres>,
    /// Of the deployment.
    database: String,
    /// Connections that hold a lock, or only a place.
    held: Vec<PostgresClient>,
}

impl Trouble {
    pub fn of(server: Arc<Postgres>, database: String) -> Trouble {
        Trouble { server, database, held: Vec::new() }
    }

    /// Whether there was anything to do it to.
    pub async fn begin(&mut self, kind: Kind) -> Result<bool> {
        match kind {
            Kind::Kill => self.server.kill().await?,
            Kind::Freeze => self.server.pause()?,
            Kind::Restart => self.server.stop().await?,
            Kind::ReadOnly => self.read_only("SET default_transaction_read_only = on").await?,
            Kind::Crowd => return self.crowd().await,
            Kind::Lock => return self.lock().await,
            Kind::Cancel => return Ok(self.tell("pg_cancel_backend(pid)", "state = 'active'").await? > 0),
            kind => bail!("{kind:?} is for targets of another class"),
        }
        Ok(true)
    }

    pub async fn end(&mut self, kind: Kind) -> Result<()> {
        self.held.clear();
        match kind {
            Kind::Freeze => self.server.resume(),
            Kind::ReadOnly => self.read_only("RESET default_transaction_read_only").await,
            Kind::Crowd | Kind::Lock | Kind::Cancel => Ok(()),
            _ => self.server.restart().await,
        }
    }

    /// One by one: `ALTER SYSTEM` is not for transactions.
    async fn read_only(&self, change: &str) -> Result<()> {
        self.server.execute(&self.database, &format!("ALTER SYSTEM {change}")).await?;
        self.server.execute(&self.database, "SELECT pg_reload_conf()").await
    }

    /// Ends our programs' connections and takes as many as there are, before they come again.
    async fn crowd(&mut self) -> Result<bool> {
        let ended = self.tell("pg_terminate_backend(pid)", "true").await?;
        while let Ok(taken) = self.server.connect(&self.database).await {
            self.held.push(taken);
        }
        Ok(ended > 0)
    }

    /// A worker that stands still may hold it for longer than we wait.
    async fn lock(&mut self) -> Result<bool> {
        let client = self.server.connect(&self.database).await?;
        let lock = "SET lock_timeout = '500ms'; BEGIN; LOCK TABLE writers IN SHARE MODE";
        let came = client.batch_execute(lock).await.is_ok();
        self.held.push(client);
        Ok(came)
    }

    /// How many of our programs' connections were told so.
    async fn tell(&self, what: &str, which: &str) -> Result<i64> {
        let client = self.server.connect(&self.database).await?;
        let told =
            format!("SELECT count(*) FILTER (WHERE {what}) FROM pg_stat_activity WHERE {OURS} AND {which}");
        Ok(client.query_one(&told, &[]).await?.get(0))
    }
}
