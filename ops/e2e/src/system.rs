//! PostgreSQL, Redis, gateway, worker and analyzer, each a process of its own on ports of its own.

use crate::deployment::Deployment;
use crate::patience::BUDGETS;
use anyhow::{Result, bail};
use async_trait::async_trait;
use queue::redis::RedisQueue;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use store::{Books, Location, Store};
use testkit::{FaultProxy, Postgres, Process, Redis, RedisCluster};

/// Tenant `default`: events, ingest, read.
pub const API_TOKEN: &str = "e2e-ingest-token-0123456789";
/// Tenant `default`: everything.
pub const ADMIN_TOKEN: &str = "e2e-admin-token-0123456789";

pub(crate) const READY: Duration = Duration::from_secs(60);
/// Longer than `AB_DRAIN_TIMEOUT`.
pub(crate) const STOP: Duration = Duration::from_secs(60);

/// What differs from a default deployment.
#[derive(Clone)]
pub struct Setup {
    pub partitions: u16,
    /// Settings of the PostgreSQL server.
    pub postgres: Vec<(&'static str, &'static str)>,
    /// Of Redis; those of a queue in production, unless named here.
    pub redis: Vec<(&'static str, &'static str)>,
    /// `AB_` variables for every tier.
    pub environment: Vec<(&'static str, String)>,
    /// Without one, the caller applies what is queued, or leaves it there.
    pub worker: bool,
    /// Whether servers are reached through [`System::proxies`].
    pub proxied: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        let (postgres, redis, environment) = (Vec::new(), Vec::new(), Vec::new());
        Setup { partitions: 16, postgres, redis, environment, worker: true, proxied: false }
    }
}

/// Everything is stopped and removed when this is dropped: processes first, then the servers they use. The queue is in
/// one Redis, or in a [`RedisCluster`].
pub struct System<R = Redis> {
    pub gateway: Process,
    pub worker: Option<Process>,
    pub analyzer: Process,
    pub gateway_addr: SocketAddr,
    pub worker_addr: SocketAddr,
    pub analyzer_addr: SocketAddr,
    /// Where gateway, worker and analyzer show their metrics.
    pub internal: [SocketAddr; 3],
    pub store: Arc<dyn Store>,
    pub queue: RedisQueue,
    pub database_url: String,
    /// Its name on the server.
    pub database: String,
    pub redis_url: String,
    pub setup: Setup,
    /// On the way of everybody, `store` and `queue` included, if set up so.
    pub proxies: Option<Proxies>,
    pub redis: R,
    pub postgres: Postgres,
}

pub struct Proxies {
    pub redis: FaultProxy,
    pub postgres: FaultProxy,
}

/// One of the programs, which may not be ready yet.
pub struct Tier {
    pub process: Process,
    pub addr: SocketAddr,
    pub internal: SocketAddr,
}

impl System {
    /// Ready to take events when this returns.
    pub async fn start(setup: Setup) -> Result<System> {
        let redis = Redis::start_with(&setup.redis).await?;
        System::start_with(setup, redis).await
    }

    /// The same with a queue of the caller's.
    pub async fn start_with(setup: Setup, redis: Redis) -> Result<System> {
        let proxy = if setup.proxied { Some(FaultProxy::start(redis.addr()).await?) } else { None };
        let redis_url = redis.url_at(proxy.as_ref().map_or(redis.addr(), FaultProxy::addr));
        System::assemble(setup, redis, redis_url, proxy).await
    }
}

impl System<RedisCluster> {
    /// The same on a cluster, whose servers are reached directly.
    pub async fn start_on(setup: Setup, cluster: RedisCluster) -> Result<Self> {
        let url = cluster.url();
        System::assemble(setup, cluster, url, None).await
    }
}

