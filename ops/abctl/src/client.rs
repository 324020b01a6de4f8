//! A small HTTP/1.1 client over one kept-alive connection, on which requests follow one another. No error says a key.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LINK};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Answers longer than this are refused: none of ours is.
const ANSWER_MAX: usize = 64 << 20;

pub struct Client {
    /// `host:port`.
    authority: String,
    headers: HeaderMap,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer that is read as it comes.
pub struct Download {
    authority: String,
    timeout: Duration,
    body: Incoming,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// Where the next page of a list is (`Link`, RFC 8288), if that is a path of the same service.
    pub next_page: Option<String>,
    pub body: Bytes,
}

/// What of a path segment is sent as it is; the rest as `%XX`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A user's text as one segment of a path, or one value of a query.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The path in `</path?query>; rel="next"`: our key goes to no other host.
fn next_page(link: &str) -> Option<String> {
    let (path, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    let is_path = path.starts_with('/') && !path.starts_with("//");
    (is_next && is_path).then(|| path.to_owned())
}

/// Establishing a connection takes longer than this only when a firewall swallows it.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the address of the service: {0}")]
    Base(#[from] BaseError),
    #[error("{0} cannot stand in a request")]
    Request(&'static str),
    /// Nothing was sent.
    #[error("nothing answers at http://{0}: is `abctl up` running? AB_URL chooses another address")]
    Unreachable(String, #[source] io::Error),
    /// Nothing is known of what the server did with the request.
    #[error("no answer from {0}")]
    Connection(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer from {0} within {1:?}")]
    Timeout(String, Duration),
}

/// Why an address is none that requests can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    #[error("must be a base address such as http://127.0.0.1:8008, without a path")]
    Shape,
    #[error(
        "https:// is not spoken by abctl, TLS ends at a proxy in front: give the http:// address behind it, or a \
         tunnel to it"
    )]
    Tls,
    #[error("must not hold a user or password: keys have variables of their own")]
    Credentials,
}

/// `host:port` of a base.
fn authority(base: &str) -> Result<String, BaseError> {
    let uri: Uri = base.parse().map_err(|_| BaseError::Shape)?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(BaseError::Tls),
        _ => return Err(BaseError::Shape),
    }
    let authority = uri.authority().ok_or(BaseError::Shape)?;
    if authority.as_str().contains('@') {
        return Err(BaseError::Credentials);
    }
    if authority.host().is_empty() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(BaseError::Shape);
    }
    Ok(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

impl Client {
    /// For a base such as `http://127.0.0.1:8008`.
    pub fn new(base: &str, token: Option<&str>) -> Result<Client, HttpError> {
        let authority = authority(base)?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&authority).map_err(|_| BaseError::Shape)?;
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| HttpError::Request("the token"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Client { authority, headers, timeout: Duration::from_secs(60), connection: None })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// How long a whole request may take (60 s unless said otherwise); afterwards its outcome is unknown.
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// The answer as it comes if it is a success, on a connection of its own; the timeout is of each part.
    pub async fn download(&mut self, path: &str) -> Result<Result<Download, Answer>, HttpError> {
        let request = self.composed(Method::GET, path, &[], Bytes::new())?;
        let (authority, timeout) = (self.authority.clone(), self.timeout);
        let begin = async {
            let mut sender = self.connect().await?;
            let answer = sender.send_request(request).await;
            answer.map_err(|e| HttpError::Connection(self.authority.clone(), e.into()))
        };
        let begun = tokio::time::timeout(timeout, begin).await;
        let answer = begun.map_err(|_| HttpError::Timeout(authority.clone(), timeout))??;
        if answer.status() == StatusCode::OK {
            return Ok(Ok(Download { authority, timeout, body: answer.into_body() }));
        }
        let whole = tokio::time::timeout(timeout, self.collected(answer)).await;
        Ok(Err(whole.map_err(|_| HttpError::Timeout(authority, timeout))??))
    }

    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, HttpError> {
        self.request(Method::POST, path, headers, body.into()).await
    }

    pub async fn delete(&mut self, path: &str) -> Result<Answer, HttpError> {
        self.request(Method::DELETE, path, &[], Bytes::new()).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let request = self.composed(method, path, headers, body)?;
        let limit = self.timeout;
        match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HttpError::Timeout(self.authority.clone(), limit)),
        }
    }

    fn composed(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| HttpError::Request("the path"))?;
        *request.headers_mut() = self.headers.clone();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| HttpError::Request("a header"))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(request)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let broken = |error: Box<dyn std::error::Error + Send + Sync>, authority: &str| {
            HttpError::Connection(authority.to_owned(), error)
        };
        // Taken out, so that a request given up half way does not leave its connection to the next one.
        let kept = match self.connection.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let answer = sender.send_request(request).await.map_err(|e| broken(e.into(), &self.authority))?;
        let answer = self.collected(answer).await?;
        self.connection = Some(sender);
        Ok(answer)
    }

    async fn collected(&self, answer: Response<Incoming>) -> Result<Answer, HttpError> {
        let (head, body) = answer.into_parts();
        let retry_after = head.headers.get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        #[allow(clippy::disallowed_methods)] // limited
        let body = http_body_util::Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|e| HttpError::Connection(self.authority.clone(), e))?.to_bytes();
        let retry_after = retry_after.map(Duration::from_secs);
        let next_page = head.headers.get(LINK).and_then(|link| next_page(link.to_str().ok()?));
        Ok(Answer { status: head.status.as_u16(), retry_after, next_page, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let unreachable = |error| HttpError::Unreachable(self.authority.clone(), error);
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(&self.authority)).await {
            Ok(stream) => stream.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(unreachable)?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            opened.map_err(|e| HttpError::Connection(self.authority.clone(), e.into()))?;
        // A broken connection is reported by the request that is under way on it.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }
}

impl Download {
    /// The next part; `None` at the end of the whole answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
            let frame = frame.map_err(|_| HttpError::Timeout(self.authority.clone(), self.timeout))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|e| HttpError::Connection(self.authority.clone(), e.into()))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

impl Answer {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
