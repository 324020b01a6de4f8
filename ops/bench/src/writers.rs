//! Clients of Redis side by side: the same frames through the ordered writers of one gateway, each into a server of its
//! own. This process sends as well, so the CPU shown is more than the writers'.

use crate::table::{Goal, Table};
use anyhow::{Context, Result};
use domain::Partition;
use queue::Queue;
use queue::producer::{Outgoing, Producer};
use queue::redis::{Client, ProducerConfig, RedisQueue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::Redis;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PARTITIONS: u16 = 16;
const REQUESTS_AT_ONCE: usize = 256;
const DEADLINE: Duration = Duration::from_secs(60);
/// Of a second; Linux counts CPU time in these.
const TICKS: f64 = 100.0;

/// Events and bytes of every frame.
#[derive(Clone, Copy)]
struct Size {
    events: u32,
    bytes: usize,
}

const BATCH: Size = Size { events: 100, bytes: 6_000 };
const SINGLE: Size = Size { events: 1, bytes: 200 };

struct Case {
    client: Client,
    size: Size,
    speed: &'static str,
    cpu: &'static str,
    /// The default's figure.
    beside: Option<&'static str>,
}

const CASES: &[Case] = &[
    Case {
        client: Client::Redis,
        size: BATCH,
        speed: "writers, redis, 100 events a frame",
        cpu: "writers, redis, 100 events a frame, CPU",
        beside: None,
    },
    #[cfg(feature = "fred")]
    Case {
        client: Client::Fred,
        size: BATCH,
        speed: "writers, fred, 100 events a frame",
        cpu: "writers, fred, 100 events a frame, CPU",
        beside: Some("writers, redis, 100 events a frame"),
    },
    Case {
        client: Client::Redis,
        size: SINGLE,
        speed: "writers, redis, single events",
        cpu: "writers, redis, single events, CPU",
        beside: None,
    },
    #[cfg(feature = "fred")]
    Case {
        client: Client::Fred,
        size: SINGLE,
        speed: "writers, fred, single events",
        cpu: "writers, fred, single events, CPU",
        beside: Some("writers, redis, single events"),
    },
];

pub async fn side_by_side(events: u64, table: &mut Table) -> Result<()> {
    for case in CASES {
        let events = if case.size.events == 1 { events / 4 } else { events * 4 };
        let (seconds, cpu_seconds) = measure(case, events).await?;
        table.add(case.speed, "events/s", events as f64 / seconds, Goal::None, case.beside);
        let per_million = cpu_seconds * 1e6 / events as f64;
        table.add(case.cpu, "s per million", per_million, Goal::None, None);
    }
    Ok(())
}

/// Seconds until all is acknowledged, and CPU seconds of this process meanwhile.
async fn measure(case: &Case, events: u64) -> Result<(f64, f64)> {
    let redis = Redis::start().await?;
    let config = ProducerConfig { client: case.client, ..ProducerConfig::new(&redis.url(), PARTITIONS) };
    let producer: Arc<dyn Producer> = Arc::from(RedisQueue::with(config)?.producer());
    let (requests, size) = (events / u64::from(case.size.events), case.size);
    let next = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    let mut senders = JoinSet::new();
    for _ in 0..REQUESTS_AT_ONCE {
        let (producer, next) = (Arc::clone(&producer), Arc::clone(&next));
        senders.spawn(async move {
            let mut request = next.fetch_add(1, Ordering::Relaxed);
            while request < requests {
                let partition = Partition(u16::try_from(request % u64::from(PARTITIONS))?);
                let frame = Outgoing { partition, bytes: vec![7; size.bytes], events: size.events };
                producer.send(vec![frame], Instant::now() + DEADLINE).await?;
                request = next.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok((begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu))
}

/// Of this process so far, user and system.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold anything, the 12th and 13th fields.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|n| n.parse::<f64>().ok()).context("/proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}