impl<R> System<R> {
    async fn assemble(
        mut setup: Setup,
        redis: R,
        redis_url: String,
        redis_proxy: Option<FaultProxy>,
    ) -> Result<Self> {
        let postgres = Postgres::start_with(&setup.postgres).await?;
        let database = postgres.create_database().await?;
        let proxies = match redis_proxy {
            Some(redis) => Some(Proxies { redis, postgres: FaultProxy::start(postgres.addr()).await? }),
            None => None,
        };
        let database_at = proxies.as_ref().map_or(postgres.addr(), |proxies| proxies.postgres.addr());
        let database_url = postgres.url_at(database_at, &database);
        // What the caller says comes behind it, and counts.
        setup.environment.insert(0, (BUDGETS.0, BUDGETS.1.to_owned()));
        // The analyzer first: it fills the catalogue that the gateway reads.
        let mut analyzer = tier("analyzer", &setup, &redis_url, &database_url)?;
        analyzer.ready().await?;
        setup.environment.insert(0, ("AB_RESULTS_URL", format!("http://{}", analyzer.addr)));
        let tier = |binary| tier(binary, &setup, &redis_url, &database_url);
        let mut worker = if setup.worker { Some(tier("ingest-worker")?) } else { None };
        let mut gateway = tier("ingest-gateway")?;
        if let Some(worker) = &mut worker {
            worker.ready().await?;
        }
        gateway.ready().await?;
        let nowhere = free_addr()?;
        let worker_at = worker.as_ref().map_or((nowhere, nowhere), |worker| (worker.addr, worker.internal));
        let store = store::connect(&Location::Postgres { url: database_url.clone(), pool_size: 4 }).await?;
        Ok(System {
            gateway: gateway.process,
            worker: worker.map(|worker| worker.process),
            analyzer: analyzer.process,
            gateway_addr: gateway.addr,
            worker_addr: worker_at.0,
            analyzer_addr: analyzer.addr,
            internal: [gateway.internal, worker_at.1, analyzer.internal],
            store,
            queue: RedisQueue::new(&redis_url, setup.partitions, 0)?,
            database_url,
            database,
            redis_url,
            setup,
            proxies,
            redis,
            postgres,
        })
    }

    /// A worker where there was none; returns while it starts.
    pub fn start_worker(&mut self) -> Result<()> {
        let Tier { process, addr, internal } =
            tier("ingest-worker", &self.setup, &self.redis_url, &self.database_url)?;
        (self.worker, self.worker_addr) = (Some(process), addr);
        self.internal[1] = internal;
        Ok(())
    }

    /// A worker beside those there are; returns while it starts.
    pub fn another_worker(&self) -> Result<(Process, SocketAddr)> {
        let worker = self.another("ingest-worker")?;
        Ok((worker.process, worker.addr))
    }

    /// A process of any tier beside those there are; returns while it starts.
    pub fn another(&self, program: &str) -> Result<Tier> {
        tier(program, &self.setup, &self.redis_url, &self.database_url)
    }

    /// An orderly end of all three tiers; an error when one does not end well.
    pub async fn stop(mut self) -> Result<()> {
        let tiers = [Some(&mut self.gateway), self.worker.as_mut(), Some(&mut self.analyzer)];
        for tier in tiers.into_iter().flatten() {
            let status = tier.terminate(STOP).await?;
            if !status.success() {
                bail!("a tier ended with {status}: {}", tier.stderr());
            }
        }
        Ok(())
    }
}

/// One of the programs, and where it answers; returns while it starts.
pub(crate) fn tier(binary: &str, setup: &Setup, redis_url: &str, database_url: &str) -> Result<Tier> {
    let (addr, internal) = (free_addr()?, free_addr()?);
    let mut process = Process::of(binary)?
        .env("AB_PORT", addr.port().to_string())
        .env("AB_INTERNAL_ADDR", internal.to_string())
        .env("AB_REDIS_URL", redis_url)
        .env("AB_PARTITIONS", setup.partitions.to_string())
        .env("AB_API_TOKEN", API_TOKEN)
        .env("AB_ADMIN_TOKEN", ADMIN_TOKEN);
    if binary != "ingest-gateway" {
        process = process.env("AB_DATABASE_URL", database_url);
    }
    for (name, value) in &setup.environment {
        process = process.env(name, value);
    }
    Ok(Tier { process: process.spawn()?, addr, internal })
}

impl Tier {
    pub async fn ready(&mut self) -> Result<()> {
        self.process.wait_ready(self.addr, "/readyz", READY).await
    }
}

pub(crate) fn free_addr() -> Result<SocketAddr> {
    Ok((Ipv4Addr::LOCALHOST, testkit::free_port()?).into())
}

#[async_trait]
impl<R: Send + Sync> Deployment for System<R> {
    fn gateway_addr(&self) -> SocketAddr {
        self.gateway_addr
    }

    fn analyzer_addr(&self) -> SocketAddr {
        self.analyzer_addr
    }

    fn health_addrs(&self) -> Vec<SocketAddr> {
        vec![self.gateway_addr, self.worker_addr, self.analyzer_addr]
    }

    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn partitions(&self) -> u16 {
        self.setup.partitions
    }

    async fn books(&self) -> Result<Books> {
        Ok(backends::books(&*self.store, &self.queue, self.setup.partitions).await?)
    }
}
