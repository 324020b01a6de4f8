use super::Problem;
use super::capacity::{Capacity, Share};
use super::decode::Encoding;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;

/// Unread bytes of a refused request that are still taken off the connection, so that a client that sends before it
/// reads gets to see the refusal instead of a reset.
const MAX_DISCARDED: u64 = 32 << 20;
/// What is made room for before it comes: an announced length costs its sender nothing.
const EXPECTED: usize = 64 << 10;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// What a body may weigh, in bytes, and how long it may take.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    pub wire: usize,
    pub decoded: usize,
    pub time: Duration,
    /// Bytes of all bodies held.
    pub memory: Arc<Capacity>,
}

/// Bytes that are counted for as long as anybody holds them.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of a request, not yet read.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once read or given up.
    incoming: Option<Incoming>,
    /// Decoded, and looked at before the handler.
    read_ahead: Option<Bytes>,
    discard: bool,
}

impl RequestBody {
    /// `discard`: take unread bytes off the connection when the request is refused (HTTP/1 only; a client that waits
    /// for `100 Continue` must not be told to go on).
    pub fn new(incoming: Incoming, discard: bool) -> Self {
        Self { incoming: Some(incoming), read_ahead: None, discard }
    }

    /// The whole body, decoded, for a look at it; [`Self::read`] gives the same.
    pub async fn read_ahead(&mut self, headers: &HeaderMap, limits: &BodyLimits) -> Result<&Bytes, Problem> {
        let body = self.read(headers, limits).await?;
        Ok(self.read_ahead.insert(body))
    }

    /// The whole body, decoded, in one buffer.
    pub async fn read(&mut self, headers: &HeaderMap, limits: &BodyLimits) -> Result<Bytes, Problem> {
        if let Some(body) = self.read_ahead.take() {
            return Ok(body);
        }
        let encoding = match headers.get(header::CONTENT_ENCODING) {
            None => Encoding::Identity,
            Some(value) => value.to_str().ok().and_then(Encoding::parse).ok_or_else(unsupported_encoding)?,
        };
        let Some(incoming) = self.incoming.as_mut() else { return Ok(Bytes::new()) };
        let declared = incoming.size_hint().lower();
        if declared > limits.wire as u64 {
            return Err(too_large(limits.wire));
        }
        let (wire, mut share) = match tokio::time::timeout(limits.time, collect(incoming, limits)).await {
            Ok(collected) => collected?,
            Err(_) => {
                self.incoming = None;
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "body_timeout",
                    "the body came too slowly",
                ));
            }
        };
        self.incoming = None;
        let encoded = wire.len();
        let bytes = encoding.decode(wire, limits.decoded)?;
        // Only as many bodies as there are threads are between being decoded and being counted.
        if encoding != Encoding::Identity {
            share.join(limits.memory.take(bytes.len().saturating_sub(encoded)).ok_or_else(too_many)?);
        }
        Ok(Bytes::from_owner(Counted { bytes, _share: share }))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        let worth_it =
            self.discard && !incoming.is_end_stream() && incoming.size_hint().lower() <= MAX_DISCARDED;
        if let (true, Ok(runtime)) = (worth_it, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DISCARD_TIME, discard(incoming)));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut seen = 0_u64;
    while let Some(Ok(frame)) = incoming.frame().await {
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        if seen > MAX_DISCARDED {
            return;
        }
    }
}

/// A body in one frame is passed on without a copy.
async fn collect(incoming: &mut Incoming, limits: &BodyLimits) -> Result<(Bytes, Share), Problem> {
    let max = limits.wire;
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    let mut share = limits.memory.take(0).ok_or_else(too_many)?;
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|error| incomplete(&error))?.into_data() else { continue };
        if first.len().max(all.len()) + data.len() > max {
            return Err(too_large(max));
        }
        // What has come is counted, not what is announced: who sends slowly keeps nobody out.
        share.join(limits.memory.take(data.len()).ok_or_else(too_many)?);
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            let expected = usize::try_from(incoming.size_hint().lower()).unwrap_or(0);
            all.reserve(first.len() + data.len() + expected.min(EXPECTED));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok((if all.is_empty() { first } else { Bytes::from(all) }, share))
}

fn too_many() -> Problem {
    Problem::unavailable("too_many_bodies", "the service holds as many request bodies as it may", 1)
}

fn incomplete(error: &hyper::Error) -> Problem {
    tracing::debug!(%error, "request body ended early");
    Problem::bad_request("body_incomplete", "the body ended before its announced end")
}

fn too_large(max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {max} bytes"),
    )
}

fn unsupported_encoding() -> Problem {
    let detail = "Content-Encoding must be gzip, zstd, deflate or identity";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
}
