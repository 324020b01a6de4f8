use super::Problem;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, header};
use serde::Serialize;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// An answer of a handler. The kit adds request id, caching and CORS headers.
#[derive(Debug)]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    Whole(Full<Bytes>),
    /// As it comes, until the sender is dropped. A client that reads slowly holds the sender up.
    Stream(mpsc::Receiver<Result<Bytes, Broken>>),
}

/// A body that ends before its end: the connection is cut, so that nobody takes what came for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be completed")]
pub struct Broken;

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
        Self::of(status, content_type, Body::whole(body))
    }

    /// A body that is still being made. Whoever sends must end when the process does.
    pub fn stream(
        status: StatusCode,
        content_type: &'static str,
        body: mpsc::Receiver<Result<Bytes, Broken>>,
    ) -> Self {
        Self::of(status, content_type, Body::Stream(body))
    }

    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::whole(Bytes::new()) }
    }

    /// Sets a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn of(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        let headers = HeaderMap::new();
        Self { status, headers, body }.with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }
}

impl Body {
    pub fn whole(bytes: impl Into<Bytes>) -> Body {
        Body::Whole(Full::new(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Body::Whole(full) => Pin::new(full)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|n| match n {}))),
            Body::Stream(stream) => stream.poll_recv(context).map(|next| Some(next?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(full) => full.is_end_stream(),
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(full) => full.size_hint(),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
