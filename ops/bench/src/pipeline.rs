//! The pipeline's own speeds: accepted, applied, and end to end.

use crate::entries::Entries;
use crate::pace::{self, Pace};
use crate::raw::{RAW_CONVERSION, RAW_LANES, RAW_UNIT};
use crate::table::{Goal, Table};
use crate::usage::{PEAK, Usage, memory};
use crate::{POSTGRES, REDIS, Size};
use abctl::simulate::{Simulation, create_experiments};
use anyhow::{Context, Result, ensure};
use e2e::run::{self, silent};
use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, Setup, System};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::Process;
use tokio_postgres::Client;
use tokio_util::task::AbortOnDropHandle;

/// How long a phase may take.
const PHASE: Duration = Duration::from_secs(180);
const STARTED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
pub const BARE: &str = "bare hyper server, batches of 100";
const READ: &str = "raw XRANGE of the entries of T3";

pub fn setup(worker: bool) -> Setup {
    let environment =
        vec![("AB_LOG_LEVEL", "warn".to_owned()), ("AB_QUEUE_MAX_EVENTS", "100000000".to_owned())];
    Setup { worker, postgres: POSTGRES.to_vec(), redis: REDIS.to_vec(), environment, ..Setup::default() }
}

/// Lanes and batch size of a load.
pub fn load(events: u64, seed: u64, lanes: u32, batch: u32) -> Simulation {
    let round = u64::from(lanes * batch);
    let mut simulation = run::plain((events / round).max(1) * round, seed);
    simulation.lanes = lanes;
    simulation.manner.batch = batch;
    simulation
}

/// The load's experiments, without its events.
pub async fn experiments(system: &dyn Deployment, load: &Simulation) -> Result<()> {
    Ok(create_experiments(&load.plot.world, &system.analyzer_url(), Some(ADMIN_TOKEN)).await?)
}

/// A way of sending, for T1.
struct Way {
    name: &'static str,
    ceiling: &'static str,
    batch: u32,
    /// Requests under way.
    lanes: u32,
    /// Events for every hundred of the size, so that each lasts for seconds.
    per_hundred: u64,
    /// Events per second.
    goal: f64,
}

const WAYS: [Way; 3] = [
    Way {
        name: "T1 accepted and fsynced, batches of 1000",
        ceiling: "raw XADD, batches of 1000",
        batch: 1_000,
        lanes: 8,
        per_hundred: 200,
        goal: 300_000.0,
    },
    Way {
        name: "T1 accepted and fsynced, batches of 100",
        ceiling: "raw XADD, batches of 100",
        batch: 100,
        lanes: 128,
        per_hundred: 200,
        goal: 150_000.0,
    },
    Way {
        name: "T1 accepted and fsynced, single events",
        ceiling: "raw XADD, single events",
        batch: 1,
        lanes: 64,
        per_hundred: 5,
        goal: 15_000.0,
    },
];

impl Way {
    fn events(&self, size: &Size) -> u64 {
        size.events * self.per_hundred / 100
    }
}

/// Events that T1 leaves for T2.
pub fn piled_up(size: &Size) -> u64 {
    WAYS.iter().map(|way| way.events(size)).sum()
}

