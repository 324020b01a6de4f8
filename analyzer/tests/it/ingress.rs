//! An ingress that serves an analyzer under a path of its own, and nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Ingress {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Ingress {
    /// `prefix` without a slash at its end.
    pub async fn before(analyzer: SocketAddr, prefix: &'static str) -> Ingress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let known = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known = Arc::clone(&known);
                // A browser leaves streams when it likes.
                tokio::spawn(async move { drop(pass(stream, analyzer, prefix, &known).await) });
            }
        });
        Ingress { addr, asked, serving }
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One request without a body, after which the connection ends.
async fn pass(
    stream: TcpStream,
    analyzer: SocketAddr,
    prefix: &str,
    known: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await? > 2 {
        head.push(std::mem::take(&mut line));
    }
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return Ok(()) };
    known.lock().unwrap().push(path.to_owned());
    let Some(within) = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')) else {
        return stream.write_all(b"HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    };
    let mut forward = format!("GET {within} HTTP/1.1\r\nconnection: close\r\n");
    let kept = |line: &&String| !line.to_ascii_lowercase().starts_with("connection:");
    forward.extend(head.iter().skip(1).filter(kept).map(String::as_str));
    let mut upstream = TcpStream::connect(analyzer).await?;
    upstream.write_all(format!("{forward}\r\n").as_bytes()).await?;
    copy(&mut upstream, &mut stream).await?;
    stream.shutdown().await
}
