//! A lane: the batches of its users, one after another, each until it is acknowledged.

use super::judge;
use super::ledger::{Ledger, Rejected, Ticket, Totals};
use super::reader::{Batch, Entry};
use super::row::{Reason, Reject};
use super::target::{Target, by_target};
use crate::client::{Answer, Client, HttpError};
use queue::Backoff;
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What the first retry waits, at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What all lanes share.
pub struct Manner {
    /// Of a whole batch, all its retries included.
    pub patience: Duration,
    pub pace: Option<Pace>,
    pub inputs: Arc<Vec<super::input::Input>>,
    pub ledger: Arc<Ledger>,
    /// Hears of lines acknowledged or refused.
    pub progress: Box<dyn Fn(u64) + Send + Sync>,
}

pub struct Lane {
    /// One of them is used until it fails, then the next.
    pub clients: Vec<Client>,
    pub used: usize,
    pub manner: Arc<Manner>,
}

/// Rows per second, of all lanes together.
pub struct Pace {
    pub rate: f64,
    pub next: Mutex<Instant>,
}

#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}")]
    Refused(String),
    #[error("no gateway took a batch within {patience:?}; last: {last}")]
    Patience { patience: Duration, last: String },
    #[error("{0} answers what abctl does not understand: is it a gateway of the same version?")]
    Foreign(String),
}

/// Of an acknowledged request, or of one whose items were all refused.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    received: u64,
    recorded: Option<u64>,
    #[serde(default)]
    deduplicated: u64,
    #[serde(default)]
    dead_lettered: u64,
    #[serde(default)]
    errors: Vec<ItemError>,
    #[serde(default)]
    rejected_indexes: Vec<usize>,
}

#[derive(Deserialize)]
struct ItemError {
    index: usize,
    pointer: String,
    error_code: String,
    detail: String,
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
    error_code: String,
    request_id: String,
}

enum Outcome {
    Told(Told),
    TooLarge,
    /// To be tried again, after so long if the gateway said so.
    Unknown {
        last: String,
        asked: Option<Duration>,
    },
}

impl Lane {
    /// Sends all that comes.
    pub async fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<(), LaneError> {
        while let Some(Batch { ticket, entries }) = batches.recv().await {
            let mut totals = Totals::default();
            for (target, entries) in by_target(entries) {
                totals.add(self.deliver(ticket, &target, entries).await?);
            }
            self.manner.ledger.settle(ticket, totals);
        }
        Ok(())
    }

    /// Looks at all that comes as a gateway does, as far as that needs no experiments, and sends nothing.
    pub async fn judge(self, mut batches: mpsc::Receiver<Batch>) -> Result<(), LaneError> {
        while let Some(Batch { ticket, entries }) = batches.recv().await {
            let mut totals = Totals::default();
            for entry in entries {
                match judge::row(entry.target.kind, &entry.json) {
                    Ok(()) => {
                        totals.received += 1;
                        (self.manner.progress)(1);
                    }
                    Err(reject) => self.reject(ticket, entry, reject),
                }
            }
            self.manner.ledger.settle(ticket, totals);
        }
        Ok(())
    }

    /// What became of the rows that were accepted; those refused are in the ledger.
    async fn deliver(
        &mut self,
        ticket: Ticket,
        target: &Target,
        entries: Vec<Entry>,
    ) -> Result<Totals, LaneError> {
        let mut totals = Totals::default();
        let mut parts = VecDeque::from([entries]);
        while let Some(part) = parts.pop_front() {
            let Some(told) = self.send(target, &part).await? else {
                if let [_] = part.as_slice() {
                    let reject =
                        Reject::new(Reason::ContentTooLarge, "the gateway takes no row of this size");
                    part.into_iter().for_each(|entry| self.reject(ticket, entry, reject.clone()));
                    continue;
                }
                let mut first = part;
                let second = first.split_off(first.len() / 2);
                parts.push_front(second);
                parts.push_front(first);
                continue;
            };
            totals.add(told.totals());
            (self.manner.progress)(told.received);
            // Of many errors an answer tells the reasons of the first ones only: the rest is asked for again.
            let untold = self.refused(ticket, part, &told);
            if !untold.is_empty() {
                parts.push_front(untold);
            }
        }
        Ok(totals)
    }

    /// Puts the rows refused into the ledger; returns those whose reason was not told.
    fn refused(&self, ticket: Ticket, part: Vec<Entry>, told: &Told) -> Vec<Entry> {
        let mut reasons: HashMap<usize, &ItemError> = told.errors.iter().map(|e| (e.index, e)).collect();
        let mut untold = Vec::new();
        let mut rejected = told.rejected_indexes.iter().peekable();
        for (index, entry) in part.into_iter().enumerate() {
            if rejected.next_if(|r| **r == index).is_none() {
                continue;
            }
            match reasons.remove(&index) {
                Some(error) => self.reject(ticket, entry, error.reject()),
                None => untold.push(entry),
            }
        }
        untold
    }

