//! The crowd: a process of its own, so that its sockets and its work are not those of who measures.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Connections from one address: a fraction of the ports there are, because those just closed stay taken for a while.
const PER_ADDRESS: usize = 2_000;
/// From one byte to the next.
const DRIP: Duration = Duration::from_secs(1);

const AT_ONCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Connections that say nothing.
    pub idle: usize,
    /// Connections that send a byte a second: half of them of a head, half of a body.
    pub dripping: usize,
}

impl Held {
    pub fn total(self) -> u64 {
        (self.idle + self.dripping) as u64
    }
}

/// Holds so many connections, a new one for each that the gateway closes, until the process is ended.
pub async fn hold(gateway: SocketAddr, held: Held) -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("raise the limit of open files")?;
    let mut connections = JoinSet::new();
    for n in 0..held.idle + held.dripping {
        // No faster than they are accepted: a system that cannot keep up leaves clients in the belief to be connected.
        if n % AT_ONCE == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let from = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(n / PER_ADDRESS).unwrap_or(u8::MAX - 1));
        connections.spawn(async move {
            loop {
                let Ok(stream) = connect(from.into(), gateway).await else {
                    tokio::time::sleep(DRIP).await;
                    continue;
                };
                match n.checked_sub(held.idle) {
                    None => idle(stream).await,
                    Some(n) => drip(stream, n % 2 == 0).await,
                }
            }
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

async fn idle(mut stream: TcpStream) {
    let _ = stream.read(&mut [0]).await;
}

/// Until the gateway has had enough of it.
async fn drip(mut stream: TcpStream, head: bool) {
    let begin = match head {
        true => "POST /api/v1/events HTTP/1.1\r\nHost: h\r\nX-Slow: ".to_owned(),
        false => format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: h\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: 1000000\r\n\r\n",
            crate::API_TOKEN
        ),
    };
    let (mut said, mut answer) = (stream.write_all(begin.as_bytes()).await, [0; 1_024]);
    while said.is_ok() {
        tokio::select! {
            _ = stream.read(&mut answer) => return,
            () = tokio::time::sleep(DRIP) => said = stream.write_all(b" ").await,
        }
    }
}
