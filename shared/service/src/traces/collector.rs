//! The way to the collector: one connection for each batch of spans, none of them urgent.

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use std::io::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// For one try.
const PATIENCE: Duration = Duration::from_secs(5);
/// Collectors say little.
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug)]
pub struct Collector {
    runtime: Handle,
    headers: Vec<(HeaderName, HeaderValue)>,
    failing: AtomicBool,
}

impl Collector {
    pub fn new(runtime: Handle, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { runtime, headers, failing: AtomicBool::new(false) }
    }

    /// Once when it begins to fail, once when that is over.
    fn log(&self, failure: Option<String>) {
        if self.failing.swap(failure.is_some(), Ordering::Relaxed) == failure.is_some() {
            return;
        }
        match failure {
            Some(error) => tracing::warn!(error, "the collector does not take traces: they are dropped"),
            None => tracing::info!("the collector takes traces again"),
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Called on the exporter's own thread, which has no runtime.
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.iter().cloned());
        let exchanged = async { tokio::time::timeout(PATIENCE, exchange(request)).await };
        let sent = self.runtime.spawn(exchanged);
        let answer = match sent.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(late)) => Err(late.into()),
            Err(ended) => Err(ended.into()),
        };
        self.log(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status().as_u16())),
            Err(error) => Some(crate::logs::causes(&**error)),
        });
        answer
    }
}

async fn exchange(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = std::mem::take(request.uri_mut());
    let host = uri.host().ok_or_else(|| Error::other("the address has no host"))?;
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority)?);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    #[cfg(feature = "tls")]
    if tls {
        let stream = crate::trust::connect(host, stream).await;
        return speak(stream.ok_or_else(|| Error::other("whoever answers is not trusted"))?, request).await;
    }
    speak(stream, request).await
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    #[allow(clippy::disallowed_methods)] // limited
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
