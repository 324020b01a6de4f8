//! A queue of any kind, a producer, and owners that read and report as the worker does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use domain::Partition;
use queue::Queue;
use queue::local::{LocalConfig, LocalQueue};
use queue::numbering::RENEW_AFTER;
use queue::producer::{Outgoing, Producer, SendError};
use queue::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use queue::receipts::{ReceiptMessage, Receipts};
use queue::redis::{Client, ProducerConfig, RedisQueue};
use queue::reporter::Reporter;
use testkit::{Direction, FaultProxy, Redis, RedisCluster};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::support::{config, eventually, frame_named, int, names, soon};

/// Loopback too, and not where the servers listen.
const PROXY_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redis,
    /// A Redis Cluster of three masters.
    Cluster,
    /// As [`Kind::Redis`] and [`Kind::Cluster`], written with fred.
    #[cfg(feature = "fred")]
    Fred,
    #[cfg(feature = "fred")]
    FredCluster,
    Local,
}

pub struct Setup {
    pub partitions: u16,
    pub queue_bytes: usize,
    pub renew_after: Duration,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { partitions: 1, queue_bytes: 2 << 20, renew_after: RENEW_AFTER }
    }
}

/// A request under way.
pub type Request = JoinHandle<Result<(), SendError>>;

pub struct Rig {
    pub queue: Arc<dyn Queue>,
    pub producer: Arc<dyn Producer>,
    servers: Servers,
    /// Between the servers and the producer.
    proxies: Vec<FaultProxy>,
    partitions: u16,
}

enum Servers {
    None,
    One(Redis),
    Cluster(RedisCluster),
}

impl Kind {
    pub async fn rig(self) -> Rig {
        self.rig_with(Setup::default()).await
    }

    pub async fn rig_with(self, setup: Setup) -> Rig {
        let Setup { partitions, queue_bytes, renew_after } = setup;
        if self == Kind::Local {
            let config = LocalConfig { queue_bytes, renew_after, ..LocalConfig::new(partitions) };
            let queue: Arc<dyn Queue> = Arc::new(LocalQueue::with(config));
            let (producer, servers, proxies) = (Arc::from(queue.producer()), Servers::None, Vec::new());
            return Rig { queue, producer, servers, proxies, partitions };
        }
        let mut proxies = Vec::new();
        let (url, through, servers) = if !self.is_cluster() {
            let redis = Redis::start().await.unwrap();
            proxies.push(FaultProxy::start(redis.addr()).await.unwrap());
            (redis.url(), redis.url_at(proxies[0].addr()), Servers::One(redis))
        } else {
            let cluster = RedisCluster::start().await.unwrap();
            // The servers name each other by port only: who comes through a proxy is sent to the next one.
            for master in &cluster.masters {
                let addr = (PROXY_HOST, master.addr().port()).into();
                proxies.push(FaultProxy::start_at(addr, master.addr()).await.unwrap());
            }
            (cluster.url(), cluster.url_at(&PROXY_HOST.to_string()), Servers::Cluster(cluster))
        };
        let config = |url: &str| {
            let client = self.client();
            ProducerConfig { partitions, queue_bytes, renew_after, client, ..config(url) }
        };
        let through = RedisQueue::with(config(&through)).unwrap();
        let queue: Arc<dyn Queue> = Arc::new(RedisQueue::with(config(&url)).unwrap());
        Rig { producer: Arc::from(through.producer()), queue, servers, proxies, partitions }
    }
}

impl Kind {
    fn is_cluster(self) -> bool {
        match self {
            Kind::Cluster => true,
            #[cfg(feature = "fred")]
            Kind::FredCluster => true,
            _ => false,
        }
    }

    fn client(self) -> Client {
        match self {
            #[cfg(feature = "fred")]
            Kind::Fred | Kind::FredCluster => Client::Fred,
            _ => Client::Redis,
        }
    }
}

impl Rig {
    /// Nothing is acknowledged until [`Rig::release`].
    pub fn hold(&self) {
        self.proxies.iter().for_each(|proxy| proxy.stall(Direction::ToClient));
    }

