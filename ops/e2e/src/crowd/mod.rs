//! A gateway in a crowd: connections that say nothing, connections that say it very slowly, and between them a client
//! that wants something.

pub mod holder;

use crate::deployment::Deployment;
use crate::system::{Setup, System};
use anyhow::{Context, Result, ensure};
use holder::Held;
use serde_json::json;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::Process;
use testkit::http::Client;
use tokio::time::Instant;

/// What a gateway may take (T8).
pub const MEMORY: u64 = 64 << 20;
/// Requests of the client, one after the other, each time.
const REQUESTS: usize = 2_000;
const ASSEMBLED_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Outcome {
    pub held: Held,
    /// Open connections of the gateway at the end, the client's among them.
    pub connections: u64,
    /// Answers other than 202.
    pub refused: usize,
    pub alone: Quantiles,
    pub amid: Quantiles,
    /// Most memory of the gateway before the crowd came, and at the end, in bytes.
    pub memory: [u64; 2],
}

#[derive(Debug, Clone, Copy)]
pub struct Quantiles {
    pub p50: Duration,
    pub p99: Duration,
}

impl Quantiles {
    /// Of at least one.
    pub fn of(mut times: Vec<Duration>) -> Quantiles {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        Quantiles { p50: at(50), p99: at(99) }
    }
}

pub async fn run(held: Held) -> Result<Outcome> {
    let system = System::start(Setup { worker: false, ..Setup::default() }).await?;
    let arms = json!([{"key": "control"}, {"key": "treatment"}]);
    let metrics = json!([{"key": "purchase", "type": "proportion"}]);
    system.experiment(json!({"key": "crowd", "variations": arms, "metrics": metrics})).await?;
    let (alone, refused_alone) = ask(&system).await?;
    let before = system.gateway.peak_memory()?;
    let holder = Process::of("crowd")?
        .arg("hold")
        .arg(system.gateway_addr.to_string())
        .arg(held.idle.to_string())
        .arg(held.dripping.to_string())
        .spawn()?;
    assembled(&system, held, &holder).await?;
    let (amid, refused_amid) = ask(&system).await?;
    // Those who said nothing for too long are sent away, many at a time, and come again.
    let connections = assembled(&system, held, &holder).await?;
    let memory = [before, system.gateway.peak_memory()?];
    drop(holder);
    system.stop().await?;
    Ok(Outcome { held, connections, refused: refused_alone + refused_amid, alone, amid, memory })
}

/// How many connections there are, once the crowd is there.
async fn assembled(system: &System, held: Held, holder: &Process) -> Result<u64> {
    let deadline = Instant::now() + ASSEMBLED_WITHIN;
    loop {
        let connections = open(system.internal[0]).await?;
        if connections >= held.total() {
            return Ok(connections);
        }
        ensure!(Instant::now() < deadline, "the crowd does not come: {}", holder.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Times of requests that are taken, and how many were not.
async fn ask(system: &System) -> Result<(Quantiles, usize)> {
    let client = system.ingest();
    let (mut times, mut refused) = (Vec::with_capacity(REQUESTS), 0);
    for n in 0..REQUESTS {
        let body = json!({"exposures": [{"user_id": format!("user-{n}"), "variation_index": n % 2}]});
        let begun = Instant::now();
        let answer = client.post_json("/api/v1/experiments/crowd/exposures", &body).await?;
        times.push(begun.elapsed());
        refused += usize::from(answer.status != 202);
    }
    Ok((Quantiles::of(times), refused))
}

/// Connections of the public port.
async fn open(internal: SocketAddr) -> Result<u64> {
    let text = Client::at(internal).get("/metrics").await?.text();
    let line = text.lines().find_map(|line| line.strip_prefix("abstream_http_connections "));
    line.and_then(|number| number.parse().ok())
        .context("the gateway does not say how many connections it has")
}

impl Outcome {
    /// Nobody was refused, and memory stayed below its limit.
    pub fn check(&self) -> Result<()> {
        ensure!(self.refused == 0, "{self}: every request is taken");
        ensure!(self.memory[1] <= MEMORY, "{self}: a gateway may have {} MiB", MEMORY >> 20);
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            held: Held { idle, dripping }, connections, alone, amid, memory: [before, after], ..
        } = self;
        write!(
            f,
            "crowd: idle={idle} dripping={dripping} open={connections} \
             p50={:.2?} beside {:.2?} alone, p99={:.2?} beside {:.2?} alone, peak_rss={}MiB beside {}MiB alone",
            amid.p50,
            alone.p50,
            amid.p99,
            alone.p99,
            after >> 20,
            before >> 20,
        )
    }
}
