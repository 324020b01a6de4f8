//! The pipeline's own speeds and sizes.

use crate::POSTGRES;
use crate::raw::RAW_TWO;
use crate::table::{Goal, Table};
use abctl::simulate::Simulation;
use anyhow::{Context, Result, ensure};
use e2e::run::{self, silent};
use e2e::{API_TOKEN, Deployment, Setup, System};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use testkit::Process;
use tokio_postgres::Client;

/// How long a phase may take.
const PHASE: Duration = Duration::from_secs(600);
/// Requests of one latency figure.
const REQUESTS: u32 = 2_000;
const BARE: &str = "bare hyper server, batches of 100";

pub fn setup(worker: bool) -> Setup {
    let environment =
        vec![("AB_LOG_LEVEL", "warn".to_owned()), ("AB_QUEUE_MAX_EVENTS", "100000000".to_owned())];
    Setup { worker, postgres: POSTGRES.to_vec(), environment, ..Setup::default() }
}

/// Lanes and batch size of a load.
pub fn load(events: u64, seed: u64, lanes: u32, batch: u32) -> Simulation {
    let mut simulation = run::plain(events / u64::from(lanes * batch) * u64::from(lanes * batch), seed);
    simulation.lanes = lanes;
    simulation.manner.batch = batch;
    simulation
}

/// The gateway with nobody applying (T1), then the worker on what has piled up (T2).
pub async fn accept_and_apply(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    let mut system = System::start(setup(false)).await?;
    let mut accepted = 0;
    for (name, batch, lanes, share, goal) in [
        ("T1 accepted and fsynced, batches of 1000", 1_000, 8, 1.0, Goal::AtLeast(300_000.0)),
        ("T1 accepted and fsynced, batches of 100", 100, 32, 0.3, Goal::AtLeast(150_000.0)),
        ("T1 accepted and fsynced, single events", 1, 64, 0.05, Goal::AtLeast(15_000.0)),
    ] {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a positive number
        let load = load((events as f64 * share) as u64, seed * 100 + u64::from(batch), lanes, batch);
        let outcome = run::send(&system, &load, silent()).await?;
        accepted += outcome.answers.received;
        let rate = outcome.answers.received as f64 / outcome.elapsed.as_secs_f64();
        if batch == 100 {
            table.add(BARE, "events/s", bare(events / 3, seed, lanes, batch).await?, Goal::None, None);
            table.add(name, "events/s", rate, goal, Some(BARE));
        } else {
            table.add(name, "events/s", rate, goal, None);
        }
    }
    rss("T8 gateway, largest resident set", &system.gateway, 64.0, table)?;

    let database = client(&system).await?;
    let rate = drain(&mut system, &database, accepted).await?;
    // A worker applies on two connections, so that is its ceiling.
    table.add("T2 applied from a full stream", "events/s", rate, Goal::Share(0.8, RAW_TWO), Some(RAW_TWO));
    rss("T8 worker, largest resident set", system.worker.as_ref().context("a worker")?, 256.0, table)?;
    sizes(&database, table).await?;
    system.stop().await
}

