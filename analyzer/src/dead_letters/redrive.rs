//! Sending letters again.
//!
//! A letter is deleted only after the queue has acknowledged its events. They keep their batch and keys, so whatever
//! happens in between (a crash, the same request twice) they are applied once: the worker knows the second for
//! duplicates.

use std::time::Duration;

use queue::producer::{Outgoing, SendError};
use service::http::{Problem, Request, Response, StatusCode};
use store::Removal;
use tokio::time::Instant;

use super::{Item, Outcome, Outcomes, find, frames, read_ids, tenants};
use crate::answer::{Parameters, actor, storage};
use crate::app::Analyzer;

/// What the queue gets to take everything.
const BUDGET: Duration = Duration::from_secs(20);
/// Most bytes of payloads held and sent at a time, unless a single letter has more.
const SLICE_BYTES: usize = 1 << 20;

struct Redrive<'r> {
    app: &'r Analyzer,
    request: &'r Request,
    deadline: Instant,
    slice: Slice<'r>,
    items: Vec<Item>,
}

/// Letters that are sent together.
#[derive(Default)]
struct Slice<'r> {
    /// Each with the tenant it is kept under.
    letters: Vec<(&'r str, i64)>,
    frames: Vec<Outgoing>,
    bytes: usize,
}

pub async fn redrive(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let mut ids = read_ids(&mut request).await?.into_iter();
    let deadline = Instant::now() + BUDGET;
    let mut run = Redrive { app, request: &request, deadline, slice: Slice::default(), items: Vec::new() };
    // In order of age: of two first exposures the one accepted first stays the first.
    let done = match run.send_all(&mut ids).await? {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the queue did not take what is redriven");
            run.items.extend(ids.map(|id| Item { id, outcome: Outcome::NotSent }));
            run.items.iter().any(|item| item.outcome == Outcome::Redriven)
        }
    };
    if !done {
        return Err(Problem::unavailable(
            "queue_unavailable",
            "the queue did not take the events: try again",
            1,
        ));
    }
    run.items.sort_unstable_by_key(|item| item.id);
    Response::json(StatusCode::OK, &Outcomes { items: run.items })
}

impl<'r> Redrive<'r> {
    /// Stops at the first slice that the queue does not take.
    async fn send_all(
        &mut self,
        ids: &mut impl Iterator<Item = i64>,
    ) -> Result<Result<(), SendError>, Problem> {
        for id in ids {
            let found = find(self.app, self.request, id).await?;
            let outcome = match found {
                None => Outcome::NotFound,
                Some((_, letter, _)) if letter.digest.is_some() => Outcome::NoPayload,
                Some((tenant, _, payload)) => match frames::outgoing(&payload, self.app.partitions) {
                    Ok(frames) => {
                        if self.slice.bytes > 0
                            && self.slice.bytes + payload.len() > SLICE_BYTES
                            && let Err(error) = self.send().await?
                        {
                            self.items.push(Item { id, outcome: Outcome::NotSent });
                            return Ok(Err(error));
                        }
                        self.slice.letters.push((tenant, id));
                        self.slice.frames.extend(frames);
                        self.slice.bytes += payload.len();
                        continue;
                    }
                    Err(error) => {
                        tracing::info!(id, %error, "a dead letter cannot be redriven");
                        Outcome::Unreadable
                    }
                },
            };
            self.items.push(Item { id, outcome });
        }
        self.send().await
    }

    /// The slice, and deletes its letters when it is acknowledged.
    async fn send(&mut self) -> Result<Result<(), SendError>, Problem> {
        let Slice { letters, frames, .. } = std::mem::take(&mut self.slice);
        if letters.is_empty() {
            return Ok(Ok(()));
        }
        let sent = self.app.producer().send(frames, self.deadline).await;
        if sent.is_ok() {
            let actor = actor(self.request);
            for tenant in tenants(self.request) {
                let of_it = letters.iter().filter(|(of, _)| *of == tenant);
                let ids: Vec<i64> = of_it.map(|(_, id)| *id).collect();
                let store = &self.app.store;
                store.delete_dead_letters(tenant, &ids, Removal::Redriven, actor).await.map_err(storage)?;
            }
        }
        let outcome = if sent.is_ok() { Outcome::Redriven } else { Outcome::NotSent };
        self.items.extend(letters.into_iter().map(|(_, id)| Item { id, outcome }));
        Ok(sent)
    }
}
