//! What has to be true before the tier starts, and what is watched while it runs.

use std::sync::Arc;
use std::time::Duration;

use queue::catalogue::{Catalogue, Unavailable};
use queue::{Queue, QueueError};
use service::logs::causes;
use service::settings::{Refusal, Settings};
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::Gateway;

/// How often gauges are refreshed.
const TICK: Duration = Duration::from_secs(1);
/// Ticks from one look at Redis' settings to the next.
const LOOK_EVERY: u64 = 30;

/// Production starts only on a Redis that is there and keeps what it acknowledges. Elsewhere the tier starts at
/// once and answers 503 until Redis is there.
pub async fn check_queue(settings: &Settings, queue: &dyn Queue) -> Result<(), Refusal> {
    if !settings.is_production() {
        return Ok(());
    }
    let weaknesses = queue.weaknesses(settings.lifecycle.startup_timeout).await;
    match weaknesses.map_err(|error| refuse_redis(&error))?.first() {
        Some(weakness) if !settings.queue.allow_weak_durability => {
            let reason = format!("{weakness} (AB_ALLOW_WEAK_DURABILITY=true starts all the same)");
            Err(Refusal::new("AB_REDIS_URL", reason))
        }
        _ => Ok(()),
    }
}

/// Everything that production refuses at the start.
pub async fn check(settings: &Settings) -> Result<(), Refusal> {
    let queue = crate::open_queue(settings)?;
    check_queue(settings, &*queue).await?;
    check_partitions(settings, &*queue.catalogue(settings.ingest.max_loaded)).await
}

/// Production does not start next to a catalogue of another partition count: users would be split between streams.
pub async fn check_partitions(settings: &Settings, catalogue: &dyn Catalogue) -> Result<(), Refusal> {
    match catalogue.check().await {
        Err(error @ Unavailable::Partitions { .. }) if settings.is_production() => {
            Err(Refusal::new("AB_PARTITIONS", error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Refreshes the gauges every second and looks at Redis' settings every 30, until dropped.
pub async fn watch(gateway: Arc<Gateway>, queue: Arc<dyn Queue>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    for tick in 0u64.. {
        ticks.tick().await;
        let (backlog, copies) = (gateway.producer.backlog(), gateway.catalogue.copies());
        gateway.stats.observe(backlog, gateway.producer.counters(), copies);
        if tick % LOOK_EVERY != 0 {
            continue;
        }
        // An unreachable Redis shows in its own gauge.
        let Ok(found) = queue.weaknesses(Duration::ZERO).await else { continue };
        gateway.stats.weaknesses.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
        for weakness in found.iter().filter(|weakness| !known.contains(*weakness)) {
            tracing::warn!(%weakness, "acknowledged events can be lost: the queue is set weakly");
        }
        known = found;
    }
}

pub fn refuse_redis(error: &QueueError) -> Refusal {
    Refusal::new("AB_REDIS_URL", causes(error))
}
