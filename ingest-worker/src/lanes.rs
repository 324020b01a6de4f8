//! The worker as a part of a process: its lanes, the whole of it in this tier, one of three in `abctl up`.

use crate::behind;
use crate::lane::{Lane, LaneConfig, Ownership};
use crate::members::{self, Sessions};
use crate::metrics::WorkerMetrics;
use crate::progress::{Progress, STUCK_AFTER};
use crate::retention;
use crate::shares::Share;
use queue::Queue;
use service::boot::{Boot, BootError};
use service::health::Health;
use service::shutdown::Shutdown;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use store::Store;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Two keep the database busy while a chunk is folded; six and eight were no faster than four (decision 2).
const LANES: RangeInclusive<u16> = 2..=4;

/// The running lanes of a process.
pub struct Lanes {
    ended: JoinHandle<Result<(), BootError>>,
    progress: Vec<Arc<Progress>>,
}

impl Lanes {
    /// How many a worker has, each with a connection: as many as processors, within bounds.
    pub fn number() -> u16 {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        u16::try_from(processors).unwrap_or(u16::MAX).clamp(*LANES.start(), *LANES.end())
    }

    /// Applies until `stop`; the transactions under way are finished.
    pub fn start(
        boot: &Boot,
        store: &Arc<dyn Store>,
        queue: &Arc<dyn Queue>,
        ownership: Ownership,
        stop: CancellationToken,
    ) -> Result<Lanes, BootError> {
        let settings = &boot.settings;
        let metrics =
            WorkerMetrics::new(&boot.metrics).map_err(|e| BootError::failed("register metrics", e))?;
        let metrics = Arc::new(metrics);
        let all = settings.partitions()?;
        let mut lanes = JoinSet::new();
        let mut progress = Vec::new();
        let (me, sessions) = (Uuid::new_v4(), Sessions::default());
        let (share, shares) = watch::channel(Share::NOTHING);
        match ownership {
            Ownership::Lock => {
                let connect = store.clone();
                lanes.spawn(members::run(connect, me, sessions.clone(), share, stop.clone()));
            }
            Ownership::None => {
                share.send_replace(Share::ALL);
            }
        }
        // One more than can write reads its chunk meanwhile.
        let count = Lanes::number().min(store.at_once().saturating_add(1)).min(all);
        for number in 0..count {
            let config = LaneConfig {
                me,
                partitions: all,
                lane: number,
                lanes: count,
                ownership,
                max_events: settings.worker.apply_max_events as u64,
                max_letters: settings.worker.dead_letter_max,
                keep: settings.queue.keep,
                traces: boot.traces.clone(),
            };
            let its = Arc::new(Progress::new(STUCK_AFTER));
            progress.push(its.clone());
            let (store, queue, shares) = (store.clone(), queue.clone(), shares.clone());
            let lane = Lane::new(store, queue, config, shares, sessions.clone(), metrics.clone(), its);
            lanes.spawn(lane.run(stop.clone()));
        }
        let kept = backends::kept(settings);
        lanes.spawn(retention::run(store.clone(), kept, all, stop.clone()));
        lanes.spawn(behind::run(queue.clone(), progress.clone(), metrics, stop.clone()));
        let limit = settings.lifecycle.drain_timeout;
        let ended = tokio::spawn(join(lanes, boot.shutdown.clone(), stop, limit));
        Ok(Lanes { ended, progress })
    }

    /// Liveness: whether every lane gets on with its work.
    pub fn checks(&self, health: Health) -> Health {
        let progress = self.progress.clone();
        health.alive_when(move || progress.iter().try_for_each(|lane| lane.alive(Instant::now())))
    }

    pub async fn ended(self) -> Result<(), BootError> {
        self.ended.await.map_err(|e| BootError::failed("end the lanes", e))?
    }
}

/// Waits for the lanes. One that ends before it is told to has failed, and the process ends with it; those that do not
/// end in time are dropped, which is safe at any point.
async fn join(
    mut lanes: JoinSet<()>,
    process: Shutdown,
    stop: CancellationToken,
    limit: Duration,
) -> Result<(), BootError> {
    let overdue = async {
        stop.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(limit) => {}
            () = process.aborted() => {}
        }
    };
    tokio::pin!(overdue);
    loop {
        tokio::select! {
            ended = lanes.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(failed)) => {
                    process.begin();
                    return Err(BootError::failed("run a lane", failed));
                }
            },
            () = &mut overdue => break,
        }
    }
    tracing::warn!("a lane did not end in time and is dropped");
    lanes.shutdown().await;
    Ok(())
}
