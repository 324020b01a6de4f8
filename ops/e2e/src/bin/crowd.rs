//! `make crowd`: a gateway with 10,000 idle and 1,000 slowly sending connections, and what a client notices of them.
//! `crowd hold ADDRESS IDLE DRIPPING` is the crowd itself.

#![allow(clippy::print_stdout)]

use anyhow::{Result, bail};
use e2e::crowd::{self, holder};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    e2e::ended("crowd", act().await)
}

async fn act() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let held = |idle: &str, dripping: &str| -> Result<holder::Held> {
        Ok(holder::Held { idle: idle.parse()?, dripping: dripping.parse()? })
    };
    match words[..] {
        ["hold", gateway, idle, dripping] => holder::hold(gateway.parse()?, held(idle, dripping)?).await,
        [idle, dripping] => {
            let outcome = crowd::run(held(idle, dripping)?).await?;
            println!("{outcome}");
            outcome.check()
        }
        _ => bail!("usage: crowd IDLE DRIPPING"),
    }
}
