//! Simulations through a running system, and everything that must hold afterwards.

use crate::deployment::Deployment;
use crate::{ADMIN_TOKEN, API_TOKEN};
use abctl::api::Api;
use abctl::simulate::answers::Answer;
use abctl::simulate::script::Habits;
use abctl::simulate::send::Progress;
use abctl::simulate::trial::Trial;
use abctl::simulate::world::World;
use abctl::simulate::{Outcome, Simulation, create_experiments};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use store::Books;

/// How long everything queued may take to be applied, whatever happened before.
pub(crate) const SETTLE: Duration = Duration::from_secs(120);

/// Between two looks at the books while waiting.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A varied run of `events` events, checked row by row.
pub fn varied(events: u64, seed: u64) -> Simulation {
    Simulation::varied(now_ms(), events, seed)
}

/// The mixed load that speeds are measured with, in large batches.
pub fn plain(events: u64, seed: u64) -> Simulation {
    let mut simulation = varied(events, seed);
    let plot = &mut simulation.plot;
    (plot.world, plot.habits, plot.keep_rows) = (Arc::new(World::plain("sim-")), Habits::plain(), false);
    simulation.manner.batch = 1_000;
    simulation.lanes = 8;
    simulation
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
    settle(SETTLE, async || system.books().await).await
}

/// The same, whoever reads them, or as they are after `limit`.
pub(crate) async fn settle(limit: Duration, books: impl AsyncFn() -> Result<Books>) -> Result<Books> {
    let deadline = Instant::now() + limit;
    loop {
        let books = books().await;
        let late = Instant::now() >= deadline;
        match books {
            Ok(books) if books.total.in_flight == 0 || late => return Ok(books),
            Err(error) if late => return Err(error),
            // Or a server stands still for a moment.
            _ => tokio::time::sleep(POLL_EVERY).await,
        }
    }
}

/// What is wrong with the state after a run; empty = nothing. Waits until everything is applied.
pub async fn faults(
    system: &dyn Deployment,
    simulation: &Simulation,
    outcome: &Outcome,
) -> Result<(Books, Vec<String>)> {
    let books = settled(system).await.context("read the books")?;
    let (_, found) = trial(system, simulation, outcome).faults(&books).await?;
    Ok((books, found))
}

pub fn trial<'a>(system: &'a dyn Deployment, simulation: &'a Simulation, outcome: &'a Outcome) -> Trial<'a> {
    Trial { simulation, outcome, store: system.store(), partitions: system.partitions() }
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
