//! `make backlog EVENTS=N`: a worker that catches up with so many events, and the most memory it had.

#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use e2e::backlog;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::ended("backlog", caught_up().await)
}

async fn caught_up() -> Result<()> {
    let events = std::env::args().nth(1).context("usage: backlog EVENTS")?;
    let outcome = backlog::run(events.parse().with_context(|| format!("{events} is no number"))?).await?;
    println!("{outcome}");
    outcome.check()
}
