//! `abctl simulate`.

use super::calibration::calibrate;
use super::check::Checker;
use super::lane::Plot;
use super::script::Habits;
use super::send::Manner;
use super::world::World;
use super::{DAY_MS, Outcome, Simulation, create_experiments};
use crate::accounting;
use crate::api::DEFAULT_URL;
use crate::cli::duration;
use crate::output::{self, Progress};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use service::settings::{self, Settings};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Send synthetic users with a known effect to a gateway.
#[derive(Args)]
pub struct Simulate {
    /// Events to send; some batches are sent twice on top.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests under way at the same time. Users differ with it.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,
    /// Events of a request.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    #[arg(long, value_enum, default_value_t = Load::Varied)]
    load: Load,
    /// Begins keys of experiments, users and requests.
    #[arg(long, default_value = "sim-")]
    prefix: String,
    /// The analyzer: experiments are created and started there first, with the admin token.
    #[arg(long)]
    results_url: Option<String>,
    /// Ask for the outcome of every batch, waiting this many seconds (`Prefer: wait`).
    #[arg(long)]
    wait: Option<u32>,
    /// Events per second, at most.
    #[arg(long)]
    rate: Option<f64>,
    /// How long a batch is retried before giving up.
    #[arg(long, default_value = "120s", value_parser = duration)]
    patience: Duration,
    /// Compare the database with what must be recorded, once everything is applied.
    #[arg(long)]
    check: bool,
    /// Send nothing: simulate experiments in this process and count how often each method finds an effect where there
    /// is none, and holds one that is there. Exit 1 if a method breaks its promise.
    #[arg(long)]
    aa: bool,
    /// Experiments of --aa, of either kind.
    #[arg(long, default_value_t = 1_000, requires = "aa", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Load {
    /// Everything that can happen: four experiments, duplicates, conflicts, keyless, early and late events.
    Varied,
    /// One experiment, 70% exposures of which 20% are repeats, 30% keyed conversions.
    Plain,
}

impl Simulate {
    /// Whether everything is as the oracle says.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        if self.aa {
            let progress = Progress::of(2 * u64::from(self.runs), "experiments");
            let calibration = calibrate(self.runs, self.seed, || progress.add(1))?;
            progress.finish();
            calibration.print(json)?;
            return Ok(calibration.holds());
        }
        let simulation = self.simulation()?;
        let token = |first: &Option<settings::Secret>, second: &Option<settings::Secret>| {
            first.as_ref().or(second.as_ref()).map(|s| s.expose().to_owned())
        };
        let auth = &settings.auth;
        if let Some(url) = &self.results_url {
            let admin = token(&auth.admin_token, &auth.api_token);
            create_experiments(&simulation.plot.world, url, admin.as_deref()).await?;
        }
        let url = settings.client.url.as_deref().unwrap_or(DEFAULT_URL);
        let progress = Arc::new(Progress::new(self.events));
        let heard = Arc::clone(&progress);
        let outcome = simulation
            .run(
                url,
                token(&auth.api_token, &auth.admin_token).as_deref(),
                &(Arc::new(move |n| heard.add(n)) as _),
            )
            .await?;
        progress.finish();
        let seconds = outcome.elapsed.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // for people
        let rate = outcome.answers.received as f64 / seconds.max(1e-9);
        let differences = if self.check { check(&simulation, &outcome, settings).await? } else { Vec::new() };
        let expected = outcome.oracle.total();
        if json {
            output::json(&serde_json::json!({
                "answers": outcome.answers,
                "expected": {"recorded": expected.recorded(), "deduplicated": expected.deduplicated,
                    "conflicts": expected.conflicts, "keyless": expected.keyless},
                "seconds": seconds,
                "differences": differences,
            }))?;
        } else {
            output::lines(&differences)?;
            output::lines(&[format!(
                "simulate: received={} retries={} seconds={seconds:.2} events_per_second={rate:.0}; must become \
                 recorded={} deduplicated={}",
                outcome.answers.received,
                outcome.answers.retries,
                expected.recorded(),
                expected.deduplicated
            )])?;
        }
        Ok(differences.is_empty())
    }

    fn simulation(&self) -> Result<Simulation> {
        let now = now_ms()?;
        let (world, habits) = match self.load {
            Load::Varied => (World::varied(&self.prefix), Habits::varied()),
            Load::Plain => (World::plain(&self.prefix), Habits::plain()),
        };
        Ok(Simulation {
            plot: Plot {
                world: Arc::new(world),
                habits,
                seed: self.seed,
                // From midnight, so that the same run on the same day sends the same bytes.
                start: (now / DAY_MS - 8) * DAY_MS,
                now,
                prefix: self.prefix.clone(),
                tenant: "default".into(),
                keep_rows: false,
            },
            events: self.events,
            lanes: self.concurrency,
            manner: Manner {
                batch: self.batch,
                wait: self.wait,
                rate: self.rate.map(|all| all / f64::from(self.concurrency)),
                patience: self.patience,
                timeout: Duration::from_secs(u64::from(self.wait.unwrap_or(0)) + 30),
            },
        })
    }
}

async fn check(simulation: &Simulation, outcome: &Outcome, settings: &Settings) -> Result<Vec<String>> {
    let (store, partitions) =
        backends::connect_store(settings).await.context("--check reads the database")?;
    let queue = backends::open_queue(settings, partitions)?;
    let books = accounting::settled(&*store, &*queue, partitions, Duration::from_secs(60)).await?;
    if books.total.in_flight != 0 {
        bail!("{} events are still in flight after 60 s", books.total.in_flight);
    }
    let checker = Checker {
        store: &*store,
        tenant: &simulation.plot.tenant,
        world: &simulation.plot.world,
        exact: outcome.answers.retries == 0,
    };
    Ok(checker.differences(&outcome.oracle, partitions).await?)
}

/// Unix milliseconds.
#[allow(clippy::disallowed_methods)] // the one place that reads the clock
pub fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}
