//! A small HTTP/1.1 client over one kept-alive connection, on which requests follow one another.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
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

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0} is not a base such as http://127.0.0.1:8008 (https:// ends at a proxy)")]
    Base(String),
    #[error("{0} cannot stand in a request")]
    Request(&'static str),
    /// Nothing is known of what the server did with the request.
    #[error("no answer from {0}")]
    Connection(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer from {0} within {1:?}")]
    Timeout(String, Duration),
}

impl Client {
    /// For a base such as `http://127.0.0.1:8008`, without a path.
    pub fn new(base: &str, token: Option<&str>) -> Result<Client, HttpError> {
        let bad = || HttpError::Base(base.to_owned());
        let authority = base.strip_prefix("http://").ok_or_else(bad)?.trim_end_matches('/');
        if authority.is_empty() || authority.contains('/') {
            return Err(bad());
        }
        let authority =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| bad())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| HttpError::Request("the token"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Client { authority, headers, timeout: Duration::from_secs(60), connection: None })
    }

    /// How long a whole request may take (60 s unless said otherwise); afterwards its outcome is unknown.
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, HttpError> {
        self.request(Method::POST, path, headers, body.into()).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| HttpError::Request("the path"))?;
        *request.headers_mut() = self.headers.clone();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| HttpError::Request("a header"))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let limit = self.timeout;
        let outcome = tokio::time::timeout(limit, self.exchange(request)).await;
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(HttpError::Connection(self.authority.clone(), error)),
            Err(_) => Err(HttpError::Timeout(self.authority.clone(), limit)),
        }
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        // Taken out, so that a request given up half way does not leave its connection to the next one.
        let kept = match self.connection.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let retry_after = head.headers.get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        #[allow(clippy::disallowed_methods)] // limited
        let body = http_body_util::Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        self.connection = Some(sender);
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Answer { status: head.status.as_u16(), retry_after, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // A broken connection is reported by the request that is under way on it.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
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
