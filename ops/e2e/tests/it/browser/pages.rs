//! The site that a page comes from: an origin of its own, with our client library beside the page.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>shop</title><link rel="icon" href="data:,">
<script type="module">import { Client } from "/abstream.js"; window.Client = Client; document.title = "ready";</script>"#;
const CLIENT: &str = include_str!("../../../../clients/js/abstream.js");

/// Serves until it is dropped.
pub struct Pages {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Pages {
    pub async fn start() -> Pages {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        Pages { addr, serving }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request a connection, which is closed afterwards.
async fn answer(mut stream: TcpStream) {
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => head.extend_from_slice(&chunk[..read]),
            // Browsers open connections that they do not use.
            _ => return,
        }
    }
    let (kind, body) = match head.starts_with(b"GET /abstream.js ") {
        true => ("text/javascript", CLIENT),
        false => ("text/html; charset=utf-8", PAGE),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}
