//! The oracle of `make chaos`: producers who know what they sent and what they were told, a fleet in which everything
//! breaks that can, and a judge who compares.
//!
//! A [`schedule`] says what goes wrong when, from the seed alone; the [`fleet`]'s [`actor`]s carry it out while
//! [`careful`] and [`hasty`] producers send. When all is healed, a fresh event must come through in every partition,
//! then everything is ended in order, and the [`judge`] reads the database: what was acknowledged is there once, with
//! the content of the first, whatever is there was sent, and books and recomputation agree.

mod actor;
pub(crate) mod careful;
pub mod fleet;
mod fresh;
pub mod hasty;
pub mod judge;
pub mod ledger;
pub mod schedule;
mod trouble;

use crate::run::{self, SETTLE};
use crate::system::Setup;
use crate::{ADMIN_TOKEN, API_TOKEN};
use abctl::client::Client;
use abctl::simulate::create_experiments;
use abctl::simulate::lane::{Lane, Plot};
use abctl::simulate::oracle::Oracle;
use abctl::simulate::rng::Rng;
use abctl::simulate::send::Answers;
use anyhow::{Context, Result, anyhow, bail};
use careful::Careful;
use domain::ExperimentId;
use fleet::{Counts, Fleet};
use hasty::{Hasty, Sent};
use judge::{Judge, Verdict, experiment_id};
use ledger::Ledger;
use schedule::{PROGRAMS, Program, schedule};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Books;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Tenant `hasty`: everything.
pub(crate) const HASTY_TOKEN: &str = "e2e-hasty-token-0123456789";
const CAREFUL: u32 = 6;
const HASTY: u32 = 4;

/// What came of a run.
pub struct Report {
    pub seed: u64,
    pub counts: Counts,
    /// From the last acknowledgement to nothing in flight.
    pub settled: Duration,
    pub answers: Answers,
    pub hasty: Sent,
    pub books: Books,
    pub verdict: Verdict,
}

/// Everything the producers know.
struct Sending {
    answers: Answers,
    oracle: Oracle,
    ledger: Ledger,
    hasty: Sent,
}

enum Ended {
    Careful(Answers, Box<Oracle>),
    Hasty(Ledger, Sent),
}

/// An error: something never recovered, refused what it must take, or ended by itself.
pub async fn run(seed: u64, length: Duration) -> Result<Report> {
    let faults = schedule(seed, length);
    if faults.is_empty() {
        bail!("nothing goes wrong in {length:?}: it takes {:?} or more", schedule::WAVE + schedule::CALM);
    }
    let keys = format!("{HASTY_TOKEN}:{}:events,ingest,read,admin", hasty::TENANT);
    // An orderly end must come to an end while what it waits for is away.
    let environment = vec![("AB_API_KEYS", keys), ("AB_DRAIN_TIMEOUT", "5s".into())];
    // Few enough to be taken.
    let postgres = vec![("max_connections", "50")];
    let mut fleet = Fleet::start(Setup { environment, postgres, ..Setup::default() }).await?;
    let plot = run::varied(0, seed).plot;
    let analyzer = fleet.url(Program::Analyzer)?;
    create_experiments(&plot.world, &analyzer, Some(ADMIN_TOKEN)).await?;
    create_experiments(&Arc::new(hasty::world()), &analyzer, Some(HASTY_TOKEN)).await?;
    let store = fleet.store().await?;
    let walk = experiment_id(&*store, hasty::TENANT, hasty::EXPERIMENT).await?;
    drop(store);

    let begun = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = start(&fleet, &plot, walk, length, &stop)?;
    let counts = tokio::select! {
        counts = fleet.suffer(&faults) => counts?,
        ended = producers.join_next() => return Err(early(ended)),
    };
    sleep_until(begun + length).await;
    fleet.recovered().await?;
    stop.store(true, Ordering::Relaxed);
    let mut sent = finish(producers, &plot).await?;
    let partitions = fleet.setup.partitions;
    let (store, queue) = (fleet.store().await?, fleet.queue()?);
    let settle =
        async || run::settle(SETTLE, async || Ok(backends::books(&*store, &queue, partitions).await?)).await;
    let answered = Instant::now();
    settle().await?;
    let settled = answered.elapsed();
    let mut differences = fresh::flows(&fleet, walk, plot.start, &mut sent.ledger).await?;
    let books = settle().await?;
    for program in PROGRAMS {
        fleet.retire(program).await?;
    }
    differences.extend(fleet.panics());
    let judge = Judge { store: &*store, partitions, plot: &plot };
    let acknowledged = sent.answers.received + sent.hasty.events;
    let mut verdict = judge.verdict(&sent.oracle, sent.ledger, &books, acknowledged).await?;
    verdict.differences.extend(differences);
    Ok(Report { seed, counts, settled, answers: sent.answers, hasty: sent.hasty, books, verdict })
}

