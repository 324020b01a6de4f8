//! Two workers instead of one (T12), each with two processors, as in a cluster; the database has all of them.

use crate::Size;
use crate::pipeline::{client, load, setup, until};
use crate::table::{Goal, Table};
use crate::usage::Busy;
use anyhow::{Result, ensure};
use e2e::System;
use e2e::run::{self, silent};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const ONE: &str = "T12 applied by one worker";
/// Of every worker, and so its lanes.
const PROCESSORS: usize = 2;
const SAMPLE: Duration = Duration::from_millis(20);
const HOLDING: Duration = Duration::from_secs(120);

/// What two workers do while they drain a stream.
struct Drained {
    rate: f64,
    /// Share of the machine's processors.
    busy: f64,
    /// Share of the samples of their sessions that waited for a lock.
    locked: f64,
}

pub async fn two_workers(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    let one = drain(size, seed, 1).await?;
    table.add(ONE, "events/s", one.rate, Goal::None, None);
    let two = drain(size, seed, 2).await?;
    table.add("T12 applied by two workers", "events/s", two.rate, Goal::None, Some(ONE));
    table.add("T12 two workers instead of one", "times", two.rate / one.rate, Goal::AtLeast(1.7), None);
    table.explain(format!(
        "PostgreSQL has no processors to spare here: all of the machine's are {:.0}% busy with one worker, {:.0}% with two; \
         {:.2}% of the samples of two workers' sessions waited for a lock",
        one.busy * 100.0,
        two.busy * 100.0,
        two.locked * 100.0
    ));
    table.add("T12 processors busy, one worker", "%", one.busy * 100.0, Goal::None, None);
    table.add("T12 processors busy, two workers", "%", two.busy * 100.0, Goal::None, None);
    table.add(
        "T12 waiting for locks, two workers",
        "% of samples",
        two.locked * 100.0,
        Goal::AtMost(5.0),
        None,
    );
    Ok(())
}

async fn drain(size: &Size, seed: u64, workers: usize) -> Result<Drained> {
    let mut system = System::start(setup(false)).await?;
    // Enough to last until the second has its share, and for seconds after that.
    let outcome = run::send(&system, &load(size.events * 3, seed * 100 + 11, 8, 1_000), silent()).await?;
    let accepted = i64::try_from(outcome.answers.received)?;
    let database = client(&system).await?;
    let mut others = Vec::new();
    for number in 1..workers {
        others.push(on_processors(number, || system.another_worker())?.0);
    }
    on_processors(0, || system.start_worker())?;
    let begun = holding(&database, workers * PROCESSORS).await?;
    ensure!(begun.1 < accepted, "everything was applied before {workers} workers had their shares");
    let mut busy = Busy::default();
    busy.look()?;
    let sampler = client(&system).await?;
    let (mut all, mut locked) = (0, 0);
    let mut applying = Box::pin(until(&database, accepted));
    let ended = loop {
        tokio::select! {
            ended = &mut applying => break ended?,
            () = tokio::time::sleep(SAMPLE) => {
                let (sessions, waiting) = sessions(&sampler).await?;
                (all, locked) = (all + sessions, locked + waiting);
            }
        }
    };
    let busy = busy.look()?;
    drop(applying);
    let rate = (ended.1 - begun.1) as f64 / (ended.0 - begun.0).as_secs_f64();
    for mut worker in others {
        worker.terminate(HOLDING).await?;
    }
    system.stop().await?;
    Ok(Drained { rate, busy, locked: locked as f64 / f64::max(all as f64, 1.0) })
}

/// Starts a process that keeps to the processors of pair `number`, as far as there are so many: what is started has
/// the affinity of the thread that starts it.
fn on_processors<T>(number: usize, start: impl FnOnce() -> Result<T>) -> Result<T> {
    let all = sched_getaffinity(None)?;
    let known: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
    let mut few = CpuSet::new();
    for cpu in known.iter().cycle().skip(number * PROCESSORS).take(PROCESSORS) {
        few.set(*cpu);
    }
    sched_setaffinity(None, &few)?;
    let started = start();
    sched_setaffinity(None, &all)?;
    started
}

/// When so many lanes held partitions, and what was applied then.
async fn holding(database: &Client, lanes: usize) -> Result<(Instant, i64)> {
    let lanes = i64::try_from(lanes)?;
    let deadline = Instant::now() + HOLDING;
    let sql = "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    while database.query_one(sql, &[]).await?.get::<_, i64>(0) < lanes {
        ensure!(Instant::now() < deadline, "{lanes} lanes do not hold partitions within {HOLDING:?}");
        tokio::time::sleep(SAMPLE).await;
    }
    until(database, 1).await
}

/// Sessions in a transaction, and those of them that wait for a lock.
async fn sessions(database: &Client) -> Result<(i64, i64)> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE wait_event_type = 'Lock') FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()";
    let row = database.query_one(sql, &[]).await?;
    Ok((row.get(0), row.get(1)))
}
