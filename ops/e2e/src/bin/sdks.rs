//! `make sdks`: the real clients against a running system, one line each. `sdks LAB [CLIENT..]`, the lab made by
//! `ops/clients/real/install.sh`.

#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, ensure};
use e2e::sdks::{ALL, Lab, run_client, system};
use std::path::Path;
use std::process::ExitCode;

/// Each one exposure and one conversion.
const USERS: u64 = 5_000;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::ended("sdks", sdks().await)
}

async fn sdks() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let lab = arguments.next().context("usage: sdks LAB [CLIENT..]")?;
    let lab = Lab::at(Path::new(&lab))?;
    let chosen: Vec<String> = arguments.collect();
    let mut system = system().await?;
    let mut failed = 0;
    for client in ALL.into_iter().filter(|known| chosen.is_empty() || chosen.iter().any(|c| c == known)) {
        match run_client(&mut system, &lab, client, USERS).await {
            Ok(line) => println!("{client}: {line}"),
            Err(error) => {
                failed += 1;
                println!("{client}: FAILED: {error:#}");
            }
        }
    }
    system.stop().await?;
    ensure!(failed == 0, "{failed} clients failed");
    Ok(())
}
