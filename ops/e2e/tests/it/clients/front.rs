//! A server in front of the gateway that does to each request what a test says.

use e2e::patience;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use testkit::http::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    Forwarded,
    /// With a `Retry-After` in seconds.
    Answered(u16, Option<u32>),
    /// Nothing is said.
    Dropped,
    /// The gateway did it, nobody is told.
    Swallowed,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path with query.
    pub line: String,
    pub content_type: String,
    pub events: Vec<Value>,
}

impl Seen {
    pub fn keys(&self) -> Vec<&str> {
        self.events.iter().map(|event| event["idempotency_key"].as_str().unwrap()).collect()
    }
}

pub struct Front {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

type Rule = dyn Fn(usize, &Seen) -> Fate + Send + Sync;

impl Front {
    /// `rule` is told how many requests came before.
    pub async fn start(
        gateway: SocketAddr,
        rule: impl Fn(usize, &Seen) -> Fate + Send + Sync + 'static,
    ) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, rule): (Arc<Mutex<Vec<Seen>>>, Arc<Rule>) = (Arc::default(), Arc::new(rule));
        let known = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, gateway, Arc::clone(&known), Arc::clone(&rule)));
            }
        });
        Front { addr, seen, serving }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request a connection, which is closed afterwards.
async fn answer(mut stream: TcpStream, gateway: SocketAddr, known: Arc<Mutex<Vec<Seen>>>, rule: Arc<Rule>) {
    let Some((head, body)) = read(&mut stream).await else { return };
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let text: Value = serde_json::from_slice(&body).unwrap();
    let content_type = header("content-type").unwrap_or_default();
    let seen = Seen { line, content_type, events: text["events"].as_array().unwrap().clone() };
    let fate = {
        let mut known = known.lock().unwrap();
        known.push(seen.clone());
        rule(known.len() - 1, &seen)
    };
    let path = seen.line.trim_start_matches("POST ");
    let forward = async || {
        let authorization = header("authorization");
        let mut headers = vec![("content-type", seen.content_type.as_str())];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        // What is forwarded arrives.
        patience::post(&Client::at(gateway), path, &headers, body.clone()).await.unwrap()
    };
    let (status, retry_after, body) = match fate {
        Fate::Dropped => return,
        Fate::Swallowed => {
            assert_eq!(forward().await.status, 202);
            return;
        }
        Fate::Answered(status, retry_after) => (status, retry_after, b"{}".to_vec()),
        Fate::Forwarded => {
            let answer = forward().await;
            (answer.status, None, answer.body.to_vec())
        }
    };
    let retry_after = retry_after.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} Fine\r\ncontent-type: application/json\r\nconnection: close\r\n{retry_after}content-length: {}\r\n\r\n",
        body.len()
    );
    // The client may have gone.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}

/// Head and body; `None` when the client goes away first.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().filter_map(|line| line.split_once(": "));
            let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map(|(_, value)| value.parse().unwrap()).next().unwrap();
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes[end + 4..end + 4 + length].to_vec()));
            }
        }
        match stream.read(&mut chunk).await {
            Ok(1..) if bytes.len() > 8 << 20 => return None,
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
