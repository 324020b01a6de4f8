//! The deployment that is troubled: two gateways, two workers and an analyzer, each with a proxy in front of every
//! server it uses, so that each connection can break alone.

use super::actor::Actor;
use super::schedule::{Fault, Kind, PROGRAMS, Program, Server, Target};
use super::trouble::Trouble;
use crate::system::{Setup, Tier, tier};
use anyhow::{Context, Result, anyhow};
use queue::redis::RedisQueue;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Location, Store};
use testkit::{FaultProxy, Postgres, Redis};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Dropped in this order: programs and links, then the servers.
pub struct Fleet {
    actors: BTreeMap<Target, Actor>,
    addrs: BTreeMap<Program, SocketAddr>,
    pub setup: Setup,
    database_url: String,
    redis: Arc<Redis>,
    _postgres: Arc<Postgres>,
}

/// Of each kind and class of target: how many came to pass, and how many were scheduled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(&'static str, &'static str), (u64, u64)>);

impl Fleet {
    /// Ready to take events when this returns.
    pub async fn start(setup: Setup) -> Result<Fleet> {
        let (postgres, redis) = tokio::try_join!(Postgres::start_with(&setup.postgres), Redis::start())?;
        let (postgres, redis) = (Arc::new(postgres), Arc::new(redis));
        let database = postgres.create_database().await?;
        let mut fleet = Fleet {
            actors: BTreeMap::new(),
            addrs: BTreeMap::new(),
            setup,
            database_url: postgres.url_for(&database),
            redis: redis.clone(),
            _postgres: postgres.clone(),
        };
        // The analyzer first: it makes the schema, and the catalogue that the gateways read.
        for program in PROGRAMS.iter().rev() {
            let to_redis = FaultProxy::start(redis.addr()).await?;
            let to_postgres = FaultProxy::start(postgres.addr()).await?;
            let urls = (redis.url_at(to_redis.addr()), postgres.url_at(to_postgres.addr(), &database));
            let Tier { process, addr, .. } = tier(binary(*program), &fleet.setup, &urls.0, &urls.1)?;
            let mut actor = Actor::Program { process, addr };
            actor.recovered().await?;
            fleet.addrs.insert(*program, addr);
            fleet.actors.insert(Target::Program(*program), actor);
            fleet.actors.insert(Target::Link(*program, Server::Redis), Actor::Link(to_redis));
            fleet.actors.insert(Target::Link(*program, Server::Postgres), Actor::Link(to_postgres));
        }
        fleet
            .actors
            .insert(Target::Server(Server::Postgres), Actor::Postgres(Trouble::of(postgres, database)));
        fleet.actors.insert(Target::Server(Server::Redis), Actor::Redis(redis));
        Ok(fleet)
    }

    pub fn url(&self, program: Program) -> Result<String> {
        let addr = self.addrs.get(&program).context("there is no such program")?;
        Ok(format!("http://{addr}"))
    }

    /// Straight to the database, past the proxies.
    pub async fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(store::connect(&Location::Postgres { url: self.database_url.clone(), pool_size: 4 }).await?)
    }

    /// Straight to Redis.
    pub fn queue(&self) -> Result<RedisQueue> {
        Ok(RedisQueue::new(&self.redis.url(), self.setup.partitions, 0)?)
    }

    /// Everything that is scheduled happens, each target's faults one after another; in the end all is made good.
    pub async fn suffer(&mut self, faults: &[Fault]) -> Result<Counts> {
        let begun = Instant::now();
        let mut running = JoinSet::new();
        for (target, mut actor) in std::mem::take(&mut self.actors) {
            let own: Vec<Fault> = faults.iter().filter(|fault| fault.target == target).copied().collect();
            running.spawn(async move {
                let mut done = Vec::new();
                for fault in own {
                    sleep_until(begun + fault.at).await;
                    done.push((fault, actor.suffer(&fault).await?));
                }
                Ok::<_, anyhow::Error>((target, actor, done))
            });
        }
        let mut counts = Counts::default();
        while let Some(ended) = running.join_next().await {
            let (target, actor, done) = ended??;
            self.actors.insert(target, actor);
            done.into_iter().for_each(|(fault, done)| counts.add(target, fault.kind, done));
        }
        Ok(counts)
    }

    /// Waits until every program is ready for work.
    pub async fn recovered(&mut self) -> Result<()> {
        for (target, actor) in &mut self.actors {
            actor.recovered().await.with_context(|| format!("{target} does not recover"))?;
        }
        Ok(())
    }

    /// The orderly end of one program.
    pub async fn retire(&mut self, program: Program) -> Result<()> {
        let actor = self.actors.get_mut(&Target::Program(program));
        let actor = actor.ok_or_else(|| anyhow!("there is no {program}"))?;
        actor.retire().await.with_context(|| format!("{program} does not end well"))
    }

    /// What programs said when they panicked.
    pub fn panics(&self) -> Vec<String> {
        let all = self.actors.iter();
        all.flat_map(|(target, actor)| actor.panics().into_iter().map(move |p| format!("{target}: {p}")))
            .collect()
    }
}

fn binary(program: Program) -> &'static str {
    match program {
        Program::Gateway(_) => "ingest-gateway",
        Program::Worker(_) => "ingest-worker",
        Program::Analyzer => "analyzer",
    }
}

impl Counts {
    fn add(&mut self, target: Target, kind: Kind, done: bool) {
        let class = match target {
            Target::Program(Program::Gateway(_)) => "gateway",
            Target::Program(Program::Worker(_)) => "worker",
            Target::Program(Program::Analyzer) => "analyzer",
            Target::Server(Server::Postgres) => "PostgreSQL",
            Target::Server(Server::Redis) => "Redis",
            Target::Link(..) => "connections",
        };
        let (came, scheduled) = self.0.entry((class, kind.name())).or_default();
        *came += u64::from(done);
        *scheduled += 1;
    }

    /// Faults that came to pass.
    pub fn total(&self) -> u64 {
        self.0.values().map(|(came, _)| came).sum()
    }

    /// Those of a class: a program, a server, or `connections`.
    pub fn of(&self, class: &str) -> u64 {
        self.0.iter().filter(|((c, _), _)| *c == class).map(|(_, (came, _))| came).sum()
    }
}

/// A line per kind.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((class, kind), (came, scheduled)) in &self.0 {
            writeln!(f, "  {class:<11} {kind:<13} {came:>4} of {scheduled}")?;
        }
        Ok(())
    }
}
