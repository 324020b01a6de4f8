//! A Redis Cluster of our own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::{FromRedisValue, Value};
use tokio::time::{Instant, sleep};

use crate::{Redis, os, ports};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// A master waits two seconds before it takes writes; replicas copy meanwhile.
const FORM_LIMIT: Duration = Duration::from_secs(60);

/// Three masters that share all slots, on 127.0.0.1, and if wanted a replica of each; stopped and removed when dropped.
pub struct RedisCluster {
    /// The masters, as they were at the start.
    pub masters: Vec<Redis>,
    /// The replica of each, if there are any.
    pub replicas: Vec<Redis>,
}

impl RedisCluster {
    /// Masters only. They name each other without a host (`cluster-preferred-endpoint-type`), so that whoever comes by
    /// another address, a proxy's, stays with it.
    pub async fn start() -> Result<Self> {
        Self::form(false, &[("cluster-preferred-endpoint-type", "unknown-endpoint")]).await
    }

    /// Masters and replicas. A master silent for `node_timeout` is replaced; a short one makes a busy machine's pause a
    /// failover.
    pub async fn start_replicated(node_timeout: Duration) -> Result<Self> {
        let node_timeout = node_timeout.as_millis().to_string();
        // A replica that has been without its master for long takes over all the same.
        let settings =
            [("cluster-node-timeout", node_timeout.as_str()), ("cluster-replica-validity-factor", "0")];
        Self::form(true, &settings).await
    }

    async fn form(replicated: bool, settings: &[(&str, &str)]) -> Result<Self> {
        let (masters, replicas) = tokio::try_join!(servers(MASTERS, settings), async {
            if replicated { servers(MASTERS, settings).await } else { Ok(Vec::new()) }
        })?;
        let cluster = Self { masters, replicas };
        for (i, master) in cluster.masters.iter().enumerate() {
            let (first, end) = (i * SLOTS / MASTERS, (i + 1) * SLOTS / MASTERS);
            let range = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()];
            master.command(&range).await?;
            master.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]).await?;
        }
        for (i, one) in cluster.all().enumerate() {
            for other in cluster.all().skip(i + 1) {
                let bus = other.setting("cluster-port").context("a server of a cluster")?;
                one.command(&["CLUSTER", "MEET", "127.0.0.1", &other.addr().port().to_string(), bus]).await?;
            }
        }
        cluster.wait_for_acquaintance().await?;
        for (master, replica) in cluster.masters.iter().zip(&cluster.replicas) {
            replica.command(&["CLUSTER", "REPLICATE", &id(master).await?]).await?;
        }
        for server in cluster.all() {
            let up = |info: &str| info.lines().any(|line| line == "cluster_state:ok");
            wait_until("the cluster is up", server, &["CLUSTER", "INFO"], up).await?;
        }
        for replica in &cluster.replicas {
            let up = |info: &str| info.lines().any(|line| line == "master_link_status:up");
            wait_until("the replica has copied", replica, &["INFO", "replication"], up).await?;
        }
        Ok(cluster)
    }

    /// Names every master.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The same ports on another host.
    pub fn url_at(&self, host: &str) -> String {
        let servers = self.masters.iter().map(|m| format!("{host}:{}", m.addr().port()));
        format!("redis+cluster://{}", servers.collect::<Vec<_>>().join(","))
    }

    /// Every server.
    pub fn all(&self) -> impl Iterator<Item = &Redis> {
        self.masters.iter().chain(&self.replicas)
    }

    /// The server that has the key, by what those say that answer; none while they do not agree.
    pub async fn owner(&self, key: &str) -> Result<Option<&Redis>> {
        let mut owner: Option<i64> = None;
        for server in self.all() {
            let Ok(slot) = server.command(&["CLUSTER", "KEYSLOT", key]).await else { continue };
            let slots = server.command(&["CLUSTER", "SLOTS"]).await?;
            let port = port_of_owner(slots, i64::from_redis_value(slot)?);
            if port.is_none() || owner.is_some_and(|owner| Some(owner) != port) {
                return Ok(None);
            }
            owner = port;
        }
        Ok(self.all().find(|server| Some(i64::from(server.addr().port())) == owner))
    }

    /// Gives the slot of the key, with all that is in it, to another master, while both serve it.
    pub async fn move_slot(&self, key: &str, to: &Redis) -> Result<()> {
        let from = self.owner(key).await?.context("nobody has the key")?;
        if from.addr() == to.addr() {
            bail!("{key} is there already");
        }
        let slot = i64::from_redis_value(from.command(&["CLUSTER", "KEYSLOT", key]).await?)?.to_string();
        let (source, target) = (id(from).await?, id(to).await?);
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await?;
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await?;
        let port = to.addr().port().to_string();
        loop {
            // One at a time: clients meet every mixture of keys that have moved and keys that have not.
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await?;
            let Some(key) = Vec::<String>::from_redis_value(keys)?.pop() else { break };
            from.command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "30000"]).await?;
        }
        to.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await?;
        for server in self.all().filter(|server| server.addr() != to.addr()) {
            // A replica learns it from its master; a server that is down when it is back.
            let _ = server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
        }
        Ok(())
    }

    /// From now on its replica gets nothing of what a master takes; both know each other as before.
    pub async fn stop_replication(&self, master: &Redis) -> Result<()> {
        master.command(&["ACL", "SETUSER", "default", "-psync", "-sync"]).await?;
        master.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        Ok(())
    }

    /// Kills a master and returns when its replica, or any other server, has its place.
    pub async fn fail_over(&self, key: &str) -> Result<&Redis> {
        let master = self.owner(key).await?.context("nobody has the key")?;
        master.kill().await?;
        let deadline = Instant::now() + FORM_LIMIT;
        while self.owner(key).await?.is_none_or(|owner| owner.addr() == master.addr()) {
            if Instant::now() > deadline {
                bail!("no replica was promoted within {FORM_LIMIT:?}");
            }
            sleep(os::POLL_EVERY).await;
        }
        Ok(master)
    }

    /// Until each knows all the others by their ids, which it learns some time after their addresses.
    async fn wait_for_acquaintance(&self) -> Result<()> {
        let mut ids = Vec::new();
        for server in self.all() {
            ids.push(id(server).await?);
        }
        for server in self.all() {
            let all = |nodes: &str| ids.iter().all(|id| nodes.contains(id.as_str()));
            wait_until("the servers know each other", server, &["CLUSTER", "NODES"], all).await?;
        }
        Ok(())
    }
}

