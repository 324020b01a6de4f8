//! Producers that try every batch again until it is acknowledged, at whichever gateway, under one `Idempotency-Key`:
//! everything they sent must be there, and nothing else.

use abctl::client::Client;
use abctl::simulate::lane::Lane;
use abctl::simulate::oracle::Oracle;
use abctl::simulate::rng::Rng;
use abctl::simulate::send::{Answers, Attempt, attempt};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Events of one request.
const BATCH: u32 = 30;
/// Events per second of one producer.
pub const RATE: u64 = 300;
/// Of one batch. Everything is well again long before.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

pub struct Careful {
    pub lane: Lane,
    /// One for each gateway.
    pub clients: Vec<Client>,
    /// Chooses the gateway of each attempt.
    pub rng: Rng,
    /// `Prefer: wait`, in seconds.
    pub wait: Option<u32>,
}

impl Careful {
    /// Sends until told to stop; what was begun is brought to its end.
    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Result<(Answers, Oracle)> {
        let mut answers = Answers::default();
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            sleep_until(begun + Duration::from_millis(answers.received * 1000 / RATE)).await;
            let Some(batch) = self.lane.next(BATCH) else { break };
            answers.add(self.send(&batch).await?);
            if batch.resend {
                answers.add(self.send(&batch).await?);
                self.lane.resent(&batch);
            }
        }
        Ok((answers, self.lane.finish()))
    }

    async fn send(&mut self, batch: &abctl::simulate::lane::Batch) -> Result<Answers> {
        let deadline = Instant::now() + PATIENCE;
        let (mut pause, mut retries) = (PAUSE, 0);
        loop {
            let chosen = usize::try_from(self.rng.below(self.clients.len() as u64))?;
            match attempt(batch, &mut self.clients[chosen], self.wait).await? {
                Attempt::Acknowledged(answers) => return Ok(Answers { retries, ..answers }),
                Attempt::Unknown { last, .. } if Instant::now() >= deadline => {
                    bail!("batch {} is not acknowledged after {PATIENCE:?}; last: {last}", batch.key);
                }
                Attempt::Unknown { .. } => {}
            }
            retries += 1;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
