use crate::{Answer, Failure, Transport};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

const ANSWER_MAX: usize = 4 << 20;

/// HTTP/1.1 in the clear, a connection for each request: to a proxy beside the program, or inside a cluster.
pub struct Http {
    /// `host:port`.
    authority: String,
    key: HeaderValue,
}

impl Http {
    /// For a base such as `http://127.0.0.1:8008`; an error when it is none, or the key cannot stand in a header.
    pub fn new(base: &str, key: &str) -> Result<Http, Failure> {
        let authority = base.strip_prefix("http://").ok_or("the address must begin with http://")?;
        let authority = authority.trim_end_matches('/');
        let port = if authority.contains(':') { "" } else { ":80" };
        let authority = format!("{authority}{port}");
        Ok(Http { authority, key: HeaderValue::try_from(format!("Bearer {key}"))? })
    }
}

impl Transport for Http {
    async fn post(&self, body: Vec<u8>) -> Result<Answer, Failure> {
        let request = Request::post("/api/v1/events")
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, &self.key)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The request in flight reports a broken connection.
        tokio::spawn(async { drop(connection.await) });
        let (head, body) = sender.send_request(request).await?.into_parts();
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        #[allow(clippy::disallowed_methods)] // limited
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: seconds.map(Duration::from_secs),
            body: body.into(),
        })
    }
}
