//! A lane: one database connection that applies the partitions it holds, one transaction at a time.
//!
//! While a transaction is with the database, more entries arrive; so under load chunks grow by themselves and at
//! rest an event waits for nothing. Several lanes overlap the database's work with ours.

mod chores;

use crate::apply::{self, Applied, ApplyError};
use crate::cache::PartitionCache;
use crate::chunk::one_transaction;
use crate::members::Sessions;
use crate::metrics::WorkerMetrics;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::report::{Report, Reporter};
use crate::shares::Share;
use crate::source::{self, Found, Source, What};
use chores::Chore;
use domain::Partition;
use foldhash::{HashMap, HashMapExt};
use queue::Queue;
use queue::reader::{Entry, EntryId};
use service::traces::Traces;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::apply::{ApplyStore, Connect, Taken};
use store::{ErrorKind, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often a lane asks for the partitions it does not hold, and does its housekeeping.
const TICK: Duration = Duration::from_secs(1);
/// Old receipts are deleted so many at a time, and so often per tick at most.
const EXPIRE_LIMIT: i64 = 1_000;
const EXPIRE_ROUNDS: u32 = 5;
/// A database that takes connections and answers nothing is given up after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// The same for a transaction, and for housekeeping; longer than any `statement_timeout` of ours.
const APPLY_LIMIT: Duration = Duration::from_secs(90);

/// Processes that may have died over the same entry. After so many the entries at hand are applied one by one, and
/// after as many again the one they died over is dead-lettered unread.
const PATIENCE: u32 = 3;
/// More than whoever died can have had in one transaction with its culprit.
const CAREFUL_ENTRIES: u32 = 1_000;

/// Whether a lane applies only partitions whose lock it holds. The lock avoids wasted work; it is the
/// compare-and-set of the position that keeps the books, which a test shows by leaving the lock away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    Lock,
    None,
}

#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// The process.
    pub me: Uuid,
    /// Of the deployment.
    pub partitions: u16,
    /// This lane, of so many.
    pub lane: u16,
    pub lanes: u16,
    pub ownership: Ownership,
    /// Events per transaction, at most (one entry may have more).
    pub max_events: u64,
    /// Dead letters of one tenant that keep their payload.
    pub max_letters: u64,
    /// Applied entries stay in the stream this long.
    pub keep: Duration,
    pub traces: Traces,
}

pub struct Lane {
    connect: Arc<dyn Connect>,
    queue: Arc<dyn Queue>,
    config: LaneConfig,
    share: watch::Receiver<Share>,
    sessions: Sessions,
    metrics: Arc<WorkerMetrics>,
    progress: Arc<Progress>,
    runs: u64,
    pace: Pace,
}

#[derive(Debug, thiserror::Error)]
enum LaneError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// A partition held: its reader, what it remembers, and the entries read and not yet applied.
struct Held {
    cache: PartitionCache,
    source: Source,
    pending: VecDeque<Found>,
    /// So many entries are applied one by one: one of them may kill us.
    careful: u32,
}

/// The lifetime of one database connection.
struct Session<'l> {
    lane: &'l mut Lane,
    store: Box<dyn ApplyStore>,
    held: HashMap<Partition, Held>,
    found: mpsc::Sender<Found>,
    reporter: Reporter,
    /// Of partitions held.
    chores: VecDeque<(Partition, Chore)>,
}

impl Lane {
    pub fn new(
        connect: Arc<dyn Connect>,
        queue: Arc<dyn Queue>,
        config: LaneConfig,
        share: watch::Receiver<Share>,
        sessions: Sessions,
        metrics: Arc<WorkerMetrics>,
        progress: Arc<Progress>,
    ) -> Lane {
        let pace = Pace::new(config.max_events);
        Lane { connect, queue, config, share, sessions, metrics, progress, runs: 0, pace }
    }

