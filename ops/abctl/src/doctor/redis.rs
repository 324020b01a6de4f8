//! Redis itself: that it keeps what it acknowledges, and has room.

use super::check::{Check, bytes};
use super::clock::Clocks;
use super::disk;
use crate::simulate::now_ms;
use anyhow::Result;
use queue::Queue;
use queue::redis::{Examined, RedisQueue};
use service::settings::{Refusal, Settings};
use std::path::Path;
use std::time::Duration;

/// Tested with 7.0.
const OLDEST: u32 = 7;

pub async fn look(settings: &Settings, checks: &mut Vec<Check>, clocks: &mut Clocks) -> Result<()> {
    let url = settings.redis_url()?;
    let queue =
        RedisQueue::new(url.expose(), 1, 0).map_err(|e| Refusal::new("AB_REDIS_URL", e.to_string()))?;
    let begun = now_ms()?;
    let found = match queue.examine().await {
        Ok(found) => found,
        Err(error) => {
            let advice =
                format!("{url} must lead to the server: is it running, is the name right, may we in?");
            checks.push(Check::failed("redis", &error, advice));
            return Ok(());
        }
    };
    for server in &found {
        server_checks(server, found.len() > 1, checks);
    }
    if let Some(first) = found.first() {
        clocks.read("clock of redis", begun, first.now)?;
    }
    // A replica is not asked: its settings are not those that count.
    if !found.iter().any(|server| server.is_replica) {
        durability(settings, &queue, checks).await;
    }
    Ok(())
}

fn server_checks(found: &Examined, is_one_of_several: bool, checks: &mut Vec<Check>) {
    let at = if is_one_of_several { format!(" at {}", found.server) } else { String::new() };
    let major = found.version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    let advice = "abstream needs Redis 7.0 or later, or Valkey";
    checks.push(Check::of("redis", major >= OLDEST, format!("version {}{at}", found.version), advice));
    if found.is_replica {
        let advice = "name the primary in AB_REDIS_URL";
        checks.push(Check::fail("redis role", format!("a replica{at}"), advice));
    }
    let used = bytes(found.used_memory);
    let said = match found.max_memory {
        0 => format!("{used} used{at}"),
        all => format!("{used} of {} used{at}", bytes(all)),
    };
    let percent = found.used_memory.saturating_mul(100).checked_div(found.max_memory).unwrap_or(0);
    checks.push(match percent {
        80.. => Check::fail(
            "redis memory",
            said,
            "workers are behind or maxmemory is too small: events are refused",
        ),
        50.. => Check::warn(
            "redis memory",
            said,
            "past half of it applied entries are no longer kept: see backlog",
        ),
        _ => Check::ok("redis memory", said),
    });
    if !found.keeps_up {
        let advice = "look at Redis' log and disk: what it acknowledges may not be kept";
        checks.push(Check::fail("redis append-only file", format!("the last write failed{at}"), advice));
    }
    if let Some(directory) = &found.directory {
        disk::look("redis disk", Path::new(directory), checks);
    }
}

async fn durability(settings: &Settings, queue: &dyn Queue, checks: &mut Vec<Check>) {
    const NAME: &str = "redis durability";
    match queue.weaknesses(Duration::ZERO).await {
        Err(error) => checks.push(Check::failed(NAME, &error, "let us read its settings (CONFIG GET)")),
        Ok(none) if none.is_empty() => {
            checks.push(Check::ok(NAME, "evicts nothing, and fsyncs before it acknowledges"));
        }
        Ok(weaknesses) => {
            for weakness in weaknesses {
                let advice = format!("CONFIG SET {} .., and in redis.conf", weakness.setting);
                checks.push(match settings.queue.allow_weak_durability {
                    true => Check::warn(NAME, weakness.to_string(), advice),
                    false => Check::fail(NAME, weakness.to_string(), advice),
                });
            }
        }
    }
}
