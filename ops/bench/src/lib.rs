//! `make bench`: speeds and sizes of the whole pipeline, each beside the ceiling that the same machine showed in the
//! same run. Absolute figures move by tens of percent between runs: judge by the shares.

// A failure is shown to whoever runs the benchmark.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]
#![allow(clippy::cast_precision_loss)] // figures for people

mod answers;
mod backfill;
mod bare;
mod disk;
mod entries;
mod growth;
pub mod guard;
mod latencies;
mod one_process;
mod pace;
pub mod paths;
mod pipeline;
mod raw;
mod soak;
mod table;
mod usage;
mod workers;
mod writers;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use table::Table;

#[derive(Parser)]
#[command(about = "Measure abstream against the machine's own ceilings")]
struct Options {
    /// Repetitions; medians are shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Events of the large phases; repeats take four times as many.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Seconds of what is sustained.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds of the soak at the end, which is run once.
    #[arg(long, default_value_t = 600)]
    soak: u64,
    /// What is measured; more than one may be given.
    #[arg(long, value_enum, default_values_t = [Part::Tiers, Part::Latencies, Part::Answers, Part::Backfill, Part::Workers, Part::OneProcess, Part::Soak])]
    part: Vec<Part>,
    /// Where the figures are written as JSON.
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Serve 202 to whatever comes on this port, and nothing else: the ceiling of the gateway.
    #[arg(long, hide = true)]
    bare_server: Option<u16>,
    /// With --bare-server: the events it says every body holds.
    #[arg(long, hide = true, default_value_t = 100)]
    bare_batch: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Accepted, applied, end to end, with their ceilings (T1 - T4, T8, T9).
    Tiers,
    /// Acknowledged and committed (T5, T6).
    Latencies,
    /// live-stats by number of users (T7).
    Answers,
    /// `abctl replay` (T10).
    Backfill,
    /// Two workers (T12).
    Workers,
    /// `abctl up`, on SQLite (T11).
    OneProcess,
    /// A steady load for minutes (T8).
    Soak,
    /// The writers of streams alone, with each client of Redis that was built in.
    Writers,
    /// Cost by size of the tables and number of partitions and workers.
    Growth,
}

/// How much is measured.
pub struct Size {
    /// Of the large phases.
    pub events: u64,
    pub lasting: Duration,
    pub soak: Duration,
}

/// Settings of the PostgreSQL servers; fsync and everything else as it comes.
pub const POSTGRES: [(&str, &str); 2] = [("shared_buffers", "2GB"), ("max_wal_size", "4GB")];
/// Of the Redis servers. Rewriting their log from 64 MB on costs latency: ops/docs/performance.md.
pub const REDIS: [(&str, &str); 1] = [("auto-aof-rewrite-min-size", "1gb")];

pub fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    e2e::ended("bench", runtime.block_on(run(&options)))
}

async fn run(options: &Options) -> Result<()> {
    if let Some(port) = options.bare_server {
        return bare::serve(port, options.bare_batch).await;
    }
    let size = Size {
        events: options.events,
        lasting: Duration::from_secs(options.seconds),
        soak: Duration::from_secs(options.soak),
    };
    let has = |part| options.part.contains(&part);
    let mut table = Table::default();
    for run in 1..=options.runs {
        eprintln!("run {run} of {}", options.runs);
        measure(&size, u64::from(run), has, &mut table).await;
        // What is known so far is kept, whatever happens to the next run.
        table.write(&options.json)?;
    }
    if has(Part::Soak) {
        let ended = soak::soak(&size, 1, &mut table).await;
        table.ended("soak", ended);
    }
    if has(Part::Growth) {
        let ended = growth::growth(&size, &mut table).await;
        table.ended("growth", ended);
    }
    table.write(&options.json)?;
    println!(
        "{} run(s), {} events in the large phases, PostgreSQL with {POSTGRES:?}, Redis with {REDIS:?}; also in {}",
        options.runs,
        options.events,
        options.json.display()
    );
    table.lines().iter().for_each(|line| println!("{line}"));
    ensure!(!table.failed(), "a part did not come to its end");
    Ok(())
}

/// Each part once. One that fails takes nothing from the others.
async fn measure(size: &Size, seed: u64, has: impl Fn(Part) -> bool, table: &mut Table) {
    let mut accepted = None;
    if has(Part::Tiers) {
        let ended = raw::measure(pipeline::piled_up(size), seed, table).await;
        table.ended("raw inserts", ended);
        let ended = pipeline::accept_and_apply(size, seed, table).await;
        accepted = table.ended("accepted and applied", ended);
        let ended = pipeline::apply_repeats(size, seed, table).await;
        table.ended("repeats", ended);
        let ended = pipeline::end_to_end(size, seed, table).await;
        table.ended("end to end", ended);
    }
    if has(Part::Latencies) {
        let ended = latencies::acknowledged(size, seed, accepted, table).await;
        table.ended("acknowledged", ended);
        let ended = latencies::committed(size, seed, table).await;
        table.ended("committed", ended);
    }
    if has(Part::Answers) {
        let ended = answers::answers(seed, table).await;
        table.ended("answers", ended);
    }
    if has(Part::Backfill) {
        let ended = backfill::backfill(size, seed, table).await;
        table.ended("backfill", ended);
    }
    if has(Part::Workers) {
        let ended = workers::two_workers(size, seed, table).await;
        table.ended("two workers", ended);
    }
    if has(Part::OneProcess) {
        let ended = one_process::one_process(size.events, seed, table).await;
        table.ended("one process", ended);
    }
    if has(Part::Writers) {
        let ended = writers::side_by_side(size.events, table).await;
        table.ended("writers", ended);
    }
}
