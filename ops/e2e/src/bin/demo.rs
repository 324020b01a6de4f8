//! `make demo-services`: the whole pipeline once, on private servers, held against what must come out.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Result, ensure};
use e2e::{Setup, System, run};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const EVENTS: u64 = 200_000;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::ended("demo", demo().await)
}

async fn demo() -> Result<()> {
    println!("starting PostgreSQL, Redis, ingest-gateway, ingest-worker and analyzer on free ports ..");
    let system = System::start(Setup::default()).await?;
    println!("sending {EVENTS} events of synthetic users over HTTP ..");
    let simulation = run::varied(EVENTS, 1);
    let sent = AtomicU64::new(0);
    let progress = Arc::new(move |events| {
        let before = sent.fetch_add(events, Ordering::Relaxed);
        if before / 50_000 != (before + events) / 50_000 {
            println!("  {} of {EVENTS}", before + events);
        }
    });
    let outcome = run::send(&system, &simulation, progress).await?;
    let books = run::settled(&system).await?;
    let (reports, mut differences) = run::trial(&system, &simulation, &outcome).faults(&books).await?;
    let answers = run::answers(&system, &simulation, &outcome).await?;
    differences.extend(answers.iter().flat_map(|answer| answer.differences.clone()));
    anstream::println!("\n{}", simulation.plot.world.pages(&answers));
    for report in reports {
        let abctl::verify::Report { experiment, rows, units, conversions, differences } = report;
        let verdict = if differences.is_empty() { "equal" } else { "DIFFERENT" };
        println!("verify {experiment}: {verdict} (rows={rows}, units={units}, conversions={conversions})");
    }
    system.stop().await?;
    println!("{}", books.total);
    differences.iter().take(20).for_each(|d| eprintln!("DIFFERENT: {d}"));
    ensure!(differences.is_empty(), "{} things are not as they must be", differences.len());
    Ok(())
}
