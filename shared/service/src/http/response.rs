use super::Problem;
use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, header};
use serde::Serialize;

/// An answer of a handler. The kit adds request id, caching and CORS headers.
#[derive(Debug)]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Response {
    /// `Err` (500) when the value cannot be written as JSON, a defect of ours.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| {
            tracing::error!(%error, "answer cannot be written as JSON");
            Problem::internal()
        })?;
        Ok(Self::bytes(status, "application/json", body))
    }

    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::empty(status)
            .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with_body(body.into())
    }

    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Sets a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}
