use super::ident::RequestId;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Item errors told in detail; the indexes are always complete.
const MAX_DETAILED: usize = 100;

/// A refusal as `application/problem+json`. `code` is stable and part of the contract; `detail` is for people and holds
/// no SQL, path, stack or secret.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    retryable: bool,
    /// Seconds.
    retry_after: Option<u32>,
    rate_limit: Option<RateLimit>,
    allow: Option<Cow<'static, str>>,
    items: Option<ItemErrors>,
}

/// What was used up: so many a second, and when it would have been enough.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    pub what: &'static str,
    pub per_second: u64,
    pub wait: Duration,
}

impl RateLimit {
    /// Whole seconds, at least one.
    fn seconds(&self) -> u32 {
        u32::try_from(self.wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
    }
}

impl Problem {
    /// Retryable when the status says that the same request may succeed later: 408, 429, 502, 503, 504.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504);
        let detail = detail.into();
        let (retry_after, rate_limit, allow, items) = (None, None, None, None);
        Self(Box::new(Inner { status, code, detail, retryable, retry_after, rate_limit, allow, items }))
    }

    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub fn unavailable(
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
        retry_after_seconds: u32,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after_seconds)
    }

    /// Something of ours failed; the cause belongs into the log, not into the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the service failed to answer")
            .retryable(true)
    }

    pub(crate) fn method_not_allowed(allow: Cow<'static, str>) -> Self {
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the path exists, but not with this method",
        );
        problem.0.allow = Some(allow);
        problem
    }

    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Sends `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Sends `Retry-After`, `RateLimit` and `RateLimit-Policy`.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.0.rate_limit = Some(limit);
        self.retry_after(limit.seconds())
    }

    /// Tells which items of the request were refused.
    pub fn items(mut self, errors: ItemErrors) -> Self {
        self.0.items = Some(errors);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Body and headers of the answer; for an SDK that is not ours with the members it reads.
    pub(super) fn render(&self, id: &RequestId, sdk: bool, headers: &mut HeaderMap) -> Vec<u8> {
        let inner = &self.0;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = inner.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(limit) = &inner.rate_limit {
            let RateLimit { what, per_second, .. } = limit;
            let policy = HeaderValue::try_from(format!("\"{what}\";q={per_second};w=1"));
            let state = HeaderValue::try_from(format!("\"{what}\";r=0;t={}", limit.seconds()));
            for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
                if let Ok(value) = value {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        if let Some(allow) = &inner.allow {
            headers.insert(header::ALLOW, allow_header(allow));
        }
        if inner.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        serde_json::to_vec(&inner.document(id, sdk)).unwrap_or_default()
    }
}

impl Inner {
    fn document<'a>(&'a self, id: &'a RequestId, sdk: bool) -> Document<'a> {
        let items = self.items.as_ref();
        Document {
            kind: format!("urn:abstream:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            error_code: self.code,
            status_code: self.status.as_u16(),
            request_id: id.as_str(),
            retryable: self.retryable,
            code: sdk.then_some(self.code),
            message: sdk.then_some(&self.detail),
            errors: items.map(ItemErrors::detailed),
            errors_total: items.map(ItemErrors::total),
            rejected_indexes: items.map(ItemErrors::rejected_indexes),
        }
    }
}

/// The methods of a path, and those the kit answers itself.
pub(super) fn allow_header(allow: &str) -> HeaderValue {
    let head = if allow.split(", ").any(|method| method == "GET") { ", HEAD" } else { "" };
    HeaderValue::try_from(format!("{allow}{head}, OPTIONS")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    error_code: &'a str,
    status_code: u16,
    request_id: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [ItemError]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_total: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_indexes: Option<&'a [u32]>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.status.as_u16(), self.0.code, self.0.detail)
    }
}

impl std::error::Error for Problem {}

/// What is wrong with one item of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemError {
    /// Position in the request as sent.
    pub index: u32,
    /// JSON pointer (RFC 6901) into the request body.
    pub pointer: String,
    pub error_code: &'static str,
    pub detail: Cow<'static, str>,
}

/// The errors of a request's items, in the order they were found: the first 100 in detail, the indexes complete.
#[derive(Debug, Clone, Default)]
pub struct ItemErrors {
    detailed: Vec<ItemError>,
    rejected: Vec<u32>,
    total: usize,
}

impl ItemErrors {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, error: ItemError) {
        self.total += 1;
        if self.rejected.last() != Some(&error.index) {
            self.rejected.push(error.index);
        }
        if self.detailed.len() < MAX_DETAILED {
            self.detailed.push(error);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Number of errors; an item may have several.
    pub fn total(&self) -> usize {
        self.total
    }

    pub fn detailed(&self) -> &[ItemError] {
        &self.detailed
    }

    /// Indexes of the refused items, each once when errors come item by item.
    pub fn rejected_indexes(&self) -> &[u32] {
        &self.rejected
    }
}
