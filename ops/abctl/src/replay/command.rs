//! `abctl replay`.

use super::checkpoint::Checkpoint;
use super::direct::Direct;
use super::input::{Format, Input};
use super::lane::{Lane, LaneError, Manner, Pace};
use super::ledger::{Ledger, Totals};
use super::reader::{Reader, Rules};
use super::row::Names;
use super::target::Target;
use crate::api::DEFAULT_URL;
use crate::cli::duration;
use crate::client::Client;
use crate::output::{self, Progress};
use crate::table::{Align, Cell, Table};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use domain::{Day, Timestamp};
use serde::Serialize;
use service::settings::{Refusal, Secret, Settings};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// A crash loses the knowledge of this much work, which is then sent again and counts once.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// A gateway answers within 30 s what was asked to wait so long.
const REQUEST: Duration = Duration::from_secs(60);

/// Send the events of files to a gateway: each counts once, however often this is run.
///
/// Conversions without an idempotency_key get one of the file's digest and their line, so the same file again records
/// nothing. A run that was stopped, or killed, goes on where it was when it is started again. Rows that are refused
/// go to a file of rejects, each with its line and the reason, and the command ends with 1.
#[derive(Args)]
pub struct Replay {
    /// NDJSON or CSV, plain, .gz or .zst; patterns such as 'day-*.csv.gz'; - for standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// What the rows are.
    #[arg(long, value_enum, default_value_t = Kind::Events)]
    kind: Kind,
    /// Key or number of the experiment that all rows belong to; every kind but events and conversions needs it.
    #[arg(long)]
    experiment: Option<String>,
    /// Of files whose names do not tell, and of standard input.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What standard input is called: begins its keys, so another name makes other events of the same rows.
    #[arg(long, value_parser = source)]
    source: Option<String>,
    /// Write to the queue (AB_REDIS_URL) without a gateway in between, by a gateway of this command's own.
    #[arg(long)]
    direct: bool,
    /// Which column (or member of an object) is which field, such as user_id=uid,occurred_at=ts.
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',')]
    map: Vec<String>,
    /// CSV: every column that is no field is a metric, and a cell its value.
    #[arg(long)]
    wide: bool,
    /// CSV: columns to leave out.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Send the exposures first, in the order of their times: for files that are not in it. The first one sticks.
    #[arg(long)]
    sort_exposures: bool,
    /// Leave out what occurred before: a date (UTC) or an instant.
    #[arg(long, value_parser = instant)]
    since: Option<Timestamp>,
    /// Leave out what occurred at or after this: a date (UTC) or an instant.
    #[arg(long, value_parser = instant)]
    until: Option<Timestamp>,
    /// Requests under way at the same time. Rows of one user stay in order.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Rows of a request.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Rows per second, at most.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How long a batch is tried again before giving up.
    #[arg(long, default_value = "10m", value_parser = duration)]
    patience: Duration,
    /// Read everything and say what is wrong with it, without sending anything.
    #[arg(long)]
    dry_run: bool,
    /// Where to keep how far it came; beside the first file unless given.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Where to put the rows that were refused (NDJSON); beside the first file unless given.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

/// The routes that rows can go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Exposures and conversions, each row with its `type`.
    Events,
    Exposures,
    Conversions,
    PrePeriod,
    Strata,
    Exclusions,
    Holdout,
    /// What `abctl export --kind units` wrote: each user's exposures and everything told of them.
    Units,
}

/// How it ended.
#[derive(Serialize)]
struct Summary {
    lines: u64,
    /// Settled by earlier runs.
    resumed_lines: u64,
    #[serde(flatten)]
    totals: Totals,
    seconds: f64,
    rejects: Option<PathBuf>,
}

fn source(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("1 to 64 letters, digits, dots, dashes and underscores".into())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let day = || Some(Day::parse(text)?.start());
    Timestamp::parse(text)
        .or_else(day)
        .ok_or_else(|| "a date such as 2026-11-21 or an instant of RFC 3339".into())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "a number above 0".into())
}