/// The gateway with nobody applying (T1), then the worker on what has piled up (T2). Returns T1 in batches of 100.
pub async fn accept_and_apply(size: &Size, seed: u64, table: &mut Table) -> Result<f64> {
    let mut system = System::start(setup(false)).await?;
    let (mut accepted, mut behind, mut hundreds) = (0, Vec::new(), 0.0);
    for way in &WAYS {
        let Way { name, ceiling, batch, lanes, goal, .. } = *way;
        let load = load(way.events(size), seed * 100 + u64::from(batch), lanes, batch);
        let usage = Usage::of(&system)?;
        let outcome = run::send(&system, &load, silent()).await?;
        let received = outcome.answers.received as f64;
        usage.add(name, received, table)?;
        accepted += outcome.answers.received;
        let rate = received / outcome.elapsed.as_secs_f64();
        let entries = Entries::read(&system.redis, &mut behind, system.setup.partitions).await?;
        table.add(ceiling, "events/s", received / entries.write().await?, Goal::None, None);
        table.add(name, "events/s", rate, Goal::AtLeast(goal), Some(ceiling));
        if batch == 100 {
            hundreds = rate;
            let bare = Bare::start(batch).await?;
            let outcome = load.run(&bare.url, Some(API_TOKEN), &silent()).await?;
            let least = outcome.answers.received as f64 / outcome.elapsed.as_secs_f64();
            table.add(BARE, "events/s", least, Goal::None, None);
            table.add("T1 beside a bare hyper server", "events/s", rate, Goal::Share(0.5), Some(BARE));
        }
    }
    disk_of_redis(&system, accepted, table).await?;
    peak("T8 gateway, largest resident set", &system.gateway, 64.0, table)?;

    let database = client(&system).await?;
    let usage = Usage::of(&system)?;
    let rate = drain(&mut system, &database, accepted).await?;
    let worker = system.worker.as_ref().context("a worker")?;
    // A worker applies on as many connections as it has lanes, so that is its ceiling.
    table.add("T2 applied from a full stream", "events/s", rate, Goal::Share(0.8), Some(RAW_LANES));
    usage.add("T2 applied from a full stream", accepted as f64, table)?;
    let used = crate::usage::cpu_seconds(worker.pid())? * 1e6 / accepted as f64;
    table.add("T2 applied from a full stream: CPU of worker", "s per million", used, Goal::None, None);
    peak("T8 worker, largest resident set", worker, 256.0, table)?;
    sizes(&database, table).await?;
    system.stop().await?;
    Ok(hundreds)
}

/// The worker on what real traffic mostly is: exposures seen before (T3).
pub async fn apply_repeats(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    let mut system = System::start(setup(false)).await?;
    // The fast phases take more, so that they last for seconds.
    let mut load = load(size.events * 4, seed * 100 + 9, 8, 1_000);
    (load.plot.habits.repeat, load.plot.habits.purchase) = (0.95, 0.0);
    let outcome = run::send(&system, &load, silent()).await?;
    let received = outcome.answers.received;
    let entries = Entries::read(&system.redis, &mut Vec::new(), system.setup.partitions).await?;
    table.add(READ, "events/s", received as f64 / entries.read_in, Goal::None, None);
    drop(entries);
    let database = client(&system).await?;
    let rate = drain(&mut system, &database, received).await?;
    table.add("T3 applied, 95% repeated exposures", "events/s", rate, Goal::AtLeast(300_000.0), Some(READ));
    system.stop().await
}

/// Events per second of a worker started on a full stream.
async fn drain(system: &mut System, database: &Client, accepted: u64) -> Result<f64> {
    system.start_worker()?;
    // The start of the worker is not its speed: measured from the first commit on.
    let begun = until(database, 1).await?;
    let ended = until(database, i64::try_from(accepted)?).await?;
    Ok((ended.1 - begun.1) as f64 / (ended.0 - begun.0).as_secs_f64())
}

/// HTTP to committed and in the results (T4), for as long as `size` says.
pub async fn end_to_end(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    const NAME: &str = "T4 end to end, HTTP to committed, sustained";
    let system = System::start(setup(true)).await?;
    let database = client(&system).await?;
    let load = load(1, seed * 100 + 8, 8, 1_000);
    experiments(&system, &load).await?;
    let written = wal(&database).await?;
    let usage = Usage::of(&system)?;
    let begun = Instant::now();
    let (applied, follow) = follow(&system).await?;
    let pace = Pace { lasting: size.lasting, rate: None, wait: None, applied: Some(applied) };
    let sent = pace::run(&load, &system.gateway_url(), &pace).await?;
    let events = sent.answers.received;
    let (ended, _) = until(&database, i64::try_from(events)?).await?;
    drop(follow);
    let rate = events as f64 / (ended - begun).as_secs_f64();
    table.add(NAME, "events/s", rate, Goal::AtLeast(80_000.0), Some(RAW_LANES));
    usage.add("T4", events as f64, table)?;
    peak("T8 analyzer, largest resident set", &system.analyzer, 64.0, table)?;
    let redis = system.redis.pid().context("Redis runs")?;
    table.add("T4: Redis, largest resident set", "MiB", memory(redis, PEAK)?, Goal::None, None);
    let row = database.query_one("SELECT pg_database_size(current_database())::float8", &[]).await?;
    let stored: f64 = row.get(0);
    table.add("T4: PostgreSQL, disk", "bytes an event", stored / events as f64, Goal::None, None);
    let written = (wal(&database).await? - written) / events as f64;
    table.add("T4: PostgreSQL, WAL", "bytes an event", written, Goal::None, None);
    // A speed counts only if everything was counted.
    let outcome =
        abctl::simulate::Outcome { answers: sent.answers, oracle: sent.oracle, elapsed: sent.elapsed };
    let (_, faults) = run::faults(&system, &load, &outcome).await?;
    ensure!(faults.is_empty(), "{} things are wrong, the first: {}", faults.len(), faults[0]);
    system.stop().await
}

