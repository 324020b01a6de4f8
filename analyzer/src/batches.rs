//! What became of a request that asked for a receipt.

use domain::{BatchId, Timestamp};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::ReceiptPart;
use uuid::Uuid;

use crate::answer::{Parameters, storage, tagged};
use crate::app::Analyzer;
use crate::clock::now;

/// Receipts are kept this long; afterwards a claim to have sent something proves nothing. Microseconds.
const KEPT: i64 = 24 * 3600 * 1_000_000;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Receipt {
    Applied {
        batch_id: Uuid,
        /// = recorded + deduplicated + dead_lettered
        received: u64,
        recorded: u64,
        deduplicated: u64,
        conflicts: u64,
        dead_lettered: u64,
    },
    Queued {
        batch_id: Uuid,
        #[serde(skip_serializing_if = "Option::is_none")]
        received: Option<u64>,
    },
}

/// What the client says it was told when it sent the request: the query of the `Location` it was given.
struct Claim {
    parts: Option<u16>,
    received: Option<u64>,
    at: Option<Timestamp>,
}

pub async fn get(app: &Analyzer, request: &Request, batch: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["request", "parts", "received", "at"])?;
    let positive = |n: &u16| *n > 0;
    let claim = Claim {
        parts: parameters.parsed("parts", "must be a number above 0", |t| t.parse().ok().filter(positive))?,
        received: parameters.parsed("received", "must be a number", |t| t.parse().ok())?,
        at: parameters.parsed("at", "must be an RFC 3339 time", Timestamp::parse)?,
    };
    let id = batch.parse().map_err(|_| unknown_batch())?;
    let tenant = &request.principal().tenant;
    let parts = app.store.receipt(tenant, BatchId(id), parameters.get("request")).await.map_err(storage)?;
    let receipt = judge(id, &parts, &claim, now()).ok_or_else(unknown_batch)?;
    tagged(request, &receipt)
}

/// `parts` ascend by request. Of several requests that carried the batch the first complete one with most recorded
/// answers: the others found duplicates.
fn judge(batch_id: Uuid, parts: &[ReceiptPart], claim: &Claim, now: Timestamp) -> Option<Receipt> {
    let complete = parts
        .chunk_by(|a, b| a.request_id == b.request_id)
        .filter(|of_one| {
            let wanted = claim.parts.or(of_one.first().map(|p| p.parts)).unwrap_or(1);
            of_one.len() >= usize::from(wanted)
        })
        .map(|of_one| applied(batch_id, of_one))
        .reduce(|best, next| if recorded(&next) > recorded(&best) { next } else { best });
    let young = claim.at.is_some_and(|at| now.0.saturating_sub(at.0).saturating_abs() < KEPT);
    complete.or_else(|| {
        (young || !parts.is_empty()).then_some(Receipt::Queued { batch_id, received: claim.received })
    })
}

fn applied(batch_id: Uuid, parts: &[ReceiptPart]) -> Receipt {
    let sum = |of: fn(&ReceiptPart) -> u64| parts.iter().map(of).sum();
    let (recorded, deduplicated, dead_lettered): (u64, u64, u64) =
        (sum(|p| p.recorded), sum(|p| p.deduplicated), sum(|p| p.dead_lettered));
    Receipt::Applied {
        batch_id,
        received: recorded + deduplicated + dead_lettered,
        recorded,
        deduplicated,
        conflicts: sum(|p| p.conflicts),
        dead_lettered,
    }
}

fn recorded(receipt: &Receipt) -> u64 {
    match receipt {
        Receipt::Applied { recorded, .. } => *recorded,
        Receipt::Queued { .. } => 0,
    }
}

fn unknown_batch() -> Problem {
    Problem::not_found("unknown_batch", "there is no receipt of this batch, or no longer")
}
