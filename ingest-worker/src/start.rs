//! Start-up: refuse what cannot work, then run the lanes until told to stop.

use crate::lane::{Lane, LaneConfig, Ownership};
use crate::metrics::{Progress, WorkerMetrics};
use domain::Partition;
use queue::Queue;
use queue::redis::RedisQueue;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::http::NoRoutes;
use service::settings::{Refusal, Settings};
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use store::{Location, Store, StoreError};
use tokio::task::JoinSet;

/// Lanes of a worker: enough to keep the database busy while a chunk is folded; each is one connection.
const LANES: u16 = 2;
/// For readiness probes and start checks; the lanes have connections of their own.
const PROBE_CONNECTIONS: usize = 2;

pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    let queue = open_queue(&boot.settings)?;
    serve(boot, listeners, queue, Ownership::Lock).await
}

/// Runs until the boot's shutdown begins; the transaction under way is finished.
pub async fn serve(
    boot: Boot,
    listeners: Listeners,
    queue: Arc<dyn Queue>,
    ownership: Ownership,
) -> Result<(), BootError> {
    let settings = boot.settings.clone();
    let stop = boot.shutdown.token();
    let store = tokio::select! {
        opened = open_store(&settings) => opened?,
        () = stop.cancelled() => return Ok(()),
    };
    check_queue(&settings, &*queue).await?;
    let metrics = WorkerMetrics::new(&boot.metrics).map_err(|e| BootError::failed("register metrics", e))?;
    let metrics = Arc::new(metrics);

    let mut lanes = JoinSet::new();
    let progress: Vec<Arc<Progress>> = (0..LANES).map(|_| Arc::default()).collect();
    for (lane, progress) in (0..LANES).zip(&progress) {
        let partitions =
            (0..settings.queue.partitions).filter(|p| p % LANES == lane).map(Partition).collect();
        let config = LaneConfig {
            partitions,
            ownership,
            max_events: settings.worker.apply_max_events as u64,
            keep: settings.queue.keep,
        };
        let lane = Lane::new(store.clone(), queue.clone(), config, metrics.clone(), progress.clone());
        lanes.spawn(lane.run(stop.clone()));
    }
    let probe = store.clone();
    let partitions = settings.queue.partitions;
    let health = Health::new(&settings)
        .check("database", move || {
            let store = probe.clone();
            async move { ready(&*store, partitions).await.map_err(|e| e.to_string()) }
        })
        .alive_when(move || progress.iter().try_for_each(|lane| lane.alive()));
    let ended = tokio::spawn(join(lanes, boot.shutdown.clone(), settings.lifecycle.drain_timeout));
    listeners.serve(&boot, Arc::new(NoRoutes), health).await?;
    ended.await.map_err(|e| BootError::failed("end the lanes", e))?
}

/// Waits for the lanes. One that ends before it is told to has failed, and the worker ends with it; those that do not
/// end in time are dropped, which is safe at any point.
async fn join(mut lanes: JoinSet<()>, shutdown: Shutdown, limit: Duration) -> Result<(), BootError> {
    let (stop, abort) = (shutdown.token(), shutdown.abort_token());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::pin!(overdue);
    loop {
        tokio::select! {
            ended = lanes.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(failed)) => {
                    shutdown.begin();
                    return Err(BootError::failed("run a lane", failed));
                }
            },
            () = &mut overdue => break,
            () = abort.cancelled() => break,
        }
    }
    tracing::warn!("a lane did not end in time and is dropped");
    lanes.shutdown().await;
    Ok(())
}

async fn ready(store: &dyn Store, partitions: u16) -> Result<String, store::StoreError> {
    store.check(partitions).await?;
    store.write_probe().await?;
    Ok("a write was made and rolled back".into())
}

async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, BootError> {
    let url = settings.database_url()?;
    let patience = settings.lifecycle.startup_timeout;
    let location = Location::Postgres { url: url.expose().to_owned(), pool_size: PROBE_CONNECTIONS };
    store::open(&location, settings.queue.partitions, patience).await.map_err(|error| {
        let variable =
            if matches!(error, StoreError::Partitions { .. }) { "AB_PARTITIONS" } else { "AB_DATABASE_URL" };
        Refusal::new(variable, format!("{url}: {error}")).into()
    })
}

fn open_queue(settings: &Settings) -> Result<Arc<dyn Queue>, Refusal> {
    let url = settings.redis_url()?.expose();
    let queue = RedisQueue::new(url, settings.queue.partitions, settings.queue.replicas);
    Ok(Arc::new(queue.map_err(|error| Refusal::new("AB_REDIS_URL", error.to_string()))?))
}

/// Production refuses a queue that cannot be reached or may lose what it acknowledged; elsewhere it is said.
async fn check_queue(settings: &Settings, queue: &dyn Queue) -> Result<(), BootError> {
    let weaknesses = queue.weaknesses(settings.lifecycle.startup_timeout).await;
    for weakness in weaknesses.map_err(|error| Refusal::new("AB_REDIS_URL", error.to_string()))? {
        if settings.is_production() && !settings.queue.allow_weak_durability {
            return Err(Refusal::new("AB_REDIS_URL", weakness.to_string()).into());
        }
        tracing::warn!(%weakness, "the queue may lose what it acknowledged");
    }
    Ok(())
}
