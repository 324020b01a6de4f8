//! The command line. Settings (`AB_*`) are flags of every command; exit 0 done, 1 failed, 2 bad usage.

use crate::accounting;
use crate::experiments::Experiments;
use crate::output::{self, Progress};
use crate::results::Results;
use crate::simulate::check::Checker;
use crate::simulate::lane::Plot;
use crate::simulate::script::Habits;
use crate::simulate::send::Manner;
use crate::simulate::world::World;
use crate::simulate::{Simulation, create_experiments};
use crate::verify;
use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use queue::redis::RedisQueue;
use service::settings::{self, Settings, SettingsError, Tier};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::{Books, Location, Store};

#[derive(Parser)]
#[command(name = "abctl", version, about = "Operate an abstream deployment")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Send synthetic users with a known effect to a gateway.
    Simulate(Simulate),
    /// Show in which column every accepted event ended; exit 1 if the books do not close or anything is lost.
    Accounting {
        /// Wait this long for everything in flight to be applied.
        #[arg(long, default_value = "0s", value_parser = duration)]
        wait: Duration,
    },
    /// Recompute every statistic of an experiment from the raw rows; exit 1 if any digit differs.
    Verify {
        /// Key or id.
        experiment: String,
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Create, list, show, start, stop and archive experiments.
    #[command(subcommand)]
    Experiments(Experiments),
    /// Show which variation of an experiment does what, and how sure that is.
    Results(Results),
}

#[derive(Args)]
struct Simulate {
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
}

#[derive(Clone, Copy, ValueEnum)]
enum Load {
    /// Everything that can happen: four experiments, duplicates, conflicts, keyless, early and late events.
    Varied,
    /// One experiment, 70% exposures of which 20% are repeats, 30% keyed conversions.
    Plain,
}

fn duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text).ok_or_else(|| "a duration such as 500ms, 60s, 5m".into())
}

pub fn main() -> ExitCode {
    // Settings come after the command's own options in the help.
    let flags = settings::flags(Tier::Tool).into_iter().map(|a| a.global(true).help_heading("Settings"));
    let matches = match Cli::command().args(flags).try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => return print_usage(&usage),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(usage) => return print_usage(&usage),
    };
    let env = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let settings = match Settings::from_matches(Tier::Tool, env, &matches) {
        Ok(settings) => settings,
        Err(SettingsError::Usage(usage)) => return print_usage(&usage),
        Err(error) => {
            output::error(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match run(&cli, &settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if output::is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&format!("{error:#}"));
            let usage = error.is::<settings::Refusal>();
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn print_usage(usage: &clap::Error) -> ExitCode {
    let code = u8::try_from(usage.exit_code()).unwrap_or(2);
    usage.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code))
}

/// Whether all is as it should be.
fn run(cli: &Cli, settings: &Settings) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &cli.command {
            Command::Simulate(options) => simulate(options, settings, cli.json).await,
            Command::Accounting { wait } => account(settings, *wait, cli.json).await,
            Command::Verify { experiment, tenant } => {
                let store = store(settings).await?;
                let report = verify::verify(&*store, settings.queue.partitions, tenant, experiment).await?;
                if cli.json {
                    output::json(&report)?
                } else {
                    output::verified(&report)?
                }
                Ok(report.differences.is_empty())
            }
            Command::Experiments(command) => command.run(settings, cli.json).await.map(|()| true),
            Command::Results(command) => command.run(settings, cli.json).await.map(|()| true),
        }
    })
}

async fn store(settings: &Settings) -> Result<Arc<dyn Store>> {
    let url = settings.database_url()?.expose().to_owned();
    let store = store::connect(&Location::Postgres { url, pool_size: settings.database.pool_size }).await?;
    store.check(settings.queue.partitions).await?;
    Ok(store)
}

async fn account(settings: &Settings, wait: Duration, json: bool) -> Result<bool> {
    let store = store(settings).await?;
    let books = books(&*store, settings, wait).await?;
    if json {
        output::json(&books)?
    } else {
        output::books(&books)?
    }
    Ok(books.are_good())
}

async fn books(store: &dyn Store, settings: &Settings, wait: Duration) -> Result<Books> {
    let partitions = settings.queue.partitions;
    let queue = RedisQueue::new(settings.redis_url()?.expose(), partitions, settings.queue.replicas)?;
    Ok(accounting::settled(store, &queue, partitions, wait).await?)
}

#[allow(clippy::disallowed_methods)] // the one place that reads the clock
fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?)
}

const DAY_MS: i64 = 86_400_000;

async fn simulate(options: &Simulate, settings: &Settings, json: bool) -> Result<bool> {
    let now = now_ms()?;
    let (world, habits) = match options.load {
        Load::Varied => (World::varied(&options.prefix), Habits::varied()),
        Load::Plain => (World::plain(&options.prefix), Habits::plain()),
    };
    let simulation = Simulation {
        plot: Plot {
            world: Arc::new(world),
            habits,
            seed: options.seed,
            // From midnight, so that the same run on the same day sends the same bytes.
            start: (now / DAY_MS - 8) * DAY_MS,
            now,
            prefix: options.prefix.clone(),
            tenant: "default".into(),
            keep_rows: false,
        },
        events: options.events,
        lanes: options.concurrency,
        manner: Manner {
            batch: options.batch,
            wait: options.wait,
            rate: options.rate.map(|all| all / f64::from(options.concurrency)),
            patience: options.patience,
            timeout: Duration::from_secs(u64::from(options.wait.unwrap_or(0)) + 30),
        },
    };
    let token = |first: &Option<settings::Secret>, second: &Option<settings::Secret>| {
        first.as_ref().or(second.as_ref()).map(|s| s.expose().to_owned())
    };
    let auth = &settings.auth;
    if let Some(url) = &options.results_url {
        let admin = token(&auth.admin_token, &auth.api_token);
        create_experiments(&simulation.plot.world, url, admin.as_deref()).await?;
    }
    let url = settings.client.url.as_deref().unwrap_or("http://127.0.0.1:8008");
    let progress = Arc::new(Progress::new(options.events));
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
    let differences = if options.check { check(&simulation, &outcome, settings).await? } else { Vec::new() };
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

async fn check(
    simulation: &Simulation,
    outcome: &crate::simulate::Outcome,
    settings: &Settings,
) -> Result<Vec<String>> {
    let store = store(settings).await.context("--check reads the database")?;
    let books = books(&*store, settings, Duration::from_secs(60)).await?;
    if books.total.in_flight != 0 {
        bail!("{} events are still in flight after 60 s", books.total.in_flight);
    }
    let checker = Checker {
        store: &*store,
        tenant: &simulation.plot.tenant,
        world: &simulation.plot.world,
        exact: outcome.answers.retries == 0,
    };
    Ok(checker.differences(&outcome.oracle, settings.queue.partitions).await?)
}
