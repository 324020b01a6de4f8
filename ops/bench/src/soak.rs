//! A steady load for minutes: what is held in memory must not grow (T8), and nobody must wait longer at its end.

use crate::Size;
use crate::pace::{self, Pace};
use crate::pipeline::{client, experiments, follow, load, setup, until};
use crate::table::{Goal, Table};
use crate::usage::{NOW, PEAK, memory};
use anyhow::{Context, Result};
use e2e::{Deployment, System};
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

/// The goal of T4, for as long as it takes.
const RATE: f64 = 80_000.0;
const REPEATS: f64 = 0.8;
const EVERY: Duration = Duration::from_millis(500);
/// Resident memory at the end against what it was after this share of the time, at most.
const WARM: usize = 5;
const GROWTH: f64 = 1.1;
/// Caches fill in the first minute: of a shorter soak nothing is asked.
const SETTLED: Duration = Duration::from_secs(300);

pub async fn soak(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let mut load = load(1, seed * 100 + 3, 64, 1_000);
    // Real traffic is mostly users seen before; and the disk has an end.
    load.plot.habits.repeat = REPEATS;
    experiments(&system, &load).await?;
    let reader = system.admin();
    // Somebody looks at the results all the time.
    let queries = AbortOnDropHandle::new(tokio::spawn(async move {
        while reader.get("/api/v1/experiments/sim-load/live-stats").await.is_ok() {
            tokio::time::sleep(EVERY).await;
        }
    }));
    let worker = system.worker.as_ref().context("a worker")?;
    let tiers = [
        ("gateway", system.gateway.pid(), 64.0),
        ("worker", worker.pid(), 256.0),
        ("analyzer", system.analyzer.pid(), 64.0),
    ];
    let mut samples = tiers.map(|_| Vec::new());
    let (known, follow) = follow(&system).await?;
    let pace = Pace { lasting: size.soak, rate: Some(RATE), wait: None, applied: Some(known) };
    let url = system.gateway_url();
    let mut sending = Box::pin(pace::run(&load, &url, &pace));
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent?,
            () = tokio::time::sleep(EVERY) => {
                for ((_, pid, _), samples) in tiers.iter().zip(&mut samples) {
                    samples.push(memory(*pid, NOW)?);
                }
            }
        }
    };
    let ended = Instant::now();
    let database = client(&system).await?;
    let (applied, _) = until(&database, i64::try_from(sent.answers.received)?).await?;
    drop((queries, follow));
    let seconds = size.soak.as_secs();
    for ((tier, ..), samples) in tiers.iter().zip(&samples) {
        let share = (samples.len() / WARM).max(1);
        let warm = largest(samples.iter().skip(share).take(share));
        let last = largest(samples.iter().rev().take(share));
        let name = format!("T8 {tier}, resident set of the last fifth against the second, {seconds} s");
        let goal = if size.soak < SETTLED { Goal::None } else { Goal::AtMost(GROWTH) };
        table.add(name, "times", last / warm.max(1.0), goal, None);
        table.explain(format!("{last:.0} MiB against {warm:.0} MiB, at {RATE} events/s"));
    }
    for (tier, pid, most) in tiers {
        let name = format!("T8 {tier}, largest resident set of the soak");
        table.add(name, "MiB", memory(pid, PEAK)?, Goal::AtMost(most), None);
    }
    table.add("T8 soak: rate reached", "events/s", sent.rate(), Goal::AtLeast(RATE * 0.99), None);
    table.explain("not more than a million events are sent ahead of those applied: PostgreSQL was the limit");
    table.add("T8 soak: accept p99, batches of 1000", "ms", sent.quantile(0.99), Goal::None, None);
    let behind = (applied - ended).as_secs_f64();
    table.add("T8 soak: last event applied after", "s", behind, Goal::None, None);
    system.stop().await
}

fn largest<'s>(samples: impl Iterator<Item = &'s f64>) -> f64 {
    samples.copied().fold(0.0, f64::max)
}
