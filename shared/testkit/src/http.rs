//! A small HTTP/1.1 client for tests and load: it sends the bytes it is given and nothing of its own but `host`
//! and `content-length`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Servers close connections on which nothing is said (ours after 15 s), and a request that is on its way then has an
/// unknown outcome: one that was silent for longer than this is not used again.
const KEPT: Duration = Duration::from_secs(10);

/// A client with one kept-alive connection, on which requests follow one another. Load comes from many clients.
pub struct Client {
    addr: SocketAddr,
    headers: HeaderMap,
    timeout: Duration,
    /// And when it was last used.
    connection: Mutex<Option<(SendRequest<Full<Bytes>>, Instant)>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers as received.
    pub headers: HeaderMap,
    /// Body as received, not decompressed.
    pub body: Bytes,
}

impl Response {
    /// The body read as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body read as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// For a base such as `http://127.0.0.1:8080`; without a path.
    pub fn new(base: &str) -> Result<Self> {
        let authority = base.strip_prefix("http://").context("only http:// is spoken here")?;
        Ok(Self::at(authority.trim_end_matches('/').parse().with_context(|| format!("address {authority}"))?))
    }

    /// For an address.
    pub fn at(addr: SocketAddr) -> Self {
        let (headers, timeout) = (HeaderMap::new(), Duration::from_secs(60));
        Self { addr, headers, timeout, connection: Mutex::new(None) }
    }

    /// The same for another address, with the same headers.
    pub fn elsewhere(&self, addr: SocketAddr) -> Self {
        Self { addr, headers: self.headers.clone(), timeout: self.timeout, connection: Mutex::new(None) }
    }

    /// Sends this header with every request.
    ///
    /// # Panics
    /// When name or value cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(header_name(name).unwrap(), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Sends `Authorization: Bearer token` with every request.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// How long a whole request may take (60 s unless said otherwise). Afterwards its outcome is unknown.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], Bytes::new()).await
    }

    /// POST.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        self.request("POST", path, headers, body).await
    }

    /// POST of a JSON value.
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Result<Response> {
        self.post(path, &[("content-type", "application/json")], serde_json::to_vec(body)?).await
    }

    /// Any request. An error means that the outcome is unknown, unless nothing could be sent at all.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::from_bytes(method.as_bytes())?;
        *request.uri_mut() = path.parse().with_context(|| format!("path {path}"))?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(HOST, HeaderValue::from_str(&self.addr.to_string())?);
        for (name, value) in headers {
            request.headers_mut().insert(header_name(name)?, HeaderValue::from_str(value)?);
        }
        tokio::time::timeout(self.timeout, self.send(request))
            .await
            .map_err(|_| anyhow!("no answer from {} within {:?}", self.addr, self.timeout))?
            .with_context(|| format!("{method} {path} at {}", self.addr))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response> {
        let mut slot = self.connection.lock().await;
        // Taken out, so that a request given up half way does not leave its connection to the next one.
        let kept = match slot.take() {
            Some((mut kept, used)) if used.elapsed() < KEPT => kept.ready().await.is_ok().then_some(kept),
            _ => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let retry = request.clone();
        let answer = match sender.send_request(request).await {
            // The server closed the idle connection and nothing was sent on it.
            Err(error) if error.is_canceled() => {
                sender = self.connect().await?;
                sender.send_request(retry).await?
            }
            answer => answer?,
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        *slot = Some((sender, Instant::now()));
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The request in flight reports a broken connection.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }
}

fn header_name(name: &str) -> Result<HeaderName> {
    Ok(HeaderName::from_bytes(name.as_bytes())?)
}

/// Sends these very bytes on a new connection and reads until the server closes it; for malformed requests and
/// half ones (`close` ends our sending side, else it stays open).
pub async fn raw(addr: SocketAddr, bytes: &[u8], close: bool, limit: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut answer = Vec::new();
    let exchange = async {
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        if close {
            let _ = stream.shutdown().await;
        }
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(limit, exchange)
        .await
        .with_context(|| format!("{addr} kept the connection open"))?;
    Ok(answer)
}
