//! What a request asks for beside its body: query parameters, `Idempotency-Key`, `Prefer`, `X-Sent-At`.

use std::time::Duration;

use domain::Timestamp;
use service::http::Request;
use service::http::header::HeaderMap;

use crate::body::{Refusal, Shape};
use crate::codes::Code;

/// Longest `Prefer: wait`; a longer wish is honoured up to here.
const WAIT_MAX: u32 = 30;

/// How the request wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 202 once every frame is durable.
    Queued,
    /// The same, with the place where the outcome will be found.
    Async,
    /// 200 once everything is committed, if that happens within `limit`. `asked`: seconds of the client's own wish.
    Wait { limit: Duration, asked: Option<u32> },
}

/// How many items of a request must be good for it to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    All,
    /// `partial=true`.
    One,
    /// What SDKs that are not ours send.
    None,
}

impl Reply {
    /// As of a queue that acknowledges nothing before its commit: whoever did not ask for less is told the outcome.
    pub fn after_commit(self) -> Reply {
        match self {
            Reply::Queued => Reply::Wait { limit: Duration::ZERO, asked: None },
            Reply::Async | Reply::Wait { .. } => self,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub quorum: Quorum,
    /// Metrics that no plan uses are refused.
    pub strict: bool,
    pub idempotency_key: Option<String>,
    /// `X-Sent-At`; the body's own `sent_at` comes first.
    pub sent_at: Option<Timestamp>,
    pub reply: Reply,
}

impl Options {
    pub fn read(request: &Request, shape: Shape, default_wait: Option<Duration>) -> Result<Options, Refusal> {
        let headers = request.headers();
        // `/events` is what SDKs with queues of their own send: one bad event must not hold up the others.
        let mut options = Options {
            quorum: if shape == Shape::Events { Quorum::One } else { Quorum::All },
            strict: false,
            idempotency_key: idempotency_key(headers)?,
            sent_at: sent_at(headers)?,
            reply: reply(headers, default_wait),
        };
        for (name, value) in request.query_params() {
            match name.as_ref() {
                "partial" if flag(&name, &value)? => options.quorum = Quorum::One,
                "partial" => options.quorum = Quorum::All,
                "strict" => options.strict = flag(&name, &value)?,
                other => {
                    let shown: String = other.chars().take(64).collect();
                    let detail = format!("unknown query parameter `{shown}`");
                    return Err(Refusal::new(Code::UnknownQueryParameter, detail));
                }
            }
        }
        if shape == Shape::Events && options.quorum == Quorum::All {
            let detail = "events of this route are always judged one by one: partial=false is not possible";
            return Err(Refusal::new(Code::InvalidQueryParameter, detail));
        }
        Ok(options)
    }

    /// Of an SDK that is not ours. Its query parameters and preferences are not for us.
    pub fn of_sdk(request: &Request) -> Result<Options, Refusal> {
        let headers = request.headers();
        Ok(Options {
            quorum: Quorum::None,
            strict: false,
            idempotency_key: idempotency_key(headers)?,
            sent_at: sent_at(headers)?,
            reply: Reply::Queued,
        })
    }
}

fn flag(name: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::new(Code::InvalidQueryParameter, format!("`{name}` must be true or false"))),
    }
}

/// 1 to 255 visible ASCII characters, given once.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let visible = (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(text) if visible && values.next().is_none() => Ok(Some(text.to_owned())),
        _ => {
            let detail = "Idempotency-Key must be one value of 1 to 255 visible ASCII characters";
            Err(Refusal::new(Code::InvalidIdempotencyHeader, detail))
        }
    }
}

fn sent_at(headers: &HeaderMap) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = headers.get("x-sent-at") else { return Ok(None) };
    match value.to_str().ok().and_then(instant) {
        Some(instant) => Ok(Some(instant)),
        None => {
            let detail = "X-Sent-At is neither RFC 3339 nor unix seconds or milliseconds";
            Err(Refusal::new(Code::InvalidSentAt, detail))
        }
    }
}

/// RFC 3339, or unix seconds or milliseconds.
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    Timestamp::parse(text).or_else(|| Timestamp::from_unix_number(text))
}

/// RFC 7240: the first of equal preferences counts; unknown and unreadable ones are ignored.
fn reply(headers: &HeaderMap, default_wait: Option<Duration>) -> Reply {
    let (mut wait, mut respond_async) = (None, false);
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    for preference in values.flat_map(|value| value.split(',')) {
        let preference = preference.split(';').next().unwrap_or_default().trim();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("respond-async") {
            respond_async = true;
        } else if name.eq_ignore_ascii_case("wait") && wait.is_none() {
            wait = value.parse::<u32>().ok();
        }
    }
    match (wait, respond_async, default_wait) {
        (Some(0), _, _) | (None, true, _) => Reply::Async,
        (Some(asked), _, _) => {
            let seconds = asked.min(WAIT_MAX);
            Reply::Wait { limit: Duration::from_secs(seconds.into()), asked: Some(seconds) }
        }
        (None, false, Some(limit)) => Reply::Wait { limit, asked: None },
        (None, false, None) => Reply::Queued,
    }
}