fn port_of_owner(slots: Value, slot: i64) -> Option<i64> {
    Vec::<Vec<Value>>::from_redis_value(slots).ok()?.into_iter().find_map(|range| match range.as_slice() {
        [Value::Int(first), Value::Int(last), Value::Array(master), ..]
            if (first..=last).contains(&&slot) =>
        {
            master.get(1).and_then(|port| i64::from_redis_value(port.clone()).ok())
        }
        _ => None,
    })
}

async fn servers(count: usize, settings: &[(&str, &str)]) -> Result<Vec<Redis>> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let bus = ports::free_port()?.to_string();
        let own = [
            ("cluster-enabled", "yes"),
            ("cluster-config-file", "nodes.conf"),
            ("cluster-port", bus.as_str()),
            ("repl-diskless-sync-delay", "0"),
        ];
        servers.push(Redis::start_with(&[&own, settings].concat()).await?);
    }
    Ok(servers)
}

async fn id(server: &Redis) -> Result<String> {
    Ok(String::from_redis_value(server.command(&["CLUSTER", "MYID"]).await?)?)
}

async fn wait_until(
    what: &str,
    server: &Redis,
    command: &[&str],
    holds: impl Fn(&str) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + FORM_LIMIT;
    loop {
        let text = String::from_redis_value(server.command(command).await?)?;
        if holds(&text) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {FORM_LIMIT:?}: {text}\n{}", server.log());
        }
        sleep(os::POLL_EVERY).await;
    }
}
