//! Start-up: refuse what cannot work, bring the catalogue up to date, serve until told to stop.

use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use queue::redis::RedisQueue;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::settings::{Refusal, Settings};
use store::{Location, Store, StoreError};
use tokio::time::Instant;

use crate::answer::chain;
use crate::app::Analyzer;
use crate::catalogue::Catalogue;

const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Runs on the configured ports.
pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    let queue = open_queue(&boot.settings)?;
    serve(boot, listeners, queue).await
}

/// Runs on `listeners` until the boot's shutdown begins, then drains.
pub async fn serve(boot: Boot, listeners: Listeners, queue: Arc<dyn Queue>) -> Result<(), BootError> {
    let stop = boot.shutdown.token();
    let built = tokio::select! {
        built = build(&boot, queue) => built?,
        // Told to stop before there was anything to drain.
        () = stop.cancelled() => return Ok(()),
    };
    let reconciler = tokio::spawn(built.catalogue.clone().keep_reconciled(stop));
    let probe = built.store.clone();
    let partitions = boot.settings.queue.partitions;
    let health = Health::new(&boot.settings).check("database", move || {
        let store = probe.clone();
        async move { ready(&*store, partitions).await.map_err(|error| error.to_string()) }
    });
    listeners.serve(&boot, Arc::new(built), health).await?;
    reconciler.await.map_err(|error| BootError::failed("keep the catalogue reconciled", error))
}

async fn build(boot: &Boot, queue: Arc<dyn Queue>) -> Result<Analyzer, BootError> {
    let settings = &boot.settings;
    let store = open_store(settings).await?;
    check_queue(settings, &*queue).await?;
    let catalogue = Catalogue::new(store.clone(), queue.projection(), &boot.metrics)
        .map_err(|error| BootError::failed("register metrics", error))?;
    complete(&catalogue, settings.lifecycle.startup_timeout).await?;
    Analyzer::new(store, Arc::new(catalogue), queue, settings.queue.partitions)
        .map_err(|error| BootError::failed("build the routes", error))
}

/// Connected, on this release's schema and partition count, and writable.
async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, BootError> {
    let url = settings.database_url()?;
    let patience = settings.lifecycle.startup_timeout;
    let location =
        Location::Postgres { url: url.expose().to_owned(), pool_size: settings.database.pool_size };
    store::open(&location, settings.queue.partitions, patience).await.map_err(|error| {
        let variable =
            if matches!(error, StoreError::Partitions { .. }) { "AB_PARTITIONS" } else { "AB_DATABASE_URL" };
        Refusal::new(variable, format!("{url}: {}", chain(&error))).into()
    })
}

fn open_queue(settings: &Settings) -> Result<Arc<dyn Queue>, Refusal> {
    let url = settings.redis_url()?.expose();
    let queue = RedisQueue::new(url, settings.queue.partitions, settings.queue.replicas);
    Ok(Arc::new(queue.map_err(|error| refuse_redis(&error))?))
}

/// Production refuses a queue that may lose what it acknowledged; elsewhere it is said.
async fn check_queue(settings: &Settings, queue: &dyn Queue) -> Result<(), BootError> {
    let weaknesses = queue.weaknesses(settings.lifecycle.startup_timeout).await;
    for weakness in weaknesses.map_err(|error| refuse_redis(&error))? {
        if settings.is_production() && !settings.queue.allow_weak_durability {
            return Err(Refusal::new("AB_REDIS_URL", weakness.to_string()).into());
        }
        tracing::warn!(%weakness, "the queue may lose what it acknowledged");
    }
    Ok(())
}

/// Gateways can answer as soon as this has succeeded once.
async fn complete(catalogue: &Catalogue, patience: Duration) -> Result<(), BootError> {
    let deadline = Instant::now() + patience;
    loop {
        match catalogue.reconcile().await {
            Ok(true) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(BootError::failed("write the catalogue", error));
            }
            Err(error) => tracing::warn!(error = chain(&error), "the catalogue is not written; trying again"),
            // Another analyzer is writing it: it is complete, or will be in a moment.
            Ok(false) if Instant::now() >= deadline => return Ok(()),
            Ok(false) => {}
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn ready(store: &dyn Store, partitions: u16) -> Result<String, StoreError> {
    store.check(partitions).await?;
    store.write_probe().await?;
    Ok("a write was made and rolled back".into())
}

fn refuse_redis(error: &queue::QueueError) -> Refusal {
    Refusal::new("AB_REDIS_URL", chain(error))
}