impl Kind {
    fn target(self, experiment: Option<&str>) -> Result<Target, Refusal> {
        match (self, experiment) {
            (Kind::Events | Kind::Units, Some(_)) => {
                let reason = "rows of this kind name their experiments themselves";
                Err(Refusal::new("--experiment", reason))
            }
            (Kind::Events | Kind::Units | Kind::Conversions, None) => Ok(Target::of_tenant(self)),
            (_, None) => Err(Refusal::new("--experiment", "this kind needs it")),
            (_, Some(experiment)) => Ok(Target::of(self, experiment)),
        }
    }
}

impl Replay {
    /// Whether every row was accepted.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let target = Arc::new(self.kind.target(self.experiment.as_deref())?);
        if self.kind == Kind::Units && (self.sort_exposures || self.wide) {
            let option = if self.wide { "--wide" } else { "--sort-exposures" };
            return Err(Refusal::new(option, "rows of units have a form and an order of their own").into());
        }
        let names = Names::parse(&self.map).map_err(|reason| Refusal::new("--map", reason))?;
        let direct = if self.direct && !self.dry_run { Some(Direct::start(settings).await?) } else { None };
        let clients = match &direct {
            Some(direct) => self.clients(&direct.url, Some(&direct.token))?,
            None => {
                let auth = &settings.auth;
                let token = auth.api_token.as_ref().or(auth.admin_token.as_ref()).map(Secret::expose);
                self.clients(settings.client.url.as_deref().unwrap_or(DEFAULT_URL), token)?
            }
        };
        let (files, format, source) = (self.files.clone(), self.format, self.source.clone());
        let inputs = tokio::task::spawn_blocking(move || Input::all(&files, format, source.as_deref()));
        let inputs = Arc::new(inputs.await??);
        if self.sort_exposures && inputs.iter().any(|input| input.path.is_none()) {
            return Err(Refusal::new("--sort-exposures", "standard input can be read only once").into());
        }
        let mut checkpoint = self.checkpoint(&inputs, &target.path, settings)?;
        let ledger = Arc::new(Ledger::of(checkpoint.settled(), checkpoint.totals()));
        let total = inputs.iter().map(|input| input.lines).sum::<Option<u64>>();
        let progress = Arc::new(total.map_or_else(|| Progress::counting("rows"), Progress::new));
        progress.add(checkpoint.settled());

