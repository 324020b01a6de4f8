//! What a scenario needs of a running abstream, whichever way it runs: three tiers on PostgreSQL and Redis
//! ([`crate::System`]), or one process on SQLite ([`crate::OneProcess`]).

use crate::{ADMIN_TOKEN, API_TOKEN};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use std::net::SocketAddr;
use store::{Books, Store};
use testkit::http::Client;

#[async_trait]
pub trait Deployment: Send + Sync {
    fn gateway_addr(&self) -> SocketAddr;

    fn analyzer_addr(&self) -> SocketAddr;

    /// Where each process answers `/health`.
    fn health_addrs(&self) -> Vec<SocketAddr>;

    fn store(&self) -> &dyn Store;

    fn partitions(&self) -> u16;

    /// The books as they are now.
    async fn books(&self) -> Result<Books>;

    fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway_addr())
    }

    fn analyzer_url(&self) -> String {
        format!("http://{}", self.analyzer_addr())
    }

    /// A client of the gateway with the ingest token.
    fn ingest(&self) -> Client {
        Client::at(self.gateway_addr()).bearer(API_TOKEN)
    }

    /// A client of the analyzer with the admin token.
    fn admin(&self) -> Client {
        Client::at(self.analyzer_addr()).bearer(ADMIN_TOKEN)
    }

    /// Creates and starts an experiment; the answer of the creation.
    async fn experiment(&self, definition: serde_json::Value) -> Result<serde_json::Value> {
        let admin = self.admin();
        let created = admin.post_json("/api/v1/experiments", &definition).await?;
        if created.status != 201 {
            bail!("creating {definition}: {} {}", created.status, created.text());
        }
        let key = definition["key"].as_str().context("a definition has a key")?;
        let started = admin.post(&format!("/api/v1/experiments/{key}/start"), &[], "").await?;
        if started.status != 200 {
            bail!("starting {key}: {} {}", started.status, started.text());
        }
        created.json()
    }
}
