//! `make backlog EVENTS=N`: a worker that catches up with so many events, and the most memory it had.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result};
use e2e::backlog;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match caught_up().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backlog: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn caught_up() -> Result<()> {
    let events = std::env::args().nth(1).context("usage: backlog EVENTS")?;
    let outcome = backlog::run(events.parse().with_context(|| format!("{events} is no number"))?).await?;
    println!("{outcome}");
    outcome.check()
}
