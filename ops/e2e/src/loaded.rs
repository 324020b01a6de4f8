//! A gateway that is asked for many more experiments than it may keep in memory, and for very many that do not exist:
//! its memory, and what a request pays for one that it does not keep. Redis and the gateway only: what exists is
//! written to the catalogue as an analyzer would.

use crate::API_TOKEN;
use crate::crowd::{MEMORY, Quantiles};
use crate::system::{STOP, Setup, tier};
use anyhow::{Context, Result, bail, ensure};
use domain::ExperimentId;
use queue::Queue;
use queue::catalogue::{Entry, Reconciled};
use queue::redis::RedisQueue;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::Redis;
use testkit::http::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

const BATCH: usize = 500;
const CLIENTS: usize = 4;
/// Of the name of an experiment that does not exist, in bytes.
const LENGTH: usize = 200;
/// From what a gateway keeps to what it shows of it.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Experiments there are, each asked for once.
    pub known: usize,
    /// Names of none, each asked for once.
    pub unknown: usize,
    /// `AB_MAX_LOADED`.
    pub max_loaded: usize,
    /// Requests of one exposure, each for an experiment that is not kept; as many for one that is.
    pub misses: usize,
}

#[derive(Debug)]
pub struct Outcome {
    pub asked: Asked,
    /// Answers kept after everything was asked.
    pub kept: usize,
    /// Most memory of the gateway before, after all that are there, and after all that are not, in bytes.
    pub memory: [u64; 3],
    /// Times of a request for an experiment that is kept, and for one that is not.
    pub hit: Quantiles,
    pub miss: Quantiles,
}

pub async fn run(asked: Asked) -> Result<Outcome> {
    ensure!(
        asked.misses <= asked.known && asked.max_loaded < asked.known.min(asked.unknown),
        "{asked:?}: too few"
    );
    let redis = Redis::start().await?;
    redis.command(&["CONFIG", "SET", "maxmemory", "4gb"]).await?;
    let setup =
        Setup { environment: vec![("AB_MAX_LOADED", asked.max_loaded.to_string())], ..Setup::default() };
    fill(&RedisQueue::new(&redis.url(), setup.partitions, 0)?, asked.known).await?;
    let mut gateway = tier("ingest-gateway", &setup, &redis.url(), "")?;
    gateway.ready().await?;
    let (addr, internal) = (gateway.addr, gateway.internal);

    let hit = time(addr, asked.misses, |_| 0).await?;
    let before = gateway.process.peak_memory()?;
    ask(addr, asked.known, known, 202).await?;
    let after_known = gateway.process.peak_memory()?;
    ask(addr, asked.unknown, unknown, 422).await?;
    let after_unknown = gateway.process.peak_memory()?;
    // The last ones asked for were others.
    let (_, misses) = shown(internal, asked.known + asked.unknown).await?;
    let miss = time(addr, asked.misses, |n| n).await?;
    let (kept, _) = shown(internal, misses + asked.misses).await?;
    let status = gateway.process.terminate(STOP).await?;
    ensure!(status.success(), "the gateway ended with {status}: {}", gateway.process.stderr());
    Ok(Outcome { asked, kept, memory: [before, after_known, after_unknown], hit, miss })
}

async fn fill(queue: &RedisQueue, known: usize) -> Result<()> {
    let entries = (0..known).zip(1..).map(|(n, id)| Entry {
        id: ExperimentId(id),
        tenant: "default".to_owned(),
        key: self::known(n),
        status: "running".to_owned(),
        variations: vec!["control".to_owned(), "treatment".to_owned()],
        metrics: vec!["purchase".to_owned(), "refund".to_owned(), "page_view".to_owned()],
        revision: 1,
    });
    let projection = queue.projection();
    let ticket = projection.begin().await?;
    match projection.reconcile(ticket, entries.collect()).await? {
        Reconciled::Done { .. } => Ok(()),
        Reconciled::Superseded => bail!("somebody else writes this catalogue"),
    }
}

fn known(n: usize) -> String {
    format!("experiment-{n}")
}

fn unknown(n: usize) -> String {
    format!("nothing-{n:->width$}", width = LENGTH - "nothing-".len())
}

/// A conversion of each of so many names, many in a request; each request is answered with this status.
async fn ask(addr: SocketAddr, names: usize, name: fn(usize) -> String, status: u16) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let client = Client::at(addr).bearer(API_TOKEN);
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= names {
                    return Ok::<(), anyhow::Error>(());
                }
                let event = |n| json!({"type": "conversion", "user_id": format!("user-{n}"), "experiment": name(n), "metric": "purchase"});
                let events: Vec<Value> = (from..names.min(from + BATCH)).map(event).collect();
                let answer = client.post_json("/api/v1/events", &json!({"events": events})).await?;
                ensure!(answer.status == status, "wanted {status}: {} {}", answer.status, answer.text());
                ensure!(answer.json()?["rejected"].as_u64().unwrap_or(0) == 0, "{}", answer.text());
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// Of so many requests, one after the other, each an exposure of the experiment of this number.
async fn time(addr: SocketAddr, requests: usize, number: fn(usize) -> usize) -> Result<Quantiles> {
    let client = Client::at(addr).bearer(API_TOKEN);
    let mut times = Vec::with_capacity(requests);
    for n in 0..requests {
        let path = format!("/api/v1/experiments/{}/exposures", known(number(n)));
        let body = json!({"exposures": [{"user_id": format!("user-{n}"), "variation_index": n % 2}]});
        let begun = Instant::now();
        let answer = client.post_json(&path, &body).await?;
        times.push(begun.elapsed());
        ensure!(answer.status == 202, "{path}: {} {}", answer.status, answer.text());
    }
    Ok(Quantiles::of(times))
}

/// Copies kept and questions that none answered, once those are at least so many.
async fn shown(internal: SocketAddr, misses: usize) -> Result<(usize, usize)> {
    let deadline = Instant::now() + SHOWN_WITHIN;
    loop {
        let page = Client::at(internal).get("/metrics").await?.text();
        let number = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<usize>().ok())
                .with_context(|| format!("no {name} in {page}"))
        };
        let found = (number("abstream_catalogue_copies")?, number("abstream_catalogue_misses_total")?);
        if found.1 >= misses {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{found:?}, and not {misses} misses");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Outcome {
    /// No more is kept than allowed, and memory stayed below its limit.
    pub fn check(&self) -> Result<()> {
        ensure!((1..=self.asked.max_loaded).contains(&self.kept), "{self}: no more is kept than may be");
        ensure!(self.memory[2] <= MEMORY, "{self}: a gateway may have {} MiB", MEMORY >> 20);
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { asked: Asked { known, unknown, max_loaded, .. }, kept, memory, hit, miss } = self;
        let [before, after_known, after_unknown] = memory.map(|bytes| bytes >> 20);
        write!(
            f,
            "loaded: known={known} unknown={unknown} max_loaded={max_loaded} kept={kept} \
             peak_rss={before}MiB before, {after_known}MiB after the known, {after_unknown}MiB after the unknown, \
             p50={:.2?} for one not kept beside {:.2?}, p99={:.2?} beside {:.2?}",
            miss.p50, hit.p50, miss.p99, hit.p99,
        )
    }
}