    /// From now on everything is acknowledged: by the server, or by owners that apply whatever comes.
    pub fn release(&self) {
        self.proxies.iter().for_each(FaultProxy::heal);
        if matches!(self.servers, Servers::None) {
            for partition in (0..self.partitions).map(Partition) {
                self.keep_applying(partition);
            }
        }
    }

    /// Owns a partition until the test ends.
    pub fn keep_applying(&self, partition: Partition) {
        let mut owner = self.owner(partition, EntryId::ZERO);
        tokio::spawn(async move {
            loop {
                if let Read::Entries(entries) = owner.reader.next(1000, BLOCK_MAX).await.unwrap() {
                    owner.report(&entries, &[]).await;
                }
            }
        });
    }

    pub fn request(&self, frames: Vec<Outgoing>) -> Request {
        let producer = Arc::clone(&self.producer);
        tokio::spawn(async move { producer.send(frames, soon()).await })
    }

    /// Sends one frame and returns when an owner can read it.
    pub async fn put(&self, name: &str, events: u32) -> Request {
        self.put_in(Partition(0), name, events).await
    }

    pub async fn put_in(&self, partition: Partition, name: &str, events: u32) -> Request {
        let request = self.request(vec![Outgoing { partition, ..frame_named(name, events) }]);
        eventually("the frame can be read", || async {
            let all = self.all(partition).await;
            all.iter().flat_map(names).any(|n| n == name)
        })
        .await;
        request
    }

    /// Everything there is to read.
    pub async fn all(&self, partition: Partition) -> Vec<Entry> {
        let mut reader = self.queue.reader(partition, EntryId::ZERO);
        let mut all = Vec::new();
        while let Read::Entries(entries) = reader.next(1000, Duration::ZERO).await.unwrap() {
            all.extend(entries);
        }
        all
    }

    pub fn owner(&self, partition: Partition, from: EntryId) -> Owner {
        let (reader, reporter) = (self.queue.reader(partition, from), self.queue.reporter());
        Owner { partition, reader, reporter }
    }

    /// Receipts that are told from now on.
    pub async fn receipts(&self) -> Box<dyn Receipts> {
        let receipts = self.queue.receipts();
        let redis = match &self.servers {
            Servers::None => return receipts,
            Servers::One(redis) => redis,
            Servers::Cluster(cluster) => cluster.owner(receipts.address()).await.unwrap().unwrap(),
        };
        eventually("subscribed", || async {
            let reply = redis.command(&["PUBSUB", "NUMSUB", receipts.address()]).await.unwrap();
            let ::redis::Value::Array(mut pair) = reply else { panic!("a pair") };
            int(pair.remove(1)) == 1
        })
        .await;
        receipts
    }
}

/// Plays the worker of a partition.
pub struct Owner {
    pub partition: Partition,
    pub reader: Box<dyn Reader>,
    pub reporter: Box<dyn Reporter>,
}

impl Owner {
    /// At least one entry, at most `max`.
    pub async fn read(&mut self, max: usize) -> Vec<Entry> {
        let deadline = soon();
        loop {
            match timeout_at(deadline, self.reader.next(max, BLOCK_MAX)).await.unwrap().unwrap() {
                Read::Entries(entries) => return entries,
                Read::Idle => {}
                Read::AnchorLost => panic!("the stream is another one"),
            }
        }
    }

    /// As after the commit of these entries.
    pub async fn report(&mut self, entries: &[Entry], receipts: &[ReceiptMessage]) {
        let position = entries.last().unwrap().id;
        self.reporter.report(self.partition, &totals(entries), receipts, position, Duration::ZERO).await;
    }

    /// As an owner that has only just loaded what is applied.
    pub async fn report_totals(&mut self, totals: &[(Uuid, u64)]) {
        self.reporter.report(self.partition, totals, &[], EntryId::ZERO, Duration::ZERO).await;
    }

    pub async fn apply(&mut self, max: usize) -> Vec<Entry> {
        let entries = self.read(max).await;
        self.report(&entries, &[]).await;
        entries
    }
}

/// Of each writer, its total after these entries.
pub fn totals(entries: &[Entry]) -> Vec<(Uuid, u64)> {
    let totals: BTreeMap<Uuid, u64> = entries.iter().map(|e| (e.writer, e.total)).collect();
    totals.into_iter().collect()
}