    /// Applies until `stop`; ends after the transaction under way.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = source::backoff();
        while !stop.is_cancelled() {
            let begun = Instant::now();
            match self.session(&stop).await {
                Ok(()) => return,
                Err(error) => {
                    self.pace.failed();
                    self.metrics.failed(error_label(&error));
                    self.metrics.held(self.config.lane, std::iter::empty());
                    tracing::error!(%error, "applying failed; everything held is dropped and read again");
                }
            }
            if begun.elapsed() > Duration::from_secs(10) {
                backoff.reset();
            }
            source::pause(&mut backoff, &stop).await;
        }
    }

    async fn session(&mut self, stop: &CancellationToken) -> Result<(), LaneError> {
        let store = timeout(CONNECT_LIMIT, self.connect.connect()).await??;
        let _listed = self.sessions.list(store.session());
        let reporter = Reporter::start(self.queue.reporter(), self.config.keep);
        let (found, mut inbox) =
            mpsc::channel(usize::from(self.config.partitions.max(1)) * source::READS_AHEAD);
        let mut share = self.share.clone();
        let mut session =
            Session { lane: self, store, held: HashMap::new(), found, reporter, chores: VecDeque::new() };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => timeout(APPLY_LIMIT, session.housekeep()).await??,
                Ok(()) = share.changed() => timeout(APPLY_LIMIT, session.housekeep()).await??,
                Some(first) = inbox.recv() => {
                    session.file(first);
                    while let Ok(more) = inbox.try_recv() {
                        session.file(more);
                    }
                    session.apply_pending(stop).await?;
                    session.do_chore().await?;
                }
                () = std::future::ready(()), if !session.chores.is_empty() => session.do_chore().await?,
            }
        }
        session.reporter.finish().await;
        Ok(())
    }
}

