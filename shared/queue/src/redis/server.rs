//! Where Redis is: one server, or the servers of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion, RedisResult};

use crate::QueueError;
use crate::redis::connection::client;
use crate::redis::error::failed;
use crate::redis::slots::{Slot, Slots};
use crate::redis::tls;

/// The URL, checked once; everything that connects is made from it. Clones know the same of the cluster.
#[derive(Clone)]
pub(crate) struct Server {
    info: ConnectionInfo,
    /// None: the one server has everything.
    cluster: Option<Arc<Slots>>,
    patience: Duration,
}

impl Server {
    /// `redis://host:port/db`, or `redis+cluster://host:port,host:port`: some servers of a cluster, which name the
    /// others.
    pub(crate) fn at(url: &str, patience: Duration) -> Result<Server, QueueError> {
        Server::parse(url, patience).map_err(|e| failed("read the URL", e))
    }

    fn parse(url: &str, patience: Duration) -> RedisResult<Server> {
        let Some((scheme, rest)) = url.split_once("+cluster://") else {
            return Ok(Server { info: info(url)?, cluster: None, patience });
        };
        let path = rest.rfind('@').map_or(0, |at| at + 1);
        let path = rest[path..].find(['/', '?']).map_or(rest.len(), |length| path + length);
        let (authority, path) = rest.split_at(path);
        let (credentials, hosts) =
            authority.rsplit_once('@').map_or(("", authority), |(c, hosts)| (c, hosts));
        let at = if credentials.is_empty() { "" } else { "@" };
        let servers = hosts.split(',').map(|host| info(&format!("{scheme}://{credentials}{at}{host}{path}")));
        let servers: Vec<ConnectionInfo> = servers.collect::<RedisResult<_>>()?;
        let Some(info) = servers.first().cloned() else { return Err(wrong("a cluster without a server")) };
        if info.redis_settings().db() != 0 {
            return Err(wrong("a cluster has database 0 only"));
        }
        let seeds = servers.iter().map(|server| server.addr().clone()).collect();
        Ok(Server { cluster: Some(Slots::new(info.clone(), seeds, patience)), info, patience })
    }

    /// How long something that has this limit is waited for.
    pub(crate) fn within(&self, limit: Duration) -> Duration {
        limit.max(self.patience)
    }

    /// The server that has the slot.
    pub(crate) async fn node(&self, slot: Slot) -> RedisResult<ConnectionAddr> {
        match &self.cluster {
            Some(slots) => slots.owner(slot).await,
            None => Ok(self.info.addr().clone()),
        }
    }

    /// Every server that takes writes.
    pub(crate) async fn masters(&self) -> RedisResult<Vec<ConnectionAddr>> {
        match &self.cluster {
            Some(slots) => slots.masters().await,
            None => Ok(vec![self.info.addr().clone()]),
        }
    }

    pub(crate) fn cluster(&self) -> Option<&Slots> {
        self.cluster.as_deref()
    }

    #[cfg(feature = "fred")]
    pub(crate) fn settings(&self) -> &redis::RedisConnectionInfo {
        self.info.redis_settings()
    }

    /// For a server of ours: requests and replies.
    pub(crate) fn commands(&self, node: &ConnectionAddr) -> RedisResult<Client> {
        client(&self.info, node, ProtocolVersion::RESP2)
    }

    /// The same with messages, which come as pushes: the older protocol does not have them.
    pub(crate) fn subscriptions(&self, node: &ConnectionAddr) -> RedisResult<Client> {
        client(&self.info, node, ProtocolVersion::RESP3)
    }
}

/// With TCP_NODELAY set, which the `redis` crate leaves off.
fn info(url: &str) -> RedisResult<ConnectionInfo> {
    Ok(tls::info(url)?.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn wrong(why: &'static str) -> redis::RedisError {
    (ErrorKind::InvalidClientConfig, why).into()
}
