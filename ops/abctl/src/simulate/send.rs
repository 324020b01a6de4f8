//! Sends a lane's batches as a careful SDK does: a batch is tried again with the same `Idempotency-Key` until it
//! is acknowledged, and only then the next one goes out.

use super::lane::{Batch, Lane};
use crate::client::{Answer, Client, HttpError};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// How batches are sent.
#[derive(Debug, Clone)]
pub struct Manner {
    pub batch: u32,
    /// `Prefer: wait=N`.
    pub wait: Option<u32>,
    /// Events per second of one lane, at most.
    pub rate: Option<f64>,
    /// A batch that is not acknowledged after this long ends the run.
    pub patience: Duration,
    /// Of one request.
    pub timeout: Duration,
}

/// What the gateway said, summed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Answers {
    /// Events acknowledged.
    pub received: u64,
    pub requests: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Events answered after their commit (200), and what became of them.
    pub applied: u64,
    pub recorded: u64,
    pub deduplicated: u64,
    pub conflicts: u64,
    pub dead_lettered: u64,
}

impl Answers {
    pub fn add(&mut self, more: Answers) {
        self.received += more.received;
        self.requests += more.requests;
        self.retries += more.retries;
        self.applied += more.applied;
        self.recorded += more.recorded;
        self.deduplicated += more.deduplicated;
        self.conflicts += more.conflicts;
        self.dead_lettered += more.dead_lettered;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("batch {key} refused with {status}: {body}")]
    Refused { key: String, status: u16, body: String },
    #[error("batch {key}: the answer does not fit what was sent: {body}")]
    Answer { key: String, body: String },
    #[error("batch {key} was not acknowledged within {patience:?}; last: {last}")]
    Patience { key: String, patience: Duration, last: String },
}

/// Both kinds of answer: 202 has neither outcome.
#[derive(Deserialize)]
struct Acknowledged {
    received: u64,
    #[serde(default)]
    rejected: u64,
    keyless: Option<u64>,
    recorded: Option<u64>,
    #[serde(default)]
    deduplicated: u64,
    #[serde(default)]
    conflicts: u64,
    #[serde(default)]
    dead_lettered: u64,
}

/// Hears of events acknowledged.
pub type Progress = std::sync::Arc<dyn Fn(u64) + Send + Sync>;

/// Sends everything the lane has.
pub async fn send_all(
    lane: &mut Lane,
    client: &mut Client,
    manner: &Manner,
    progress: &Progress,
) -> Result<Answers, SendError> {
    let mut answers = Answers::default();
    let begun = Instant::now();
    while let Some(batch) = lane.next(manner.batch) {
        if let Some(rate) = manner.rate {
            #[allow(clippy::cast_precision_loss)] // for pacing
            let due = Duration::from_secs_f64(answers.received as f64 / rate.max(1e-3));
            tokio::time::sleep_until(begun + due).await;
        }
        answers.add(send(&batch, client, manner).await?);
        progress(batch.events.into());
        if batch.resend {
            answers.add(send(&batch, client, manner).await?);
            lane.resent(&batch);
        }
    }
    Ok(answers)
}

async fn send(batch: &Batch, client: &mut Client, manner: &Manner) -> Result<Answers, SendError> {
    let deadline = Instant::now() + manner.patience;
    let mut pause = Duration::from_millis(20);
    let mut retries = 0;
    loop {
        let (last, asked) = match attempt(batch, client, manner.wait).await? {
            Attempt::Acknowledged(answers) => return Ok(Answers { retries, ..answers }),
            Attempt::Unknown { last, asked, .. } => (last, asked),
        };
        if Instant::now() >= deadline {
            return Err(SendError::Patience { key: batch.key.clone(), patience: manner.patience, last });
        }
        // A second of `Retry-After` is meant for crowds; one client may come sooner, but never at once.
        tokio::time::sleep(asked.unwrap_or(pause).min(pause)).await;
        pause = (pause * 2).min(Duration::from_secs(1));
        retries += 1;
    }
}

/// What came of one attempt.
pub enum Attempt {
    Acknowledged(Answers),
    /// Accepted, in part or not at all: to be tried again, after so long if the gateway said so.
    Unknown {
        /// None: no answer came.
        status: Option<u16>,
        last: String,
        asked: Option<Duration>,
    },
}

/// Sends a batch once. An error: it must not be sent again as it is.
pub async fn attempt(batch: &Batch, client: &mut Client, wait: Option<u32>) -> Result<Attempt, SendError> {
    let prefer = wait.map(|seconds| format!("wait={seconds}"));
    let mut headers = vec![("idempotency-key", batch.key.as_str())];
    headers.extend(prefer.as_deref().map(|p| ("prefer", p)));
    match client.post(&batch.path, &headers, batch.body.clone()).await {
        Ok(answer) if matches!(answer.status, 200 | 202) => {
            acknowledged(batch, &answer).map(Attempt::Acknowledged)
        }
        Ok(answer) if matches!(answer.status, 408 | 429 | 502 | 503 | 504) => {
            let last = format!("{} {}", answer.status, answer.text());
            Ok(Attempt::Unknown { status: Some(answer.status), last, asked: answer.retry_after })
        }
        Ok(answer) => {
            let key = batch.key.clone();
            Err(SendError::Refused { key, status: answer.status, body: answer.text() })
        }
        Err(error @ (HttpError::Base(_) | HttpError::Request(_))) => Err(error.into()),
        Err(error) => Ok(Attempt::Unknown { status: None, last: error.to_string(), asked: None }),
    }
}

fn acknowledged(batch: &Batch, answer: &Answer) -> Result<Answers, SendError> {
    let misfit = || SendError::Answer { key: batch.key.clone(), body: answer.text() };
    let a: Acknowledged = answer.json().map_err(|_| misfit())?;
    let keyless_fits = a.keyless.is_none_or(|n| n == u64::from(batch.keyless));
    let closes = match a.recorded {
        Some(recorded) => a.received == recorded + a.deduplicated + a.dead_lettered,
        None => answer.status == 202,
    };
    if a.received != u64::from(batch.events) || a.rejected != 0 || !keyless_fits || !closes {
        return Err(misfit());
    }
    Ok(Answers {
        received: a.received,
        requests: 1,
        retries: 0,
        applied: if a.recorded.is_some() { a.received } else { 0 },
        recorded: a.recorded.unwrap_or(0),
        deduplicated: a.deduplicated,
        conflicts: a.conflicts,
        dead_lettered: a.dead_lettered,
    })
}
