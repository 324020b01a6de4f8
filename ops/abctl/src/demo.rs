//! `abctl demo`: `abctl up` in this process on a directory of its own, synthetic users with a known effect sent to it
//! over HTTP, its answers, and afterwards everything in its database held against the oracle.

use crate::api::Api;
use crate::output::{self, Progress};
use crate::simulate::answers::Answer;
use crate::simulate::trial::Trial;
use crate::simulate::{Outcome, Simulation, create_experiments, now_ms};
use crate::up;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use service::boot::{self, Boot};
use service::settings::{Settings, Tier};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use store::Books;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Send simulated users of a known effect through everything in one process, and show what comes out.
///
/// On a temporary directory and free ports; exit 1 if anything is not exactly as it must be.
#[derive(Args)]
pub struct Demo {
    /// Events to send; some batches are sent twice on top.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Differences shown to people; `--json` has all.
const SHOWN: usize = 20;

/// What was sent to it and what it answered.
struct Played {
    simulation: Simulation,
    outcome: Outcome,
    answers: Vec<Answer>,
}

impl Demo {
    pub fn main(&self, json: bool) -> ExitCode {
        let scratch = Scratch::new();
        let mut ended = Ok(false);
        // The caller's own settings are of other deployments.
        let settings = settings(scratch.path());
        let code = boot::run_loaded(Tier::OneProcess, settings, backends::examine, async |boot| {
            ended = self.run(boot, json).await;
            Ok(())
        });
        drop(scratch);
        match ended {
            _ if code != ExitCode::SUCCESS => code,
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                output::error(&format!("demo: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }

    /// Whether everything is as it must be.
    async fn run(&self, boot: Boot, json: bool) -> Result<bool> {
        let begun = Instant::now();
        let settings = Arc::clone(&boot.settings);
        let played = self.play(boot, json).await?;
        if !json {
            played.show()?;
        }
        let (store, partitions) = backends::connect_store(&settings).await?;
        // The queue went with its process: what it acknowledged is in the database or lost.
        let books = Books::balance(&store.accounting().await?, &[], partitions);
        let Played { simulation, outcome, answers } = &played;
        let trial = Trial { simulation, outcome, store: &*store, partitions };
        let (reports, mut differences) = trial.faults(&books).await?;
        differences.extend(answers.iter().flat_map(|answer| answer.differences.clone()));
        let seconds = begun.elapsed().as_secs_f64();
        if json {
            output::json(&serde_json::json!({
                "sent": outcome.answers, "verify": reports, "accounting": books.total,
                "differences": differences, "seconds": seconds,
            }))?;
            return Ok(differences.is_empty());
        }
        for difference in differences.iter().take(SHOWN) {
            output::error(&format!("demo: different: {difference}"));
        }
        let all = differences.len();
        let verdict = match all {
            0 => "all of it is exactly what the simulation must come to".into(),
            _ => format!("{all} things are NOT what the simulation must come to"),
        };
        for report in &reports {
            output::verified(report)?;
        }
        output::lines(&[format!("demo: {seconds:.1} s in all; {verdict}"), books.total.to_string()])?;
        Ok(all == 0)
    }

    /// Serves until everything is sent and asked for, and ends in an orderly way.
    async fn play(&self, boot: Boot, json: bool) -> Result<Played> {
        let shutdown = boot.shutdown.clone();
        let (ready, served) = oneshot::channel();
        let serving = up::serve(boot, |up| {
            // Whoever wants to know is gone only when all is over.
            let key = up.made.as_ref().map(|keys| keys.all.clone());
            let _ = ready.send((up.url.clone(), up.database.clone(), key));
        });
        let mut serving = tokio::spawn(serving);
        let playing = async {
            let (url, database, key) = served.await?;
            if !json {
                let line = format!("abstream runs in this process: {url}, {database} (removed at the end)");
                output::lines(&[line])?;
            }
            let key = key.context("a new directory has new keys")?;
            self.send(&url, &key).await
        };
        let played = tokio::select! {
            played = playing => played,
            ended = &mut serving => {
                ended??;
                bail!("interrupted")
            }
            () = shutdown.begun() => Err(anyhow!("interrupted")),
        };
        shutdown.begin();
        serving.await??;
        played
    }

    async fn send(&self, url: &str, key: &str) -> Result<Played> {
        let simulation = Simulation::varied(now_ms()?, self.events, self.seed);
        let world = Arc::clone(&simulation.plot.world);
        create_experiments(&world, url, Some(key)).await?;
        let progress = Arc::new(Progress::new(self.events));
        let heard = Arc::clone(&progress);
        let outcome = simulation.run(url, Some(key), &(Arc::new(move |n| heard.add(n)) as _)).await?;
        progress.finish();
        let mut api = Api::at(url, Some(("the demo's key", key)))?;
        let answers = world.answers(&mut api, &outcome.oracle).await?;
        Ok(Played { simulation, outcome, answers })
    }
}

impl Played {
    fn show(&self) -> std::io::Result<()> {
        let (sent, seconds) = (self.outcome.answers.received, self.outcome.elapsed.as_secs_f64());
        #[allow(clippy::cast_precision_loss)] // for people
        let rate = sent as f64 / seconds.max(1e-9);
        let pages = self.simulation.plot.world.pages(&self.answers);
        output::text(&format!(
            "{sent} events in {seconds:.1} s ({rate:.0}/s), each answered after its commit; the effects they were \
             simulated with are in the column `true`\n\n{pages}\n"
        ))
    }
}

fn settings(data: &Path) -> Result<Settings, service::settings::SettingsError> {
    let own = [
        ("AB_DATA", data.display().to_string()),
        ("AB_PORT", "0".into()),
        ("AB_INTERNAL_ADDR", "127.0.0.1:0".into()),
        ("AB_LOG_LEVEL", "warn".into()),
    ];
    let own = own.map(|(name, text)| (name.to_owned(), text));
    Settings::load(Tier::OneProcess, own, [OsString::from("abctl")])
}

/// A directory name of our own, and the end of whatever is made there.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("abstream-demo-{}", Uuid::new_v4().simple())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
