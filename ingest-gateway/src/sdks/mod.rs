//! SDKs that are not ours, unmodified: their routes, and their events as items of ours. A decoder ends in the same
//! [`Parsed`] as `/events`, and everything after it (clock, catalogue, frames, counters) is the same.
//!
//! **Every event has a named fate.** It is accepted, or it is counted by the code of what is wrong with it:
//! `event_ignored` for one that is neither an exposure nor a conversion. One bad event never costs the batch, and a
//! batch of which nothing is left is still answered as a success, because these clients would throw away, or send
//! again, whatever else came with it.
//!
//! 200 on these routes means durable, as 202 does on ours: half of the clients take nothing else for a success. A
//! body that cannot be taken apart is refused whole; more events than `AB_MAX_BATCH_EVENTS` are 413, on which clients
//! split.

pub mod cloudevents;
mod event;
mod growthbook;
mod json;
mod posthog;
mod segment;

use serde::Serialize;
use service::auth::Scopes;
use service::http::header::HeaderMap;
use service::http::{Access, KeyPlaces, Problem, Response, StatusCode};

use crate::body::{Fault, Parsed, Refusal};
use crate::options::instant;
pub use event::Terms;

/// Who sends to a route, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Segment(segment::Body),
    PostHogBatch,
    PostHogEvents,
    GrowthBook,
}

impl Sdk {
    /// Values of the metrics label `route`.
    pub const CLASSES: [&'static str; 3] = ["segment", "posthog", "growthbook"];

    /// The SDK of a path; one slash at its end is overlooked.
    pub fn at(path: &str) -> Option<Sdk> {
        let path = path.strip_prefix('/')?;
        match path.strip_suffix('/').unwrap_or(path) {
            "batch" => Some(Sdk::PostHogBatch),
            "i/v1/analytics/events" => Some(Sdk::PostHogEvents),
            "track" => Some(Sdk::GrowthBook),
            other => segment::route(other).map(Sdk::Segment),
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Sdk::Segment(_) => "segment",
            Sdk::PostHogBatch | Sdk::PostHogEvents => "posthog",
            Sdk::GrowthBook => "growthbook",
        }
    }

    pub fn access(self) -> Access {
        let key = match self {
            Sdk::Segment(_) => KeyPlaces { basic: true, query: None, body: Some("writeKey") },
            Sdk::PostHogBatch => KeyPlaces { body: Some("api_key"), ..KeyPlaces::default() },
            Sdk::PostHogEvents => KeyPlaces::default(),
            Sdk::GrowthBook => KeyPlaces { query: Some("client_key"), ..KeyPlaces::default() },
        };
        Access::Sdk { any_of: Scopes::EVENTS.union(Scopes::INGEST), key }
    }

    /// Takes a body apart, whatever its content type says it is. `headers` may hold the client's clock.
    pub fn decode<'a>(
        self,
        headers: &HeaderMap,
        text: &'a str,
        terms: Terms<'_>,
    ) -> Result<Parsed<'a>, Refusal> {
        match self {
            Sdk::Segment(body) => segment::decode(text, body, terms),
            Sdk::PostHogBatch => posthog::decode(text, terms),
            Sdk::PostHogEvents => {
                let clock =
                    headers.get("posthog-request-timestamp").and_then(|value| instant(value.to_str().ok()?));
                posthog::decode(text, terms).map(|parsed| Parsed { sent_at: clock, ..parsed })
            }
            Sdk::GrowthBook => growthbook::decode(text, terms),
        }
    }

    /// What the client is told once everything accepted is durable.
    pub fn answer(self, text: &str, sent: usize, faults: &[(u32, Fault)]) -> Result<Response, Problem> {
        if self == Sdk::PostHogEvents {
            return Response::json(StatusCode::OK, &posthog::results(text, faults));
        }
        let errors = faults.iter().take(ERRORS_TOLD).map(|(index, fault)| NotTaken {
            index: *index,
            error_code: fault.code.as_str(),
            detail: &fault.detail,
        });
        let received = sent.saturating_sub(faults.len());
        let errors = errors.collect();
        let answer = Answer { success: true, status: "Ok", received, rejected: faults.len(), errors };
        Response::json(StatusCode::OK, &answer)
    }
}

/// Events told of one by one; all are counted.
const ERRORS_TOLD: usize = 100;

/// One body for all: Segment's clients look at `success`, PostHog's at `status`, people at the rest.
#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    status: &'static str,
    received: usize,
    rejected: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<NotTaken<'a>>,
}

#[derive(Serialize)]
struct NotTaken<'a> {
    /// Position in the batch as sent.
    index: u32,
    error_code: &'static str,
    detail: &'a str,
}
