//! `abctl up`: gateway, worker and analyzer in one process, on SQLite in a directory of its own.

use crate::deployment::Deployment;
use crate::patience::BUDGETS;
use crate::system::{READY, STOP, Setup, free_addr};
use crate::{ADMIN_TOKEN, API_TOKEN};
use anyhow::{Result, bail};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Books, Location, Store};
use testkit::Process;

/// Stopped, and its directory removed, when this is dropped.
pub struct OneProcess {
    pub process: Process,
    pub addr: SocketAddr,
    pub store: Arc<dyn Store>,
    partitions: u16,
    data: PathBuf,
}

impl OneProcess {
    /// Ready to take events when this returns. Of `setup` the environment counts; the rest is PostgreSQL's.
    pub async fn start(setup: &Setup) -> Result<OneProcess> {
        let data = testkit::temp_dir("one-process")?;
        let (addr, internal) = (free_addr()?, free_addr()?);
        let mut process = Process::of("abctl")?
            .arg("up")
            .env("AB_DATA", &data)
            .env("AB_PORT", addr.port().to_string())
            .env("AB_INTERNAL_ADDR", internal.to_string())
            .env("AB_API_TOKEN", API_TOKEN)
            .env("AB_ADMIN_TOKEN", ADMIN_TOKEN)
            .env(BUDGETS.0, BUDGETS.1);
        for (name, value) in &setup.environment {
            process = process.env(name, value);
        }
        let mut process = process.spawn()?;
        process.wait_ready(addr, "/readyz", READY).await?;
        // A reader of its own, as an operator's tool has it.
        let store = store::connect(&Location::Sqlite { file: data.join(backends::DATABASE_FILE) }).await?;
        let partitions = store.partitions().await?.unwrap_or_default();
        Ok(OneProcess { process, addr, store, partitions, data })
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Killed at whatever it was doing, and started again on the same data.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.process.respawn()?;
        self.process.wait_ready(self.addr, "/readyz", READY).await
    }

    /// An orderly end; an error when it does not end well.
    pub async fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(STOP).await?;
        if !status.success() {
            bail!("abctl up ended with {status}: {}", self.process.stderr());
        }
        Ok(())
    }
}

#[async_trait]
impl Deployment for OneProcess {
    fn gateway_addr(&self) -> SocketAddr {
        self.addr
    }

    fn analyzer_addr(&self) -> SocketAddr {
        self.addr
    }

    fn health_addrs(&self) -> Vec<SocketAddr> {
        vec![self.addr]
    }

    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Nothing acknowledged is ever in flight: an answer comes after the commit.
    async fn books(&self) -> Result<Books> {
        Ok(Books::balance(&self.store.accounting().await?, &[], self.partitions))
    }
}