    fn reject(&self, ticket: Ticket, entry: Entry, reject: Reject) {
        let Entry { line, place, record, .. } = entry;
        let Manner { ledger, inputs, progress, .. } = &*self.manner;
        ledger.reject(Some(ticket), line, Rejected::of(inputs, place, reject, record.to_string()));
        progress(1);
    }

    /// `None`: too large to be sent at once.
    async fn send(&mut self, target: &Target, part: &[Entry]) -> Result<Option<Told>, LaneError> {
        let manner = Arc::clone(&self.manner);
        if let Some(pace) = &manner.pace {
            pace.wait(part.len()).await;
        }
        let body = part.iter().map(|e| e.json.as_str()).collect::<Vec<_>>().join("\n");
        let body = bytes::Bytes::from(body);
        let deadline = Instant::now() + manner.patience;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let (last, asked) = match self.attempt(target, body.clone(), part.len()).await? {
                Outcome::Told(told) => return Ok(Some(told)),
                Outcome::TooLarge => return Ok(None),
                Outcome::Unknown { last, asked } => (last, asked),
            };
            if Instant::now() >= deadline {
                return Err(LaneError::Patience { patience: manner.patience, last });
            }
            self.used = (self.used + 1) % self.clients.len();
            let pause = backoff.pause();
            tokio::time::sleep(asked.map_or(pause, |asked| asked.min(LONGEST_RETRY_AFTER) + pause)).await;
        }
    }

    async fn attempt(
        &mut self,
        target: &Target,
        body: bytes::Bytes,
        rows: usize,
    ) -> Result<Outcome, LaneError> {
        let client = &mut self.clients[self.used];
        let mut headers = vec![("content-type", "application/x-ndjson"), ("prefer", "wait=30")];
        headers.extend(target.key.as_deref().map(|key| ("idempotency-key", key)));
        let answer = match client.post(&target.path, &headers, body).await {
            Ok(answer) => answer,
            Err(error @ (HttpError::Base(_) | HttpError::Request(_))) => return Err(error.into()),
            Err(error) => return Ok(Outcome::Unknown { last: error.to_string(), asked: None }),
        };
        let foreign = || LaneError::Foreign(client.authority().to_owned());
        match answer.status {
            200 | 202 => {
                let told: Told = answer.json().map_err(|_| foreign())?;
                let all = usize::try_from(told.received)
                    .ok()
                    .and_then(|n| n.checked_add(told.rejected_indexes.len()));
                if all == Some(rows) { Ok(Outcome::Told(told)) } else { Err(foreign()) }
            }
            413 => Ok(Outcome::TooLarge),
            408 | 429 | 500..=599 => {
                let last = format!("{} from {}", answer.status, client.authority());
                Ok(Outcome::Unknown { last, asked: answer.retry_after })
            }
            _ => refused(&answer, rows).unwrap_or_else(|| Err(foreign())),
        }
    }
}

/// What a refusal says: of every item, or of the request.
fn refused(answer: &Answer, rows: usize) -> Option<Result<Outcome, LaneError>> {
    let Problem { detail, error_code, request_id } = answer.json().ok()?;
    if error_code == "invalid_items" {
        let told: Told = answer.json().ok()?;
        return (told.rejected_indexes.len() == rows).then_some(Ok(Outcome::Told(told)));
    }
    let status = answer.status;
    Some(Err(LaneError::Refused(format!("{detail} ({status}, {error_code}, request {request_id})"))))
}

impl Told {
    fn totals(&self) -> Totals {
        Totals {
            received: self.received,
            recorded: self.recorded.unwrap_or(0),
            deduplicated: self.deduplicated,
            dead_lettered: self.dead_lettered,
            queued: if self.recorded.is_some() { 0 } else { self.received },
            ..Totals::default()
        }
    }
}

impl ItemError {
    fn reject(&self) -> Reject {
        let field = self.pointer.rsplit('/').next().filter(|field| field.parse::<usize>().is_err());
        let detail = match field {
            Some(field) if !self.detail.contains(field) => format!("{field}: {}", self.detail),
            _ => self.detail.clone(),
        };
        Reject { error_code: self.error_code.clone().into(), detail }
    }
}

impl Pace {
    async fn wait(&self, rows: usize) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            #[allow(clippy::cast_precision_loss)] // for pacing
            let takes = Duration::from_secs_f64(rows as f64 / self.rate);
            *next = turn + takes;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}
