//! The gateway's side of the streams.
//!
//! One ordered writer per stream takes frames from all requests and has at most one entry in flight; whatever queues
//! meanwhile goes as the next one: one XADD and one fsync for many small requests. A request is answered when the
//! entries of all its frames are acknowledged.

mod backlog;
mod lane;
mod wire;
#[cfg(feature = "fred")]
mod with_fred;
mod with_redis;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::numbering::RENEW_AFTER;
use crate::producer::{Backlog, Counters, Outgoing, Producer, SendError};
use crate::redis::connection::Link;
use crate::redis::server::Server;
use crate::ticket::Ticket;
use backlog::BacklogWatch;
pub(crate) use backlog::sent_totals;
use lane::Lane;
use wire::Wire;
#[cfg(feature = "fred")]
use with_fred::FredWire;
use writer::Writer;

/// Where Redis is and how producers write to it. [`ProducerConfig::new`] has what production wants.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    pub url: String,
    pub partitions: u16,
    /// Replicas that must have confirmed an entry (WAIT); 0 = none.
    pub replicas: u16,
    /// After it an attempt's outcome is unknown. Half of it is given to the replicas.
    pub response_timeout: Duration,
    /// Most bytes of frames queued or in flight per stream. A single larger frame goes when it is alone.
    pub queue_bytes: usize,
    /// Most bytes of frames in one entry, unless a single frame is larger.
    pub entry_bytes: usize,
    /// So long after its last entry an idle writer sends an empty one, so that a lost tail shows.
    pub idle_after: Duration,
    /// A writer silent for longer than this begins anew under another id.
    pub renew_after: Duration,
    /// No connection and no answer is given up sooner than this, whatever its own limit; but an attempt to write has
    /// its `response_timeout`. Zero but for tests, which a pause of a busy machine must not fail.
    pub patience: Duration,
    pub client: Client,
}

/// What sends the entries. Everything else is done with the `redis` crate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Client {
    #[default]
    Redis,
    #[cfg(feature = "fred")]
    Fred,
}

impl ProducerConfig {
    pub fn new(url: &str, partitions: u16) -> ProducerConfig {
        ProducerConfig {
            url: url.to_owned(),
            partitions,
            replicas: 0,
            response_timeout: Duration::from_secs(4),
            queue_bytes: 2 << 20,
            entry_bytes: 256 << 10,
            idle_after: Duration::from_secs(5),
            renew_after: RENEW_AFTER,
            patience: Duration::ZERO,
            client: Client::default(),
        }
    }
}

pub(crate) struct RedisProducer {
    lanes: Vec<Arc<Lane>>,
    writers: TaskTracker,
    backlog: BacklogWatch,
    counters: Arc<Counters>,
    _stop: DropGuard,
}

impl RedisProducer {
    /// Starts one writer per stream on the current runtime. They connect when there is something to write.
    pub(crate) fn start(server: &Server, config: &ProducerConfig) -> RedisProducer {
        let stop = CancellationToken::new();
        let writers = TaskTracker::new();
        let counters = Arc::new(Counters::default());
        let id = Uuid::new_v4();
        let mut lanes = Vec::with_capacity(config.partitions.into());
        for partition in (0..config.partitions).map(Partition) {
            let lane = Arc::new(Lane::new(partition, config.queue_bytes, config.renew_after));
            // A connection for each: WAIT blocks its own, and with 16 streams this was faster than one shared by
            // all (300 B entries +35%, 10 kB +10%, 100 kB +50%), for Redis shares an fsync among connections anyway.
            let wire: Box<dyn Wire> = match config.client {
                Client::Redis => Box::new(Link::timed(server, config.response_timeout)),
                #[cfg(feature = "fred")]
                Client::Fred => Box::new(FredWire::new(server, config.response_timeout)),
            };
            let writer = Writer::new(Arc::clone(&lane), wire, id, config, Arc::clone(&counters));
            let stop = stop.clone();
            writers.spawn(async move { stop.run_until_cancelled(writer.run()).await });
            lanes.push(lane);
        }
        let backlog = BacklogWatch::start(server, lanes.clone(), stop.clone());
        RedisProducer { lanes, writers, backlog, counters, _stop: stop.drop_guard() }
    }

    /// Room for all frames or for none, so that a request is not half refused.
    fn reserve(&self, frames: &[Outgoing]) -> Result<(), SendError> {
        for (i, frame) in frames.iter().enumerate() {
            let reserved = self.lane(frame.partition).and_then(|lane| lane.reserve(frame.bytes.len()));
            if let Err(error) = reserved {
                for earlier in frames.iter().take(i) {
                    self.lane(earlier.partition)?.release(earlier.bytes.len());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn lane(&self, partition: Partition) -> Result<&Lane, SendError> {
        let lane = self.lanes.get(usize::from(partition.0));
        lane.map(Arc::as_ref).ok_or(SendError::NoPartition(partition))
    }
}

#[async_trait]
impl Producer for RedisProducer {
    async fn send(&self, frames: Vec<Outgoing>, deadline: Instant) -> Result<(), SendError> {
        if frames.is_empty() {
            return Ok(());
        }
        self.reserve(&frames)?;
        let (ticket, answer) = Ticket::new(frames.len());
        for frame in frames {
            self.lane(frame.partition)?.push(frame, &ticket);
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::Unknown),
        }
    }

    fn backlog(&self) -> Backlog {
        self.backlog.last()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.reserved()).sum()
    }

    async fn drain(&self, deadline: Instant) -> bool {
        for lane in &self.lanes {
            lane.close();
        }
        self.writers.close();
        timeout_at(deadline, self.writers.wait()).await.is_ok()
    }
}