impl Session<'_> {
    /// Gives up partitions that are others' now, takes those of ours that became free, deletes old receipts.
    async fn housekeep(&mut self) -> Result<(), LaneError> {
        let LaneConfig { partitions, lane, lanes, ownership, .. } = self.lane.config;
        let share = *self.lane.share.borrow();
        let mine: Vec<Partition> = share.partitions(partitions, lane, lanes).collect();
        let others: Vec<Partition> = self.held.keys().filter(|p| !mine.contains(p)).copied().collect();
        for partition in others {
            self.held.remove(&partition);
            self.store.release(partition).await?;
            tracing::info!(%partition, "partition given up");
        }
        let wanted: Vec<Partition> = mine.into_iter().filter(|p| !self.held.contains_key(p)).collect();
        if !wanted.is_empty() {
            let taken = match ownership {
                Ownership::Lock => self.store.acquire(&wanted).await?,
                Ownership::None => wanted,
            };
            for partition in taken {
                self.hold(partition).await?;
                tracing::info!(%partition, "partition taken");
            }
        }
        self.lane.progress.keeps(|partition| self.held.contains_key(&partition));
        for _ in 0..EXPIRE_ROUNDS {
            if self.store.expire_receipts(EXPIRE_LIMIT).await? < EXPIRE_LIMIT.cast_unsigned() {
                break;
            }
        }
        self.look_for_chores().await?;
        self.purge().await?;
        self.lane.metrics.held(lane, self.held.values().map(|h| h.cache.units.size()));
        Ok(())
    }

    /// Loads where the partition stands and reads on from there.
    async fn hold(&mut self, partition: Partition) -> Result<(), LaneError> {
        let Taken { state, takes, begun } = self.store.take(partition, self.lane.config.me).await?;
        // Without locks the living take it from each other: that says nothing of deaths.
        let died = self.lane.config.ownership == Ownership::Lock && (takes > PATIENCE || begun > 0);
        let careful = if died { CAREFUL_ENTRIES } else { 0 };
        let cache = PartitionCache::new(partition, state);
        self.lane.progress.holds(partition, source::position(&cache.position));
        // The queue may not have been told of the last commits: whoever made them may have died with them.
        let applied = Applied::totals_of(cache.writers.values());
        self.reporter.send(Report { partition, applied }).await;
        let source = self.source(partition, source::position(&cache.position));
        self.held.insert(partition, Held { cache, source, pending: VecDeque::new(), careful });
        Ok(())
    }

    fn source(&mut self, partition: Partition, from: EntryId) -> Source {
        let reader = self.lane.queue.reader(partition, from);
        self.lane.runs += 1;
        let entries = usize::try_from(self.lane.config.max_events).unwrap_or(usize::MAX);
        let progress = self.lane.progress.clone();
        Source::start(reader, partition, self.lane.runs, entries, self.found.clone(), progress)
    }

    fn file(&mut self, found: Found) {
        if let Some(held) = self.held.get_mut(&found.partition)
            && held.source.run == found.run
        {
            held.pending.push_back(found);
        }
    }

    async fn apply_pending(&mut self, stop: &CancellationToken) -> Result<(), LaneError> {
        let waiting = self.held.iter().filter(|(_, h)| !h.pending.is_empty());
        let waiting: Vec<Partition> = waiting.map(|(p, _)| *p).collect();
        for partition in waiting {
            if stop.is_cancelled() {
                return Ok(());
            }
            if !self.apply_partition(partition, stop).await? {
                self.hold(partition).await?;
            }
        }
        Ok(())
    }

    /// Applies what has been read of a partition. `false`: the position was moved by somebody else.
    async fn apply_partition(
        &mut self,
        partition: Partition,
        stop: &CancellationToken,
    ) -> Result<bool, LaneError> {
        let Some(held) = self.held.get_mut(&partition) else { return Ok(true) };
        let mut entries: Vec<Entry> = Vec::new();
        let mut anchor_lost = false;
        // Kept until applied: it is what bounds the reading ahead.
        let mut ahead = Vec::new();
        for found in held.pending.drain(..) {
            match found.what {
                What::Entries(more) => entries.extend(more),
                What::AnchorLost => anchor_lost = true,
            }
            ahead.push(found.ahead);
        }
        let mut rest = entries.as_slice();
        let max_letters = self.lane.config.max_letters;
        let mut one_by_one = false;
        while !rest.is_empty() {
            if stop.is_cancelled() {
                return Ok(true);
            }
            let alone = one_by_one || held.careful > 0;
            let max_events = if alone { 0 } else { self.lane.pace.events() };
            let (taken, day) = one_transaction(rest, held.cache.day, max_events);
            let (now, later) = rest.split_at(taken);
            let begun = Instant::now();
            let transaction = async {
                if let [entry] = now
                    && held.careful > 0
                    && self.store.suspect(partition, self.lane.config.me, &entry.id.to_string()).await?
                        > PATIENCE
                {
                    return apply::bury(&mut *self.store, &mut held.cache, entry, day, max_letters).await;
                }
                apply::apply(&mut *self.store, &mut held.cache, now, day, max_letters).await
            };
            match timeout(APPLY_LIMIT, transaction).await? {
                Ok(applied) => {
                    self.lane.progress.applied(partition, applied.position, Instant::now());
                    self.lane.pace.committed();
                    held.careful = held.careful.saturating_sub(1);
                    let bytes: usize = now.iter().map(|entry| entry.payload.len()).sum();
                    let took = begun.elapsed();
                    self.lane.metrics.applied(&applied, bytes as u64, took);
                    self.lane.config.traces.applied(&applied.traced, took);
                    self.reporter.send(Report { partition, applied }).await;
                }
                Err(ApplyError::Moved(_)) => {
                    self.lane.metrics.failed("moved");
                    self.lane.progress.idle(partition);
                    tracing::warn!(%partition, "the position was moved by somebody else; reading from where it is");
                    return Ok(false);
                }
                Err(ApplyError::Refused(error)) => {
                    self.lane.metrics.failed("data");
                    tracing::warn!(%partition, %error, "something is refused: applying entry by entry");
                    one_by_one = true;
                    continue;
                }
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
            rest = later;
        }
        drop(ahead);
        if anchor_lost {
            self.lane.metrics.anchor_lost();
            tracing::error!(%partition, "the stream was replaced; reading the new one from its beginning");
            let source = self.source(partition, EntryId::ZERO);
            // A queue in memory begins anew with its process, and nobody was told that it holds anything.
            let replaced = !self.lane.queue.settles_on_commit();
            if let Some(held) = self.held.get_mut(&partition) {
                held.source = source;
                held.cache.replaced |= replaced;
            }
        }
        Ok(true)
    }
}

fn error_label(error: &LaneError) -> &'static str {
    match error {
        LaneError::Silent(_) => "silent",
        LaneError::Store(e) => match e.kind() {
            ErrorKind::Transient => "transient",
            ErrorKind::Data => "data",
            ErrorKind::Fatal => "fatal",
        },
    }
}
