//! What a client waits for: an acknowledgement at half of what the gateway can take (T5), and a commit (T6).

use crate::Size;
use crate::disk::Disk;
use crate::pace::{self, Pace, Paced};
use crate::pipeline::{Bare, experiments, load, setup};
use crate::table::{Goal, Table};
use abctl::simulate::Simulation;
use anyhow::{Result, ensure};
use e2e::{Deployment, System};
use std::time::Duration;

const AT_HALF_OF_GOAL: &str = "T5 accept p99 at 75,000 events/s, batches of 100";
const DISK_AT_HALF_OF_GOAL: &str = "the disk alone meanwhile, p99 (T5 at 75,000 events/s)";
const DISK_AT_HALF: &str = "the disk alone meanwhile, p99 (T5 at half of T1)";
const DISK_OF_COMMITS: &str = "the disk alone meanwhile, p99 (T6)";
/// Of what T1 asks for.
const HALF: f64 = 75_000.0;
const BARE: &str = "bare hyper server at the same rate, p99";
const BATCH: u32 = 100;
/// So many that one is free when a request is due, whatever became of those before it.
const LANES: u32 = 256;
/// Latencies settle sooner than speeds.
const LONGEST: Duration = Duration::from_secs(10);

/// At half of `accepted`, which is T1 in batches of 100, if it was measured, and at half of what T1 asks for.
pub async fn acknowledged(size: &Size, seed: u64, accepted: Option<f64>, table: &mut Table) -> Result<()> {
    const NAME: &str = "T5 accept p99 at half of the measured T1, batches of 100";
    let system = System::start(setup(false)).await?;
    let load = load(1, seed * 100 + 5, LANES, BATCH);
    experiments(&system, &load).await?;
    let (lasting, url) = (size.lasting.min(LONGEST), system.gateway_url());
    let at = |rate| Pace { lasting, rate: Some(rate), wait: None, applied: None };
    let sent = beside(DISK_AT_HALF_OF_GOAL, &load, &url, &at(HALF), table).await?;
    let goal = Goal::AtMost(10.0);
    table.add(AT_HALF_OF_GOAL, "ms", sent.quantile(0.99), goal.clone(), Some(DISK_AT_HALF_OF_GOAL));
    if let Some(rate) = accepted.map(|accepted| accepted / 2.0) {
        // Other users, so that their keys are new.
        let load = crate::pipeline::load(1, seed * 100 + 6, LANES, BATCH);
        let bare = Bare::start(BATCH).await?;
        let least = pace::run(&load, &bare.url, &at(rate)).await?.quantile(0.99);
        table.add(BARE, "ms", least, Goal::None, None);
        let sent = beside(DISK_AT_HALF, &load, &url, &at(rate), table).await?;
        table.add(NAME, "ms", sent.quantile(0.99), goal, Some(DISK_AT_HALF));
        let reached = sent.rate();
        table.explain(format!(
            "load generator, Redis and gateway share the machine: {reached:.0} of {rate:.0} events/s were reached; \
             the bare server took {least:.1} ms"
        ));
        table.add("T5: p50", "ms", sent.quantile(0.5), Goal::None, None);
        table.add("T5: rate reached", "events/s", reached, Goal::None, None);
    }
    system.stop().await
}

/// `Prefer: wait` at 20,000 events a second.
pub async fn committed(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let load = load(1, seed * 100 + 4, LANES, BATCH);
    experiments(&system, &load).await?;
    let lasting = size.lasting.min(LONGEST);
    let pace = Pace { lasting, rate: Some(20_000.0), wait: Some(10), applied: None };
    let sent = beside(DISK_OF_COMMITS, &load, &system.gateway_url(), &pace, table).await?;
    let answers = sent.answers;
    ensure!(answers.applied == answers.received, "an answer came before its commit: {answers:?}");
    let (p99, goal) = (sent.quantile(0.99), Goal::AtMost(150.0));
    table.add("T6 Prefer: wait p99 at 20,000 events/s", "ms", p99, goal, Some(DISK_OF_COMMITS));
    table.explain(format!("{:.0} events/s were reached", sent.rate()));
    table.add("T6: p50", "ms", sent.quantile(0.5), Goal::None, None);
    table.add("T6: rate reached", "events/s", sent.rate(), Goal::None, None);
    system.stop().await
}

/// The load, and what the disk did meanwhile. What other parts and the servers' start left to be written is written
/// before, or the first sync of the load would wait for all of it.
async fn beside(disk: &str, load: &Simulation, url: &str, pace: &Pace, table: &mut Table) -> Result<Paced> {
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    let probe = Disk::probe()?;
    let sent = pace::run(load, url, pace).await?;
    table.add(disk, "ms", probe.p99()?, Goal::None, None);
    Ok(sent)
}
