//! Which server of a Redis Cluster has which keys: read from any of them, and again after every sign of a change.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::redis::commands;
use crate::redis::connection::{client, connect};
use crate::redis::error::unexpected_reply;

/// A server that does not answer within it is passed over, and asked last from then on.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// However many connections break, the map is read no more often.
const READ_EVERY: Duration = Duration::from_millis(100);
/// Read again after so long without a sign, so that servers that were added or removed are known.
const MAP_LIFE: Duration = Duration::from_secs(30);

/// One of the 16,384 shares of a cluster's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u16);

impl Slot {
    /// Keys with the same hash tag, the part in braces, have the same slot.
    pub(crate) fn of(key: &str) -> Slot {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        Slot(crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % 16_384)
    }
}

/// CRC-16/XMODEM, as Redis computes slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

pub(crate) struct Slots {
    info: ConnectionInfo,
    seeds: Vec<ConnectionAddr>,
    ask_timeout: Duration,
    map: Mutex<Map>,
}

#[derive(Default)]
struct Map {
    ranges: Vec<(RangeInclusive<u16>, ConnectionAddr)>,
    /// Told by servers since the ranges were read.
    moved: HashMap<u16, ConnectionAddr>,
    /// Servers to ask: first the one that answered last.
    known: VecDeque<ConnectionAddr>,
    read_at: Option<Instant>,
    suspect: bool,
}

impl Slots {
    pub(crate) fn new(info: ConnectionInfo, seeds: Vec<ConnectionAddr>, patience: Duration) -> Arc<Slots> {
        let map = Map { known: seeds.iter().cloned().collect(), ..Map::default() };
        Arc::new(Slots { info, seeds, ask_timeout: ASK_TIMEOUT.max(patience), map: Mutex::new(map) })
    }

    /// The master that has the slot, as far as is known.
    pub(crate) async fn owner(&self, slot: Slot) -> RedisResult<ConnectionAddr> {
        let mut map = self.map.lock().await;
        self.renew(&mut map).await?;
        let owner = map.moved.get(&slot.0).or_else(|| {
            let range = map.ranges.iter().find(|(slots, _)| slots.contains(&slot.0));
            range.map(|(_, owner)| owner)
        });
        owner.cloned().ok_or_else(|| (ErrorKind::ClusterConnectionNotFound, "no server has the slot").into())
    }

    /// Every master that has slots.
    pub(crate) async fn masters(&self) -> RedisResult<Vec<ConnectionAddr>> {
        let mut map = self.map.lock().await;
        self.renew(&mut map).await?;
        let mut masters = Vec::new();
        for master in map.ranges.iter().map(|(_, owner)| owner).chain(map.moved.values()) {
            if !masters.contains(master) {
                masters.push(master.clone());
            }
        }
        Ok(masters)
    }

    /// A server said where the slot is.
    pub(crate) async fn moved(&self, slot: u16, to: ConnectionAddr) {
        self.map.lock().await.moved.insert(slot, to);
    }

    /// Something failed that a change of the cluster would explain.
    pub(crate) async fn suspect(&self) {
        self.map.lock().await.suspect = true;
    }

    async fn renew(&self, map: &mut Map) -> RedisResult<()> {
        let age = map.read_at.map(|at| at.elapsed());
        if age.is_some_and(|age| age < if map.suspect { READ_EVERY } else { MAP_LIFE }) {
            return Ok(());
        }
        let mut last = None;
        for _ in 0..map.known.len() {
            let Some(server) = map.known.front().cloned() else { break };
            match self.ask(&server).await {
                Ok((ranges, servers)) => {
                    let others = servers.into_iter().chain(self.seeds.iter().cloned());
                    map.known = others.fold(VecDeque::from([server]), |mut known, other| {
                        if !known.contains(&other) {
                            known.push_back(other);
                        }
                        known
                    });
                    (map.ranges, map.read_at, map.suspect) = (ranges, Some(Instant::now()), false);
                    map.moved.clear();
                    return Ok(());
                }
                Err(error) => {
                    last = Some(error);
                    map.known.rotate_left(1);
                }
            }
        }
        Err(last.unwrap_or_else(|| (ErrorKind::ClusterConnectionNotFound, "no server is known").into()))
    }

    async fn ask(&self, server: &ConnectionAddr) -> RedisResult<(Ranges, Vec<ConnectionAddr>)> {
        let client = client(&self.info, server, ProtocolVersion::RESP2)?;
        let mut connection = connect(&client, self.ask_timeout, self.ask_timeout).await?;
        let mut replies = connection.req_packed_commands(&commands::slots(), 0, 1).await?;
        let reply = replies.pop().ok_or_else(unexpected_reply)?.extract_error()?;
        parse(reply, server).filter(|(ranges, _)| !ranges.is_empty()).ok_or_else(unexpected_reply)
    }
}

type Ranges = Vec<(RangeInclusive<u16>, ConnectionAddr)>;

/// The masters of each range, and all servers, from the reply of the server `asked`.
fn parse(reply: Value, asked: &ConnectionAddr) -> Option<(Ranges, Vec<ConnectionAddr>)> {
    let Value::Array(items) = reply else { return None };
    let (mut ranges, mut servers) = (Vec::new(), Vec::new());
    for item in items {
        let Value::Array(parts) = item else { return None };
        let [Value::Int(first), Value::Int(last), members @ ..] = parts.as_slice() else { return None };
        let members: Vec<_> = members.iter().map(|m| member(m, asked)).collect::<Option<_>>()?;
        let master = members.first()?.clone();
        ranges.push((u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?, master));
        servers.extend(members);
    }
    Some((ranges, servers))
}

fn member(member: &Value, asked: &ConnectionAddr) -> Option<ConnectionAddr> {
    let Value::Array(parts) = member else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        _ => "",
    };
    beside(asked, host, u16::try_from(*port).ok()?)
}

/// Another server of the cluster that `server` is of; a host left open is that one's.
pub(crate) fn beside(server: &ConnectionAddr, host: &str, port: u16) -> Option<ConnectionAddr> {
    let host_or = |own: &String| if matches!(host, "" | "?") { own.clone() } else { host.to_owned() };
    match server {
        ConnectionAddr::Tcp(own, _) => Some(ConnectionAddr::Tcp(host_or(own), port)),
        ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => Some(ConnectionAddr::TcpTls {
            host: host_or(own),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        }),
        _ => None,
    }
}

/// Where a MOVED or ASK sends us: the slot and the server, from the reply of the server `asked`.
pub(crate) fn redirection(error: &RedisError, asked: &ConnectionAddr) -> Option<(u16, ConnectionAddr)> {
    let (server, slot) = error.redirect_node()?;
    let (host, port) = server.rsplit_once(':')?;
    Some((slot, beside(asked, host, port.parse().ok()?)?))
}
