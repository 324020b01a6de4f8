//! Simulations through a running system, and everything that must hold afterwards.

use crate::deployment::Deployment;
use crate::{ADMIN_TOKEN, API_TOKEN};
use abctl::api::Api;
use abctl::simulate::answers::Answer;
use abctl::simulate::check::Checker;
use abctl::simulate::lane::Plot;
use abctl::simulate::script::Habits;
use abctl::simulate::send::{Manner, Progress};
use abctl::simulate::world::World;
use abctl::simulate::{Outcome, Simulation, create_experiments};
use abctl::verify::{self, Report};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use store::Books;

/// How long everything queued may take to be applied, whatever happened before.
pub const SETTLE: Duration = Duration::from_secs(120);

/// Between two looks at the books while waiting.
const POLL_EVERY: Duration = Duration::from_millis(50);

const DAY_MS: i64 = 86_400_000;

/// A varied run of `events` events, checked row by row.
pub fn varied(events: u64, seed: u64) -> Simulation {
    simulation(World::varied("sim-"), Habits::varied(), events, seed, true)
}

/// The mixed load that speeds are measured with, in large batches.
pub fn plain(events: u64, seed: u64) -> Simulation {
    let mut simulation = simulation(World::plain("sim-"), Habits::plain(), events, seed, false);
    simulation.manner.batch = 1_000;
    simulation.lanes = 8;
    simulation
}

fn simulation(world: World, habits: Habits, events: u64, seed: u64, keep_rows: bool) -> Simulation {
    let now = now_ms();
    let plot = Plot {
        world: Arc::new(world),
        habits,
        seed,
        start: (now / DAY_MS - 8) * DAY_MS,
        now,
        prefix: "sim-".into(),
        tenant: "default".into(),
        keep_rows,
    };
    let (patience, timeout) = (Duration::from_secs(120), Duration::from_secs(30));
    let manner = Manner { batch: 500, wait: None, rate: None, patience, timeout };
    Simulation { plot, events, lanes: 4, manner }
}

#[allow(clippy::disallowed_methods)] // the one place that reads the clock
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

/// Creates the experiments and sends everything.
pub async fn send(system: &dyn Deployment, simulation: &Simulation, progress: Progress) -> Result<Outcome> {
    create_experiments(&simulation.plot.world, &system.analyzer_url(), Some(ADMIN_TOKEN)).await?;
    Ok(simulation.run(&system.gateway_url(), Some(API_TOKEN), &progress).await?)
}

/// The books once everything is applied.
pub async fn settled(system: &dyn Deployment) -> Result<Books> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let books = system.books().await?;
        if books.total.in_flight == 0 || Instant::now() >= deadline {
            return Ok(books);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// What is wrong with the state after a run; empty = nothing. Waits until everything is applied.
pub async fn faults(
    system: &dyn Deployment,
    simulation: &Simulation,
    outcome: &Outcome,
) -> Result<(Books, Vec<String>)> {
    let books = settled(system).await.context("read the books")?;
    let (total, expected) = (books.total, outcome.oracle.total());
    // A request that was retried after a lost answer may have been accepted twice.
    let exact = outcome.answers.retries == 0;
    let mut found = Vec::new();
    let mut hold = |what: &str, holds: bool| {
        if !holds {
            found.push(format!("{what}: {total}; {:?}; expected {expected:?}", outcome.answers));
        }
    };
    hold("the books close in every partition", books.are_good());
    hold("nothing is in flight", total.in_flight == 0);
    hold("nothing is dead or discarded", total.dead_lettered == 0 && total.discarded == 0);
    hold("acknowledged as sent", outcome.answers.received == expected.sent);
    hold("recorded as expected", u64::try_from(total.recorded) == Ok(expected.recorded()));
    let (received, sent) = (u64::try_from(total.received)?, outcome.answers.received);
    hold("received as acknowledged", if exact { received == sent } else { received >= sent });
    let (tenant, world) = (&simulation.plot.tenant, &simulation.plot.world);
    let checker = Checker { store: system.store(), tenant, world, exact };
    found.extend(checker.differences(&outcome.oracle, system.partitions()).await?);
    for report in verify_all(system, simulation).await? {
        found.extend(report.differences.iter().map(|d| format!("verify {}: {d:?}", report.experiment)));
    }
    Ok((books, found))
}

/// `verify` of every experiment of the simulation.
pub async fn verify_all(system: &dyn Deployment, simulation: &Simulation) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for experiment in &simulation.plot.world.experiments {
        let (store, partitions) = (system.store(), system.partitions());
        reports.push(verify::verify(store, partitions, &simulation.plot.tenant, &experiment.key).await?);
    }
    Ok(reports)
}

/// The analyzer's answers to every experiment of the simulation.
pub async fn answers(
    system: &dyn Deployment,
    simulation: &Simulation,
    outcome: &Outcome,
) -> Result<Vec<Answer>> {
    let mut api = Api::at(&system.analyzer_url(), Some(("AB_ADMIN_TOKEN", ADMIN_TOKEN)))?;
    Ok(simulation.plot.world.answers(&mut api, &outcome.oracle).await?)
}

/// What is wrong with the answers; empty = nothing.
pub async fn wrong_answers(
    system: &dyn Deployment,
    simulation: &Simulation,
    outcome: &Outcome,
) -> Result<Vec<String>> {
    let answers = answers(system, simulation, outcome).await?;
    Ok(answers.into_iter().flat_map(|answer| answer.differences).collect())
}

/// Nobody listens.
pub fn silent() -> Progress {
    Arc::new(|_| {})
}
