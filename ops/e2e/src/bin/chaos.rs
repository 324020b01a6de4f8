//! `make chaos SECONDS=N`: everything breaks that can, for so long; the last line says what came of it.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result};
use e2e::chaos;
use std::process::ExitCode;
use std::time::Duration;

/// A defect shows in thousands of rows, of which a few are enough.
const SHOWN: usize = 20;

#[tokio::main]
async fn main() -> ExitCode {
    match troubled().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn troubled() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &str| -> Result<u64> {
        let text = arguments.next().with_context(|| format!("usage: chaos SECONDS SEED: no {what}"))?;
        text.parse().with_context(|| format!("usage: chaos SECONDS SEED: {text} is no {what}"))
    };
    let (seconds, seed) = (number("number of seconds")?, number("seed")?);
    println!(
        "chaos for {seconds} s by seed {seed}: two gateways, two workers, analyzer, PostgreSQL, Redis .."
    );
    let report = chaos::run(seed, Duration::from_secs(seconds)).await?;
    let differences = &report.verdict.differences;
    differences.iter().take(SHOWN).for_each(|d| println!("DIFFERENT: {d}"));
    if differences.len() > SHOWN {
        println!("DIFFERENT: and {} more", differences.len() - SHOWN);
    }
    println!("{report}");
    Ok(report.is_good())
}