fn start(
    fleet: &Fleet,
    plot: &Plot,
    experiment: ExperimentId,
    length: Duration,
    stop: &Arc<AtomicBool>,
) -> Result<JoinSet<Result<Ended>>> {
    let clients = |token, timeout| gateways(fleet, token, timeout);
    let mut producers = JoinSet::new();
    for number in 0..CAREFUL {
        // More than can be sent.
        let lane = Lane::new(plot, number, careful::RATE * (length.as_secs() + 60));
        // Some hang up on a gateway that would have answered, others wait for the commit.
        let waits = number % 2 == 1;
        let (wait, timeout) = if waits { (Some(2), 8) } else { (None, 1) };
        let clients = clients(API_TOKEN, Duration::from_secs(timeout))?;
        let careful = Careful { lane, clients, rng: Rng::new(plot.seed, 100 + u64::from(number)), wait };
        let stop = stop.clone();
        producers.spawn(async move {
            careful.run(stop).await.map(|(answers, oracle)| Ended::Careful(answers, Box::new(oracle)))
        });
    }
    for number in 0..HASTY {
        let hasty = Hasty {
            number,
            clients: clients(HASTY_TOKEN, Duration::from_millis(700))?,
            rng: Rng::new(plot.seed, 200 + u64::from(number)),
            experiment,
            start: plot.start,
            ledger: Ledger::default(),
            sent: Sent::default(),
        };
        let stop = stop.clone();
        producers
            .spawn(async move { hasty.run(stop).await.map(|(ledger, sent)| Ended::Hasty(ledger, sent)) });
    }
    Ok(producers)
}

/// A client of each gateway.
fn gateways(fleet: &Fleet, token: &str, timeout: Duration) -> Result<Vec<Client>> {
    let gateways = PROGRAMS.iter().filter(|program| matches!(program, Program::Gateway(_)));
    gateways.map(|g| Ok(Client::new(&fleet.url(*g)?, Some(token))?.timeout(timeout))).collect()
}

fn early(ended: Option<Result<Result<Ended>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error.context("a producer gave up"),
        Some(Err(error)) => anyhow!(error).context("a producer failed"),
        Some(Ok(Ok(_))) | None => anyhow!("a producer ended before it was told to"),
    }
}

async fn finish(mut producers: JoinSet<Result<Ended>>, plot: &Plot) -> Result<Sending> {
    let mut sent = Sending {
        answers: Answers::default(),
        oracle: Oracle::new(&plot.world.experiments, true),
        ledger: Ledger::default(),
        hasty: Sent::default(),
    };
    while let Some(ended) = producers.join_next().await {
        match ended?.context("a producer gave up")? {
            Ended::Careful(answers, oracle) => {
                sent.answers.add(answers);
                sent.oracle.merge(*oracle);
            }
            Ended::Hasty(ledger, requests) => {
                sent.ledger.merge(ledger);
                sent.hasty.add(requests);
            }
        }
    }
    Ok(sent)
}

impl Report {
    pub fn is_good(&self) -> bool {
        let c = &self.verdict.comparison;
        self.verdict.differences.is_empty() && self.verdict.verified && c.lost == 0 && c.double == 0
    }
}

/// Counts of each fault, what was sent, and the line that scripts look for.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, counts, settled, answers, hasty, books, verdict } = self;
        write!(f, "faults:\n{counts}")?;
        let Answers { requests, retries, applied, .. } = answers;
        writeln!(
            f,
            "careful producers: {requests} requests, {retries} retries, {applied} events answered after commit"
        )?;
        writeln!(
            f,
            "hasty producers: {} requests acknowledged, {} unknown",
            hasty.acknowledged, hasty.unknown
        )?;
        writeln!(f, "nothing in flight {settled:.1?} after the last acknowledgement")?;
        writeln!(f, "{}", books.total)?;
        let c = &verdict.comparison;
        let verified = if verdict.verified { "equal" } else { "different" };
        write!(
            f,
            "chaos: seed={seed} faults={} acked={} applied={} lost={} double={} verify={verified}",
            counts.total(),
            c.acknowledged,
            c.applied,
            c.lost,
            c.double
        )
    }
}
