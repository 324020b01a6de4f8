//! What has to be true before the tier starts, and what is watched while it runs.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use queue::catalogue::Unavailable;
use queue::checks::{Weakness, durability};
use service::settings::{Refusal, Settings};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use crate::gateway::Gateway;

/// Pause between two attempts to reach Redis at start.
const PAUSE: Duration = Duration::from_millis(500);
/// How often gauges are refreshed.
const TICK: Duration = Duration::from_secs(1);
/// Ticks from one look at Redis' settings to the next.
const LOOK_EVERY: u64 = 30;

/// Production starts only on a Redis that is there and keeps what it acknowledges. Elsewhere the tier starts at
/// once and answers 503 until Redis is there.
pub async fn check_queue(settings: &Settings, url: &str) -> Result<(), Refusal> {
    if !settings.is_production() {
        return Ok(());
    }
    let deadline = Instant::now() + settings.lifecycle.startup_timeout;
    let weaknesses = loop {
        let unreachable = match timeout_at(deadline, durability(url)).await {
            Ok(Ok(weaknesses)) => break weaknesses,
            Ok(Err(error)) if error.is_transient() && Instant::now() + PAUSE < deadline => {
                sleep(PAUSE).await;
                continue;
            }
            Ok(Err(error)) => causes(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        return Err(Refusal::new("AB_REDIS_URL", unreachable));
    };
    match weaknesses.first() {
        Some(weakness) if !settings.queue.allow_weak_durability => {
            let reason =
                format!("{} (AB_ALLOW_WEAK_DURABILITY=true starts all the same)", described(weakness));
            Err(Refusal::new("AB_REDIS_URL", reason))
        }
        _ => Ok(()),
    }
}

/// Production does not start next to a catalogue of another partition count: users would be split between streams.
pub async fn check_partitions(settings: &Settings, gateway: &Gateway) -> Result<(), Refusal> {
    match gateway.catalogue.check().await {
        Err(error @ Unavailable::Partitions { .. }) if settings.is_production() => {
            Err(Refusal::new("AB_PARTITIONS", error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Refreshes the gauges every second and looks at Redis' settings every 30, until dropped.
pub async fn watch(gateway: Arc<Gateway>, url: String) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    for tick in 0u64.. {
        ticks.tick().await;
        gateway.stats.observe(gateway.producer.backlog(), gateway.producer.counters());
        if tick % LOOK_EVERY != 0 {
            continue;
        }
        // An unreachable Redis shows in its own gauge.
        let Ok(found) = durability(&url).await else { continue };
        gateway.stats.weaknesses.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
        for weakness in found.iter().filter(|weakness| !known.contains(*weakness)) {
            tracing::warn!(
                reason = described(weakness),
                "acknowledged events can be lost: Redis is set weakly"
            );
        }
        known = found;
    }
}

fn described(weakness: &Weakness) -> String {
    let Weakness { setting, found, wanted } = weakness;
    let found = if found.is_empty() { "unknown" } else { found };
    format!("Redis has {setting} {found}, {wanted} is required")
}

/// The error with all its causes, in one line.
fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
