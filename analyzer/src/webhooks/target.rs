//! Which addresses a webhook may have: those anybody could reach. Others are our own neighbours, and whoever may create
//! a webhook must not reach them through us, unless `AB_WEBHOOK_ALLOW_PRIVATE` says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use service::http::Networks;
use service::http::Uri;

/// Longer than any address that is meant.
const URL_MAX: usize = 2_000;

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    /// As in the URL, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// `host` or `host:port`, as the receiver knows itself.
    pub authority: String,
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("must be an absolute http:// or https:// address of at most {URL_MAX} characters")]
    Shape,
    #[error("must not hold a user or password")]
    Credentials,
    #[error("is https://, and this build has no TLS: build it with the feature `tls`")]
    NoTls,
    #[error("is an address that is not reachable from everywhere; AB_WEBHOOK_ALLOW_PRIVATE can permit it")]
    Private,
}

impl Target {
    pub fn parse(url: &str) -> Result<Target, BadTarget> {
        if url.len() > URL_MAX || url.contains('#') {
            return Err(BadTarget::Shape);
        }
        let uri: Uri = url.parse().map_err(|_| BadTarget::Shape)?;
        let (tls, default) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(BadTarget::Shape),
        };
        let authority = uri.authority().ok_or(BadTarget::Shape)?;
        if authority.as_str().contains('@') {
            return Err(BadTarget::Credentials);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default,
            Some(given) => given
                .strip_prefix(":")
                .and_then(|port| port.parse().ok())
                .filter(|port| *port > 0)
                .ok_or(BadTarget::Shape)?,
            None => return Err(BadTarget::Shape),
        };
        if host.is_empty() {
            return Err(BadTarget::Shape);
        }
        if tls && !cfg!(feature = "tls") {
            return Err(BadTarget::NoTls);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (host, authority) = (host.to_owned(), authority.as_str().to_owned());
        Ok(Target { tls, host, port, authority, path: path.to_owned() })
    }

    /// What can be told without asking for the name's addresses.
    pub fn checked(url: &str, allowed: &Networks) -> Result<Target, BadTarget> {
        let target = Target::parse(url)?;
        match target.host.parse() {
            Ok(address) if !permitted(address, allowed) => Err(BadTarget::Private),
            _ => Ok(target),
        }
    }

    /// The address to connect to, and to no other: asking for the name again could give another one. One that is not
    /// permitted spoils all: a public name has no private addresses.
    pub async fn resolve(&self, allowed: &Networks) -> Result<SocketAddr, Unresolved> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| Unresolved::Unknown)?.collect();
        if found.iter().any(|address| !permitted(address.ip(), allowed)) {
            return Err(Unresolved::Forbidden);
        }
        found.first().copied().ok_or(Unresolved::Unknown)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    Unknown,
    Forbidden,
}

pub fn permitted(address: IpAddr, allowed: &Networks) -> bool {
    allowed.contains(address) || global(address)
}

/// By the registries of special-purpose addresses (IANA), and what carries an IPv4 address inside by that one.
fn global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => global_v4(v4),
        IpAddr::V6(v6) => global_v6(v6),
    }
}

fn global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network, private, loopback, multicast and what is above.
        (0 | 10 | 127, ..) | (224.., ..) => true,
        // Carriers' own, link-local (clouds' metadata too), private.
        (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Protocol assignments, documentation, relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

/// Global unicast only, less what is documentation, or a tunnel that ends at an IPv4 address of the sender's choice. The
/// v4-mapped, -compatible and translated (64:ff9b::/96) forms are outside of it, so they are refused whatever they hold.
fn global_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match a {
        0x2001 => b >= 0x0200 && b != 0x0db8,
        0x2002 => false,
        0x3fff => b > 0x0fff,
        _ => a & 0xe000 == 0x2000,
    }
}