/// Events applied, kept up to date as long as the second is held.
pub async fn follow(system: &System) -> Result<(Arc<AtomicU64>, AbortOnDropHandle<Result<()>>)> {
    let (known, database) = (Arc::new(AtomicU64::new(0)), client(system).await?);
    let told = Arc::clone(&known);
    let following = tokio::spawn(async move {
        loop {
            told.store(u64::try_from(applied(&database).await?)?, Ordering::Relaxed);
            tokio::time::sleep(POLL).await;
        }
    });
    Ok((known, AbortOnDropHandle::new(following)))
}

pub async fn client(system: &System) -> Result<Client> {
    system.postgres.connect(&system.database).await
}

pub async fn applied(database: &Client) -> Result<i64> {
    let row = database.query_one("SELECT coalesce(sum(accepted), 0)::int8 FROM partitions", &[]).await?;
    Ok(row.get(0))
}

/// When so many events were applied, and how many were then.
pub async fn until(database: &Client, events: i64) -> Result<(Instant, i64)> {
    let deadline = Instant::now() + PHASE;
    loop {
        let applied = applied(database).await?;
        if applied >= events {
            return Ok((Instant::now(), applied));
        }
        ensure!(Instant::now() < deadline, "{applied} of {events} events applied within {PHASE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// A server that does nothing with what it reads.
pub struct Bare {
    pub url: String,
    _process: Process,
}

impl Bare {
    pub async fn start(batch: u32) -> Result<Bare> {
        let port = testkit::free_port()?;
        let process = Process::at("bare-server", std::env::current_exe()?)
            .arg("--bare-server")
            .arg(port.to_string())
            .arg("--bare-batch")
            .arg(batch.to_string())
            .spawn()?;
        let deadline = Instant::now() + STARTED;
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            ensure!(Instant::now() < deadline, "the bare server does not listen within {STARTED:?}");
            tokio::time::sleep(POLL).await;
        }
        Ok(Bare { url: format!("http://127.0.0.1:{port}"), _process: process })
    }
}

/// Disk per row, table and indexes (T9).
async fn sizes(database: &Client, table: &mut Table) -> Result<()> {
    for (name, of, goal, ceiling) in [
        ("T9 disk per unit with one enrollment", "units", 200.0, RAW_UNIT),
        ("T9 disk per conversion", "conversions", 250.0, RAW_CONVERSION),
    ] {
        let sql = format!("SELECT pg_total_relation_size('{of}')::float8 / greatest(count(*), 1) FROM {of}");
        let bytes: f64 = database.query_one(&sql, &[]).await?.get(0);
        table.add(name, "bytes", bytes, Goal::AtMost(goal), Some(ceiling));
    }
    Ok(())
}

/// Bytes written ahead so far.
async fn wal(database: &Client) -> Result<f64> {
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    Ok(database.query_one(sql, &[]).await?.get(0))
}

async fn disk_of_redis(system: &System, events: u64, table: &mut Table) -> Result<()> {
    let redis::Value::BulkString(info) = system.redis.command(&["INFO", "persistence"]).await? else {
        anyhow::bail!("Redis says nothing of itself");
    };
    let info = String::from_utf8(info)?;
    let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    let size: f64 = size.context("the size of the append-only file")?.trim().parse()?;
    table.add("T1: Redis, append-only file", "bytes an event", size / events as f64, Goal::None, None);
    Ok(())
}

/// Of a process that runs.
fn peak(name: &'static str, process: &Process, target: f64, table: &mut Table) -> Result<()> {
    table.add(name, "MiB", memory(process.pid(), PEAK)?, Goal::AtMost(target), None);
    Ok(())
}
