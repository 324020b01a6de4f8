//! `make bench`: speeds and sizes of the whole pipeline, each beside the ceiling that the same machine showed in the
//! same run. Absolute figures move by tens of percent between runs: judge by the shares.

// A failure is shown to whoever runs the benchmark.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]
#![allow(clippy::cast_precision_loss)] // figures for people

mod answers;
mod bare;
mod one_process;
mod pipeline;
mod raw;
mod table;
mod writers;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use std::process::ExitCode;
use table::Table;

#[derive(Parser)]
#[command(about = "Measure abstream against the machine's own ceilings")]
struct Options {
    /// Repetitions; medians are shown.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Events of the large phases; repeats and end to end take four times as many.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
    /// Serve 202 to whatever comes on this port, and nothing else: the ceiling of the gateway.
    #[arg(long, hide = true)]
    bare_server: Option<u16>,
    /// With --bare-server: the events it says every body holds.
    #[arg(long, hide = true, default_value_t = 100)]
    bare_batch: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    All,
    /// Three tiers on PostgreSQL and Redis.
    Tiers,
    /// `abctl up`, on SQLite.
    OneProcess,
    /// The writers of streams alone, with each client of Redis that was built in.
    Writers,
    /// live-stats by number of users.
    Answers,
}

/// Settings of the PostgreSQL servers; fsync and everything else as it comes.
pub const POSTGRES: [(&str, &str); 2] = [("shared_buffers", "2GB"), ("max_wal_size", "4GB")];

pub fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    if let Some(port) = options.bare_server {
        return bare::serve(port, options.bare_batch).await;
    }
    let mut table = Table::default();
    for run in 1..=options.runs {
        eprintln!("run {run} of {}", options.runs);
        if matches!(options.part, Part::All | Part::Tiers) {
            raw::measure(options.events, u64::from(run), &mut table).await?;
            pipeline::accept_and_apply(options.events, u64::from(run), &mut table).await?;
            // The fast phases take more, so that they last for seconds.
            pipeline::apply_repeats(options.events * 4, u64::from(run), &mut table).await?;
            pipeline::end_to_end(options.events * 4, u64::from(run), &mut table).await?;
        }
        if matches!(options.part, Part::All | Part::OneProcess) {
            one_process::one_process(options.events, u64::from(run), &mut table).await?;
        }
        if matches!(options.part, Part::All | Part::Writers) {
            writers::side_by_side(options.events, &mut table).await?;
        }
        if matches!(options.part, Part::All | Part::Answers) {
            answers::answers(u64::from(run), &mut table).await?;
        }
    }
    println!(
        "{} run(s), {} events in the large phases, PostgreSQL with {POSTGRES:?}",
        options.runs, options.events
    );
    table.lines().iter().for_each(|line| println!("{line}"));
    Ok(())
}
