//! The three tiers under a steady load for as long as standard input is open: what `make ops-check` puts a Prometheus,
//! an nginx and a Caddy beside. Prints one line of JSON that says where everything is; in the end everything
//! that was acknowledged must be there.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Result, bail};
use e2e::{ADMIN_TOKEN, API_TOKEN, Load, Setup, System, run};
use serde_json::json;
use std::io::Read;

#[tokio::main]
async fn main() -> Result<()> {
    let system = System::start(Setup::default()).await?;
    let load = Load::start(&system, 1).await?;
    let tier = |addr: std::net::SocketAddr, internal: std::net::SocketAddr| json!({"public": addr, "internal": internal});
    let [gateway, worker, analyzer] = system.internal;
    let places = json!({
        "tiers": {
            "ingest-gateway": tier(system.gateway_addr, gateway),
            "ingest-worker": tier(system.worker_addr, worker),
            "analyzer": tier(system.analyzer_addr, analyzer),
        },
        "redis_url": system.redis_url,
        "database_url": system.database_url,
        "partitions": system.setup.partitions,
        "api_token": API_TOKEN,
        "admin_token": ADMIN_TOKEN,
    });
    println!("{places}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    let (simulation, outcome) = load.finish().await?;
    let (books, faults) = run::faults(&system, &simulation, &outcome).await?;
    system.stop().await?;
    eprintln!("{}", books.total);
    match faults.is_empty() {
        true => Ok(()),
        false => bail!("{} things are not as they must be, such as {:?}", faults.len(), faults.first()),
    }
}
