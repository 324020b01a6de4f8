//! `--check-health`: what a container's health check runs, since its image holds no other program to ask with.

use crate::settings::Http;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer to `/health` takes, which asks no dependency.
const PATIENCE: Duration = Duration::from_secs(3);
/// `HTTP/1.1 200`
const HEAD: usize = 12;

/// Why the server is not healthy, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("{0}: {1}")]
    Unreachable(SocketAddr, #[source] io::Error),
    #[error("{0} answered {1:?}")]
    Unhealthy(SocketAddr, String),
}

/// Asks the server of these settings for `/health`.
pub fn healthy(http: &Http) -> Result<(), ProbeError> {
    // The internal one is never encrypted.
    let address = match http.tls {
        None => SocketAddr::new(reachable(http.host), http.port),
        Some(_) => SocketAddr::new(reachable(http.internal_addr.ip()), http.internal_addr.port()),
    };
    let head = ask(address).map_err(|error| ProbeError::Unreachable(address, error))?;
    match &head {
        b"HTTP/1.1 200" => Ok(()),
        other => Err(ProbeError::Unhealthy(address, String::from_utf8_lossy(other).into_owned())),
    }
}

/// Whoever listens on every address is asked on the loopback one.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn ask(address: SocketAddr) -> io::Result<[u8; HEAD]> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; HEAD];
    stream.read_exact(&mut head)?;
    Ok(head)
}
