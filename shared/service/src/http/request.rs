use super::Problem;
use super::body::{BodyLimits, RequestBody};
use super::ident::{RequestId, traceparent};
use crate::auth::Principal;
use bytes::Bytes;
use hyper::header::{self, AsHeaderName};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// A request as a handler gets it: id given, key and scope checked, body not yet read.
#[derive(Debug)]
pub struct Request {
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) limits: BodyLimits,
    pub(super) id: RequestId,
    pub(super) client: IpAddr,
    pub(super) principal: Arc<Principal>,
    pub(super) beacon: bool,
}

/// How the body of an ingest or definition request is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    Json,
    /// One item a line.
    NdJson,
}

impl Request {
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The query as sent. It may hold a key: never log it.
    pub fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    /// The first parameter of that name, decoded.
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_params().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All parameters, decoded, in order, without `key`.
    pub fn query_params(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        parameters(self.query()).filter(|(name, _)| name != "key")
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's text; `None` also when it is not visible ASCII.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// `X-Request-ID`: the client's or a fresh one.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// A well-formed W3C `traceparent`.
    pub fn traceparent(&self) -> Option<&str> {
        traceparent(&self.head.headers)
    }

    /// The client's address, behind trusted proxies.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Whose key it is; without tenant and scopes on public routes.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// How to read the body, by `Content-Type`: JSON, NDJSON, else 415. Event routes also take text/plain and no type
    /// at all as JSON, which is what beacons send.
    pub fn payload(&self) -> Result<Payload, Problem> {
        let Some(text) = self.head.headers.get(header::CONTENT_TYPE) else {
            return if self.beacon { Ok(Payload::Json) } else { Err(unsupported_media()) };
        };
        let text = text.to_str().map_err(|_| unsupported_media())?.to_ascii_lowercase();
        let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
        if parameters.contains("charset=") && !parameters.contains("utf-8") && !parameters.contains("utf8") {
            return Err(unsupported_media());
        }
        match essence.trim() {
            "application/json" => Ok(Payload::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Payload::NdJson),
            "text/plain" if self.beacon => Ok(Payload::Json),
            json if json.starts_with("application/") && json.ends_with("+json") => Ok(Payload::Json),
            _ => Err(unsupported_media()),
        }
    }

    /// The whole body, decoded, in one buffer. Refuses with 413, 408, 415 and 400 by the limits of the server; a second
    /// call gives an empty body.
    pub async fn read_body(&mut self) -> Result<Bytes, Problem> {
        self.body.read(&self.head.headers, &self.limits).await
    }
}

fn unsupported_media() -> Problem {
    let detail = "Content-Type must be application/json or application/x-ndjson, in UTF-8";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// `%41` and `+` decoded; malformed escapes stay as they are, bytes that are not UTF-8 become U+FFFD.
pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}
