//! A Redis Cluster of our own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::{FromRedisValue, Value};
use tokio::time::{Instant, sleep};

use crate::{Redis, os, ports};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// A master waits two seconds before it takes writes; replicas copy meanwhile.
const FORM_LIMIT: Duration = Duration::from_secs(120);
/// Longer than a busy machine pauses: no server is taken for dead unless a test kills it.
const CALM: Duration = Duration::from_secs(60);

/// Three masters that share all slots, on 127.0.0.1, and if wanted a replica of each; stopped and removed when dropped.
pub struct RedisCluster {
    /// The masters, as they were at the start.
    pub masters: Vec<Redis>,
    /// The replica of each, if there are any.
    pub replicas: Vec<Redis>,
    /// After which a dead master is replaced.
    node_timeout: Duration,
}

impl RedisCluster {
    /// Masters only. They name each other without a host (`cluster-preferred-endpoint-type`), so that whoever comes by
    /// another address, a proxy's, stays with it.
    pub async fn start() -> Result<Self> {
        Self::form(None, ("cluster-preferred-endpoint-type", "unknown-endpoint")).await
    }

    /// Masters and replicas. A master that [`Self::fail_over`] killed is replaced when it was silent for `node_timeout`.
    pub async fn start_replicated(node_timeout: Duration) -> Result<Self> {
        // A replica that has been without its master for long takes over all the same.
        Self::form(Some(node_timeout), ("cluster-replica-validity-factor", "0")).await
    }

    /// With replicas if there is a time after which they take over.
    async fn form(node_timeout: Option<Duration>, setting: (&str, &str)) -> Result<Self> {
        let calm = CALM.as_millis().to_string();
        let settings = &[("cluster-node-timeout", calm.as_str()), setting];
        let (masters, replicas) = tokio::try_join!(servers(MASTERS, settings), async {
            if node_timeout.is_some() { servers(MASTERS, settings).await } else { Ok(Vec::new()) }
        })?;
        let cluster = Self { masters, replicas, node_timeout: node_timeout.unwrap_or(CALM) };
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

    /// Waits until all agree on who has the key, and it is one that will do.
    async fn agreed(&self, key: &str, will_do: impl Fn(&Redis) -> bool) -> Result<&Redis> {
        let deadline = Instant::now() + FORM_LIMIT;
        loop {
            if let Some(owner) = self.owner(key).await?.filter(|owner| will_do(owner)) {
                return Ok(owner);
            }
            if Instant::now() > deadline {
                bail!("the servers did not agree on who has {key} within {FORM_LIMIT:?}");
            }
            sleep(os::POLL_EVERY).await;
        }
    }

    /// Gives the slot of the key, with all that is in it, to another master, while both serve it. Everybody knows it
    /// then.
    pub async fn move_slot(&self, key: &str, to: &Redis) -> Result<()> {
        let from = self.agreed(key, |_| true).await?;
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
        // A word of the old owner, said before it knew, may still arrive, and is believed until the new one's does.
        self.agreed(key, |owner| owner.addr() == to.addr()).await.map(drop)
    }

    /// From now on its replica gets nothing of what a master takes; both know each other as before.
    pub async fn stop_replication(&self, master: &Redis) -> Result<()> {
        master.command(&["ACL", "SETUSER", "default", "-psync", "-sync"]).await?;
        master.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        Ok(())
    }

    /// Kills a master and returns when its replica, or any other server, has its place.
    pub async fn fail_over(&self, key: &str) -> Result<&Redis> {
        let master = self.agreed(key, |_| true).await?;
        self.replace_after(self.node_timeout).await?;
        master.kill().await?;
        self.agreed(key, |owner| owner.addr() != master.addr()).await?;
        self.replace_after(CALM).await?;
        Ok(master)
    }

    async fn replace_after(&self, silence: Duration) -> Result<()> {
        let silence = silence.as_millis().to_string();
        for server in self.all().filter(|server| server.pid().is_some()) {
            server.command(&["CONFIG", "SET", "cluster-node-timeout", &silence]).await?;
        }
        Ok(())
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
