//! The one-process mode's speed.

use crate::pipeline::load;
use crate::raw::{self, RAW_SQLITE};
use crate::table::{Goal, Table};
use abctl::simulate::{Outcome, Simulation};
use anyhow::{Result, ensure};
use e2e::run::{self, silent};
use e2e::{OneProcess, Setup};

/// HTTP to committed on SQLite, an fsync per transaction (T11). Every answer comes after its commit, so what the
/// clients saw is the speed.
pub async fn one_process(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    raw::measure_sqlite(events, seed, table)?;
    let environment = vec![("AB_LOG_LEVEL", "warn".to_owned())];
    let system = OneProcess::start(&Setup { environment, ..Setup::default() }).await?;
    let mut all: Option<(Simulation, Outcome)> = None;
    for (name, lanes, batch, share, goal) in [
        ("T11 one process on SQLite, batches of 1000", 8, 1_000, 1, Goal::AtLeast(50_000.0)),
        ("T11 one process on SQLite, batches of 100", 32, 100, 2, Goal::None),
        ("T11 one process on SQLite, single events", 64, 1, 50, Goal::None),
    ] {
        let load = load(events / share, seed * 100 + 10 + share, lanes, batch);
        let outcome = run::send(&system, &load, silent()).await?;
        ensure!(outcome.answers.applied == outcome.answers.received, "an answer came before its commit");
        let rate = outcome.answers.received as f64 / outcome.elapsed.as_secs_f64();
        table.add(name, "events/s", rate, goal, Some(RAW_SQLITE));
        table.explain("keys are hashes: a transaction changes nearly as many pages as rows, and SQLite logs whole pages");
        match &mut all {
            None => all = Some((load, outcome)),
            Some((_, sum)) => {
                sum.answers.add(outcome.answers);
                sum.oracle.merge(outcome.oracle);
            }
        }
    }
    // A speed counts only if everything was counted.
    if let Some((load, sum)) = all {
        let (_, faults) = run::faults(&system, &load, &sum).await?;
        ensure!(faults.is_empty(), "{} things are wrong, the first: {}", faults.len(), faults[0]);
    }
    system.stop().await
}
