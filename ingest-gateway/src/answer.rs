//! What the client is told.

use domain::{BatchId, Timestamp};
use queue::receipts::Totals;
use serde::Serialize;
use service::http::header::{self, HeaderName, HeaderValue};
use service::http::{ItemError, ItemErrors, Problem, Response, StatusCode};

use crate::body::{Fault, Refusal};
use crate::codes::Code;
use crate::options::Reply;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Seconds after which a refused request is worth another try.
const RETRY_SOON: u32 = 1;
/// The same when a backlog has to shrink first.
const RETRY_LATER: u32 = 5;

/// A request whose frames are all durable.
pub struct Accepted<'a> {
    pub batch: BatchId,
    pub request_id: &'a str,
    pub received: usize,
    pub keyless: u32,
    /// Frames of the request, each of which has a receipt of its own.
    pub parts: u16,
    pub received_at: Timestamp,
    /// `None`: the request was all or nothing.
    pub rejected: Option<&'a ItemErrors>,
}

#[derive(Serialize)]
struct Body<'a> {
    batch_id: BatchText,
    received: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyless: Option<u32>,
    #[serde(flatten)]
    totals: Option<TotalsBody>,
    status: &'static str,
    #[serde(flatten)]
    rejected: Option<Rejected<'a>>,
}

/// A batch id, written without a copy of its text.
struct BatchText(BatchId);

impl Serialize for BatchText {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct TotalsBody {
    recorded: u64,
    deduplicated: u64,
    conflicts: u64,
    dead_lettered: u64,
}

#[derive(Serialize)]
struct Rejected<'a> {
    rejected: usize,
    errors: &'a [ItemError],
    errors_total: usize,
    rejected_indexes: &'a [u32],
}

impl Accepted<'_> {
    /// 202: everything is in the queue. With `Location` when a receipt was asked for.
    pub fn queued(&self, reply: Reply, results_url: Option<&str>) -> Result<Response, Problem> {
        let response = Response::json(StatusCode::ACCEPTED, &self.body(None))?;
        if reply == Reply::Queued {
            return Ok(response);
        }
        let response = match HeaderValue::from_str(&self.location(results_url.unwrap_or_default())) {
            Ok(location) => response.with(header::LOCATION, location),
            // AB_RESULTS_URL is checked at start and ids are plain ASCII.
            Err(_) => response,
        };
        Ok(match reply {
            Reply::Async => response.with(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async")),
            Reply::Queued | Reply::Wait { .. } => response,
        })
    }

    /// 200: everything is committed.
    pub fn applied(&self, totals: Totals, asked: Option<u32>) -> Result<Response, Problem> {
        let response = Response::json(StatusCode::OK, &self.body(Some(totals)))?;
        let applied = asked.and_then(|seconds| HeaderValue::try_from(format!("wait={seconds}")).ok());
        Ok(match applied {
            Some(value) => response.with(PREFERENCE_APPLIED, value),
            None => response,
        })
    }

    /// Where the analyzer tells what became of the request.
    fn location(&self, base: &str) -> String {
        let Accepted { batch, request_id, parts, received, received_at, .. } = self;
        format!(
            "{base}/api/v1/batches/{batch}?request={request_id}&parts={parts}&received={received}&at={received_at}"
        )
    }

    fn body(&self, totals: Option<Totals>) -> Body<'_> {
        Body {
            batch_id: BatchText(self.batch),
            received: self.received,
            keyless: totals.is_none().then_some(self.keyless),
            status: if totals.is_some() { "applied" } else { "queued" },
            totals: totals.map(|t| TotalsBody {
                recorded: t.recorded,
                deduplicated: t.deduplicated,
                conflicts: t.conflicts,
                dead_lettered: t.dead_lettered,
            }),
            rejected: self.rejected.map(|errors| Rejected {
                rejected: errors.rejected_indexes().len(),
                errors: errors.detailed(),
                errors_total: errors.total(),
                rejected_indexes: errors.rejected_indexes(),
            }),
        }
    }
}

/// The problem document of a code.
pub fn problem(code: Code, detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = Problem::new(status, code.as_str(), detail);
    match code {
        Code::QueueFull => problem.retry_after(RETRY_LATER),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => problem.retry_after(RETRY_SOON),
        _ => problem,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        problem(refusal.code, refusal.detail)
    }
}

/// The errors of a request's items, for an answer. `list` is empty for NDJSON.
pub fn item_errors(faults: &[(u32, Fault)], list: &str) -> ItemErrors {
    let mut errors = ItemErrors::new();
    for (index, fault) in faults {
        errors.push(ItemError {
            index: *index,
            pointer: fault.pointer(list, *index),
            error_code: fault.code.as_str(),
            detail: fault.detail.clone(),
        });
    }
    errors
}

/// 422 for a request of which nothing was accepted because of its items.
pub fn nothing_accepted(errors: ItemErrors, sent: usize) -> Problem {
    let detail = format!("{} of {sent} items are not valid; nothing was accepted", errors.total());
    problem(Code::InvalidItems, detail).items(errors)
}
