//! Synthetic users with a known effect, sent through HTTP as SDKs would, and an [`oracle`] that says what must
//! come out.

pub mod answers;
pub mod calibration;
pub mod check;
mod command;
mod enrolled;
pub mod expect;
pub mod lane;
pub mod oracle;
pub mod rng;
pub mod script;
pub mod send;
pub mod trial;
pub mod world;

pub use command::{Simulate, now_ms};

use crate::client::{Client, HttpError};
use lane::{Lane, Plot};
use oracle::Oracle;
use script::Habits;
use send::{Answers, Manner, Progress, SendError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use world::World;

/// A whole run.
#[derive(Clone)]
pub struct Simulation {
    pub plot: Plot,
    /// Written; batches sent twice come on top.
    pub events: u64,
    /// Requests under way at the same time. The users differ with it.
    pub lanes: u32,
    pub manner: Manner,
}

pub struct Outcome {
    pub answers: Answers,
    pub oracle: Oracle,
    pub elapsed: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("experiment {key}: {step} answered {status}: {body}")]
    Experiment { key: String, step: &'static str, status: u16, body: String },
    #[error("a lane ended early")]
    Lane(#[from] tokio::task::JoinError),
}

const DAY_MS: i64 = 86_400_000;

impl Simulation {
    /// Everything that can happen, in tenant `default`, with every row known to the oracle. `now` in unix
    /// milliseconds; times begin at a midnight, so that the same run on the same day sends the same bytes.
    pub fn varied(now: i64, events: u64, seed: u64) -> Simulation {
        let plot = Plot {
            world: Arc::new(World::varied("sim-")),
            habits: Habits::varied(),
            seed,
            start: (now / DAY_MS - 8) * DAY_MS,
            now,
            prefix: "sim-".into(),
            tenant: "default".into(),
            keep_rows: true,
        };
        let (patience, timeout) = (Duration::from_secs(120), Duration::from_secs(30));
        let manner = Manner { batch: 500, wait: None, rate: None, patience, timeout };
        Simulation { plot, events, lanes: 4, manner }
    }

    /// Sends all events to the gateway at `url`.
    pub async fn run(
        &self,
        url: &str,
        token: Option<&str>,
        progress: &Progress,
    ) -> Result<Outcome, SimulateError> {
        let begun = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for number in 0..self.lanes {
            // The first lanes take what does not divide.
            let share = self.events / u64::from(self.lanes)
                + u64::from(u64::from(number) < self.events % u64::from(self.lanes));
            let mut lane = Lane::new(&self.plot, number, share);
            let mut client = Client::new(url, token)?.timeout(self.manner.timeout);
            let (manner, progress) = (self.manner.clone(), progress.clone());
            running.spawn(async move {
                let answers = send::send_all(&mut lane, &mut client, &manner, &progress).await?;
                Ok::<_, SendError>((answers, lane.finish()))
            });
        }
        let mut answers = Answers::default();
        let mut oracle = Oracle::new(&self.plot.world.experiments, self.plot.keep_rows);
        while let Some(lane) = running.join_next().await {
            let (sent, truth) = lane??;
            answers.add(sent);
            oracle.merge(truth);
        }
        Ok(Outcome { answers, oracle, elapsed: begun.elapsed() })
    }
}

/// Creates and starts the experiments of `world` through the analyzer at `url`; those that are there already
/// stay as they are.
pub async fn create_experiments(
    world: &Arc<World>,
    url: &str,
    token: Option<&str>,
) -> Result<(), SimulateError> {
    let mut client = Client::new(url, token)?;
    for experiment in &world.experiments {
        let refused = |step, answer: crate::client::Answer| SimulateError::Experiment {
            key: experiment.key.clone(),
            step,
            status: answer.status,
            body: answer.text(),
        };
        let body = experiment.definition().to_string();
        let created = client.post("/api/v1/experiments", &[], body).await?;
        if !matches!(created.status, 200 | 201) {
            return Err(refused("creating it", created));
        }
        let path = format!("/api/v1/experiments/{}/start", experiment.key);
        let started = client.post(&path, &[], "").await?;
        if !matches!(started.status, 200 | 204) {
            return Err(refused("starting it", started));
        }
    }
    Ok(())
}