/// The worker on what real traffic mostly is: exposures seen before (T3).
pub async fn apply_repeats(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    let mut system = System::start(setup(false)).await?;
    let mut load = load(events, seed * 100 + 9, 8, 1_000);
    (load.plot.habits.repeat, load.plot.habits.purchase) = (0.95, 0.0);
    let outcome = run::send(&system, &load, silent()).await?;
    let database = client(&system).await?;
    let rate = drain(&mut system, &database, outcome.answers.received).await?;
    table.add("T3 applied, 95% repeated exposures", "events/s", rate, Goal::AtLeast(300_000.0), None);
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

/// HTTP to committed and in the results (T4), and what a query costs then (T7).
pub async fn end_to_end(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let database = client(&system).await?;
    let small = load(16_000, seed * 100 + 7, 8, 1_000);
    let before = run::send(&system, &small, silent()).await?;
    run::settled(&system).await?;
    let few = latency(&system, "sim-load").await?;
    table.add("T7 live-stats p99, few events", "ms", few, Goal::AtMost(5.0), None);

    let load = load(events, seed * 100 + 8, 8, 1_000);
    let begun = Instant::now();
    let mut outcome = run::send(&system, &load, silent()).await?;
    let sent = i64::try_from(outcome.answers.received + small.events)?;
    let (ended, _) = until(&database, sent).await?;
    let rate = outcome.answers.received as f64 / (ended - begun).as_secs_f64();
    let goal = Goal::AtLeast(80_000.0);
    table.add("T4 end to end, HTTP to committed", "events/s", rate, goal, Some(RAW_TWO));
    let many = latency(&system, "sim-load").await?;
    table.add("T7 live-stats p99, after all events", "ms", many, Goal::AtMost(5.0), None);
    rss("T8 analyzer, largest resident set", &system.analyzer, 64.0, table)?;
    // A speed counts only if everything was counted.
    outcome.answers.add(before.answers);
    outcome.oracle.merge(before.oracle);
    let (_, faults) = run::faults(&system, &load, &outcome).await?;
    ensure!(faults.is_empty(), "{} things are wrong, the first: {}", faults.len(), faults[0]);
    system.stop().await
}

pub async fn client(system: &System) -> Result<Client> {
    let name = system.database_url.rsplit('/').next().unwrap_or_default();
    system.postgres.connect(name).await
}

/// When so many events were applied, and how many were then.
async fn until(database: &Client, events: i64) -> Result<(Instant, i64)> {
    let deadline = Instant::now() + PHASE;
    loop {
        let row = database.query_one("SELECT coalesce(sum(accepted), 0)::int8 FROM partitions", &[]).await?;
        let applied: i64 = row.get(0);
        if applied >= events {
            return Ok((Instant::now(), applied));
        }
        ensure!(Instant::now() < deadline, "{applied} of {events} events applied within {PHASE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same load to a server that does nothing with it.
async fn bare(events: u64, seed: u64, lanes: u32, batch: u32) -> Result<f64> {
    let port = testkit::free_port()?;
    let own = std::env::current_exe()?;
    let mut server = Process::at("bare-server", own)
        .arg("--bare-server")
        .arg(port.to_string())
        .arg("--bare-batch")
        .arg(batch.to_string())
        .spawn()?;
    let url = format!("http://127.0.0.1:{port}");
    let outcome = load(events, seed, lanes, batch).run(&url, Some(API_TOKEN), &silent()).await?;
    server.kill()?;
    Ok(outcome.answers.received as f64 / outcome.elapsed.as_secs_f64())
}

/// The 99th percentile of live-stats, in milliseconds.
pub async fn latency(system: &System, key: &str) -> Result<f64> {
    let path = format!("/api/v1/experiments/{key}/live-stats");
    let client = system.admin();
    let mut micros = Histogram::<u64>::new(3)?;
    for n in 0..REQUESTS + 100 {
        let begun = Instant::now();
        let answer = client.get(&path).await?;
        ensure!(answer.status == 200, "live-stats: {} {}", answer.status, answer.text());
        // The first hundred open connections and fill caches.
        if n >= 100 {
            micros.record(u64::try_from(begun.elapsed().as_micros())?)?;
        }
    }
    Ok(micros.value_at_quantile(0.99) as f64 / 1000.0)
}

/// Disk per row, table and indexes (T9).
async fn sizes(database: &Client, table: &mut Table) -> Result<()> {
    for (name, of, goal) in [
        ("T9 disk per unit with one enrollment", "units", 200.0),
        ("T9 disk per conversion", "conversions", 250.0),
    ] {
        let sql = format!("SELECT pg_total_relation_size('{of}')::float8 / greatest(count(*), 1) FROM {of}");
        let bytes: f64 = database.query_one(&sql, &[]).await?.get(0);
        table.add(name, "bytes", bytes, Goal::AtMost(goal), None);
    }
    Ok(())
}

/// Of a process that runs.
fn rss(name: &'static str, process: &Process, target: f64, table: &mut Table) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    table.add(name, "MiB", kilobytes / 1024.0, Goal::AtMost(target), None);
    Ok(())
}
