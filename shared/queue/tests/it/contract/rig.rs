//! A queue of either kind, a producer, and owners that read and report as the worker does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Partition;
use queue::Queue;
use queue::local::{LocalConfig, LocalQueue};
use queue::numbering::RENEW_AFTER;
use queue::producer::{Outgoing, Producer, SendError};
use queue::reader::{BLOCK_MAX, Entry, EntryId, Read, Reader};
use queue::receipts::{ReceiptMessage, Receipts};
use queue::redis::{ProducerConfig, RedisQueue};
use queue::reporter::Reporter;
use testkit::{Direction, FaultProxy, Redis};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::support::{config, eventually, frame_named, int, names, soon};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redis,
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
    /// The server, and a proxy between it and the producer.
    redis: Option<(Redis, FaultProxy)>,
    partitions: u16,
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
            return Rig { producer: Arc::from(queue.producer()), queue, redis: None, partitions };
        }
        let redis = Redis::start().await.unwrap();
        let proxy = FaultProxy::start(redis.addr()).await.unwrap();
        let config = |url: &str| ProducerConfig { partitions, queue_bytes, renew_after, ..config(url) };
        let through = RedisQueue::with(config(&redis.url_at(proxy.addr()))).unwrap();
        let queue: Arc<dyn Queue> = Arc::new(RedisQueue::with(config(&redis.url())).unwrap());
        Rig { producer: Arc::from(through.producer()), queue, redis: Some((redis, proxy)), partitions }
    }
}

impl Rig {
    /// Nothing is acknowledged until [`Rig::release`].
    pub fn hold(&self) {
        if let Some((_, proxy)) = &self.redis {
            proxy.stall(Direction::ToClient);
        }
    }

    /// From now on everything is acknowledged: by the server, or by owners that apply whatever comes.
    pub fn release(&self) {
        match &self.redis {
            Some((_, proxy)) => proxy.heal(),
            None => {
                for partition in (0..self.partitions).map(Partition) {
                    self.keep_applying(partition);
                }
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
        if let Some((redis, _)) = &self.redis {
            eventually("subscribed", || async {
                let reply = redis.command(&["PUBSUB", "NUMSUB", receipts.address()]).await.unwrap();
                let ::redis::Value::Array(mut pair) = reply else { panic!("a pair") };
                int(pair.remove(1)) == 1
            })
            .await;
        }
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