        let begun = Instant::now();
        let manner = Arc::new(Manner {
            patience: self.patience,
            pace: self.rate.map(|rate| Pace { rate, next: Mutex::new(begun) }),
            inputs: Arc::clone(&inputs),
            ledger: Arc::clone(&ledger),
            progress: {
                let progress = Arc::clone(&progress);
                Box::new(move |rows| progress.add(rows))
            },
        });
        let (mut senders, mut lanes) = (Vec::new(), JoinSet::new());
        for clients in clients {
            let (sender, batches) = mpsc::channel(1);
            senders.push(sender);
            let lane = Lane { clients, used: 0, manner: Arc::clone(&manner) };
            match self.dry_run {
                true => lanes.spawn(lane.judge(batches)),
                false => lanes.spawn(lane.run(batches)),
            };
        }
        let settled = checkpoint.settled();
        let rules = self.rules(target, names);
        let reader = Reader { inputs, rules, ledger: Arc::clone(&ledger), settled, lanes: senders };
        // A thread of its own: one that waits for standard input must not hold the end of the program.
        let (ended, reading) = oneshot::channel();
        std::thread::Builder::new().name("reader".into()).spawn(move || ended.send(reader.run()))?;
        let sent = self.until_sent(&mut lanes, &mut checkpoint, &ledger, &progress).await;
        progress.finish();
        // What is settled stays so, whatever went wrong.
        checkpoint.save(&ledger)?;
        let again = |settled: u64| {
            move || format!("{settled} lines are settled; run the same command again to go on")
        };
        sent.with_context(again(checkpoint.settled()))?;
        let lines = reading.await?.with_context(again(checkpoint.settled()))?;
        if let Some(direct) = direct {
            direct.end().await?;
        }
        let totals = checkpoint.totals();
        let rejects = checkpoint.finish()?;
        let seconds = begun.elapsed().as_secs_f64();
        let summary = Summary { lines, resumed_lines: settled, totals, seconds, rejects };
        if json {
            output::json(&summary)?
        } else {
            output::text(&summary.text())?
        }
        Ok(totals.rejected == 0)
    }

    /// Until every lane has sent what it was given; meanwhile what is settled is saved.
    async fn until_sent(
        &self,
        lanes: &mut JoinSet<Result<(), LaneError>>,
        checkpoint: &mut Checkpoint,
        ledger: &Ledger,
        progress: &Progress,
    ) -> Result<()> {
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = lanes.join_next() => match ended {
                    Some(ended) => ended??,
                    None => return Ok(()),
                },
                _ = save.tick() => {
                    checkpoint.save(ledger)?;
                    progress.tell(&checkpoint.totals().told());
                }
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    bail!("interrupted");
                }
            }
        }
    }

    /// Clients of every lane, which begin with different gateways.
    fn clients(&self, urls: &str, token: Option<&str>) -> Result<Vec<Vec<Client>>, Refusal> {
        let lane = |first: usize| {
            let mut clients = Vec::new();
            for url in urls.split(',') {
                let client =
                    Client::new(url.trim(), token).map_err(|e| Refusal::new("AB_URL", e.to_string()))?;
                clients.push(client.timeout(REQUEST));
            }
            let first = first % clients.len();
            clients.rotate_left(first);
            Ok(clients)
        };
        (0..self.concurrency as usize).map(lane).collect()
    }

    fn rules(&self, target: Arc<Target>, names: Names) -> Rules {
        Rules {
            kind: self.kind,
            target,
            names,
            wide: self.wide,
            ignored: self.ignore.clone(),
            since: self.since,
            until: self.until,
            batch: self.batch as usize,
            sort_exposures: self.sort_exposures,
        }
    }

    fn checkpoint(&self, inputs: &[Input], path: &str, settings: &Settings) -> Result<Checkpoint> {
        let beside = |ending: &str| {
            let first = inputs.first().and_then(|input| input.path.clone());
            let mut name = first.unwrap_or_else(|| "replay".into()).into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let given = |path: &Option<PathBuf>, ending| path.clone().unwrap_or_else(|| beside(ending));
        let mut run: Vec<String> = inputs.iter().map(|input| input.identity.clone()).collect();
        run.push(if self.direct { "direct".into() } else { settings.client.url.clone().unwrap_or_default() });
        run.push(path.to_owned());
        run.extend(self.map.iter().chain(&self.ignore).cloned());
        run.push(format!("{} {:?} {:?} {:?}", self.wide, self.format, self.since, self.until));
        run.push(self.sort_exposures.to_string());
        let mut place = given(&self.checkpoint, ".checkpoint");
        if self.dry_run {
            place.add_extension("dry-run");
        }
        Checkpoint::open(place, given(&self.rejects, ".rejects.ndjson"), run)
    }
}

impl Summary {
    fn text(&self) -> String {
        let Summary { lines, resumed_lines, totals, seconds, rejects } = self;
        let Totals { received, recorded, deduplicated, dead_lettered, queued, rejected, skipped } = totals;
        let mut table = Table::new([("", Align::Left), ("rows", Align::Right)]);
        for (what, n) in [
            ("received", received),
            ("  recorded", recorded),
            ("  deduplicated", deduplicated),
            ("  dead-lettered", dead_lettered),
            ("  queued, not yet committed", queued),
            ("rejected", rejected),
            ("left out by --since and --until", skipped),
        ] {
            table.row([Cell::from(what), Cell::from(n.to_string())]);
        }
        let resumed = match resumed_lines {
            0 => String::new(),
            n => format!(" ({n} of them settled by an earlier run)"),
        };
        let rejects = match rejects {
            Some(path) => format!("rejected rows and why: {}\n", path.display()),
            None => String::new(),
        };
        format!("{}{lines} lines{resumed} in {seconds:.1} s\n{rejects}replay: {totals}\n", table.render(0))
    }
}
