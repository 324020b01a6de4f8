//! One delivery over HTTP: one connection, one request, the status of the answer and nothing more of it. Redirects are
//! not followed: they would lead past the check of the address.

use std::time::Duration;

use domain::Timestamp;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper_util::rt::TokioIo;
use service::http::Networks;
use store::Claimed;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::signature::sign;
use super::target::{BadTarget, Target, Unresolved};

const AGENT: &str = concat!("abstream/", env!("CARGO_PKG_VERSION"));

/// What a receiver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
}

/// Why there is no answer, by stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    InvalidUrl,
    AddressForbidden,
    UnknownHost,
    NotConnected,
    #[cfg(feature = "tls")]
    Tls,
    NoAnswer,
    Timeout,
}

impl Failure {
    pub fn code(self) -> &'static str {
        match self {
            Failure::InvalidUrl => "invalid_url",
            Failure::AddressForbidden => "address_forbidden",
            Failure::UnknownHost => "unknown_host",
            Failure::NotConnected => "not_connected",
            #[cfg(feature = "tls")]
            Failure::Tls => "tls",
            Failure::NoAnswer => "no_answer",
            Failure::Timeout => "timeout",
        }
    }
}

/// Everything within `patience`.
pub async fn send(
    claimed: &Claimed,
    allowed: &Networks,
    patience: Duration,
    now: Timestamp,
) -> Result<Answer, Failure> {
    tokio::time::timeout(patience, exchange(claimed, allowed, now)).await.unwrap_or(Err(Failure::Timeout))
}

async fn exchange(claimed: &Claimed, allowed: &Networks, now: Timestamp) -> Result<Answer, Failure> {
    let target = Target::checked(&claimed.url, allowed).map_err(|bad| match bad {
        BadTarget::Private => Failure::AddressForbidden,
        BadTarget::Shape | BadTarget::Credentials | BadTarget::NoTls => Failure::InvalidUrl,
    })?;
    let address = target.resolve(allowed).await.map_err(|unresolved| match unresolved {
        Unresolved::Unknown => Failure::UnknownHost,
        Unresolved::Forbidden => Failure::AddressForbidden,
    })?;
    let stream = TcpStream::connect(address).await.map_err(|_| Failure::NotConnected)?;
    #[cfg(feature = "tls")]
    if target.tls {
        let stream = service::trust::connect(&target.host, stream).await.ok_or(Failure::Tls)?;
        return speak(stream, claimed, &target, now).await;
    }
    speak(stream, claimed, &target, now).await
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    claimed: &Claimed,
    target: &Target,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let (id, seconds) = (claimed.id.to_string(), now.0.div_euclid(1_000_000));
    let signature =
        sign(&claimed.secret, &id, seconds, claimed.body.as_bytes()).ok_or(Failure::InvalidUrl)?;
    let request = hyper::Request::post(&target.path)
        .header(HOST, &target.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature)
        .body(Full::new(Bytes::from(claimed.body.clone())))
        .map_err(|_| Failure::InvalidUrl)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::NotConnected)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(|_| Failure::NoAnswer)?;
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let status = response.status().as_u16();
    Ok(Answer { status, retry_after: retry_after.and_then(|text| pause(text, now)) })
}

/// Seconds, or a date.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    let micros = until.as_microsecond().saturating_sub(now.0);
    u64::try_from(micros).ok().map(Duration::from_micros)
}
