//! Load over a time instead of a number of events.
//!
//! With a rate the load is open: every request has a moment at which it is due, whatever became of those before it,
//! and its latency counts from then. A server that stalls is charged for everyone who had to wait, not only for the
//! request at hand.

use abctl::client::Client;
use abctl::simulate::Simulation;
use abctl::simulate::lane::Lane;
use abctl::simulate::oracle::Oracle;
use abctl::simulate::send::{Answers, Attempt, attempt};
use anyhow::{Result, bail};
use e2e::API_TOKEN;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Events under way at the same time, where applying is waited for.
const WINDOW: u64 = 1_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Pace {
    pub lasting: Duration,
    /// Events per second; `None` = as fast as answers come.
    pub rate: Option<f64>,
    /// `Prefer: wait`, in seconds.
    pub wait: Option<u32>,
    /// Events applied so far: not more than a window is sent ahead of them.
    pub applied: Option<Arc<AtomicU64>>,
}

pub struct Paced {
    pub answers: Answers,
    pub oracle: Oracle,
    /// From when a request was due to its answer.
    pub micros: Histogram<u64>,
    pub elapsed: Duration,
}

impl Paced {
    /// Of all requests, in milliseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn rate(&self) -> f64 {
        self.answers.received as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends what `simulation` says, but for as long as `pace` says. Every request must be acknowledged.
pub async fn run(simulation: &Simulation, url: &str, pace: &Pace) -> Result<Paced> {
    let sent = Arc::new(AtomicU64::new(0));
    let sender = |number| -> Result<Sender> {
        Ok(Sender {
            number,
            lanes: simulation.lanes,
            batch: simulation.manner.batch,
            lane: Lane::new(&simulation.plot, number, u64::MAX),
            client: Client::new(url, Some(API_TOKEN))?.timeout(TIMEOUT),
            pace: pace.clone(),
            sent: Arc::clone(&sent),
        })
    };
    // Before the clock starts: hundreds of them take longer to make than a hundred requests may.
    let senders = (0..simulation.lanes).map(sender).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let mut lanes = JoinSet::new();
    for sender in senders {
        lanes.spawn(sender.run(begun));
    }
    let plot = &simulation.plot;
    let mut all = Paced {
        answers: Answers::default(),
        oracle: Oracle::new(&plot.world.experiments, plot.keep_rows),
        micros: Histogram::new(3)?,
        elapsed: Duration::ZERO,
    };
    let mut ended = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        let (answers, lane, micros) = lane??;
        all.answers.add(answers);
        all.micros.add(micros)?;
        ended.push(lane);
    }
    all.elapsed = begun.elapsed();
    // Takes a while, and those who still wait for an answer would be charged for it.
    ended.into_iter().for_each(|lane| all.oracle.merge(lane.finish()));
    Ok(all)
}

struct Sender {
    number: u32,
    lanes: u32,
    batch: u32,
    lane: Lane,
    client: Client,
    pace: Pace,
    /// By all senders.
    sent: Arc<AtomicU64>,
}

impl Sender {
    async fn run(mut self, begun: Instant) -> Result<(Answers, Lane, Histogram<u64>)> {
        let (mut answers, mut micros) = (Answers::default(), Histogram::new(3)?);
        for request in 0_u32.. {
            if begun.elapsed() >= self.pace.lasting {
                break;
            }
            let Some(batch) = self.lane.next(self.batch) else { break };
            let due = self.due(begun, request).await;
            match attempt(&batch, &mut self.client, self.pace.wait).await? {
                Attempt::Acknowledged(answer) => answers.add(answer),
                Attempt::Unknown { last, .. } => bail!("a request was not acknowledged: {last}"),
            }
            micros.record(u64::try_from(due.elapsed().as_micros())?)?;
        }
        Ok((answers, self.lane, micros))
    }

    /// Waits until the request may be sent; the moment from which its latency counts.
    async fn due(&self, begun: Instant, request: u32) -> Instant {
        let before = self.sent.fetch_add(self.batch.into(), Ordering::Relaxed);
        if let Some(applied) = &self.pace.applied {
            while before > applied.load(Ordering::Relaxed) + WINDOW {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        let Some(rate) = self.pace.rate else { return Instant::now() };
        let requests = f64::from(request) * f64::from(self.lanes) + f64::from(self.number);
        let due = begun + Duration::from_secs_f64(requests * f64::from(self.batch) / rate);
        tokio::time::sleep_until(due).await;
        due
    }
}
