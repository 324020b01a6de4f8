//! `make loaded`: a gateway that is asked for many more experiments than it keeps, and for many that are not there.

#![allow(clippy::print_stdout)]

use anyhow::{Result, bail};
use e2e::loaded::{self, Asked};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::ended("loaded", act().await)
}

async fn act() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [known, unknown] = &arguments[..] else { bail!("usage: loaded KNOWN UNKNOWN") };
    let asked = Asked { known: known.parse()?, unknown: unknown.parse()?, max_loaded: 10_000, misses: 2_000 };
    let outcome = loaded::run(asked).await?;
    println!("{outcome}");
    outcome.check()
}
