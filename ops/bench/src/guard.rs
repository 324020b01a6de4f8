//! `make guard`: instructions per event along the pure paths, held against those that are checked in. Instructions are
//! counted by valgrind, so neither the machine nor what else it does matters.
//!
//! Counted are builds of the `dev` profile (opt-level 1 here), which CI has made anyway. Their figures are not those of
//! a release, but what adds work to a path adds it to both.

use crate::paths::{Inputs, Path};
use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

/// A path may cost so much more than what is checked in. Compilers, and which functions they find worth inlining, move
/// the figures by less.
const TOLERANCE: f64 = 0.10;
/// Runs of a path in the two counted processes: the difference leaves out what starting takes.
const ROUNDS: [u64; 2] = [1, 4];

#[derive(Parser)]
#[command(about = "Count instructions per event and compare them with those checked in")]
struct Options {
    /// The figures to be held against.
    #[arg(long, default_value = "ops/bench/instructions.json")]
    known: std::path::PathBuf,
    /// Write them instead.
    #[arg(long)]
    bless: bool,
    /// Run a path so often and end: what is counted.
    #[arg(long, hide = true, value_enum)]
    path: Option<Path>,
    #[arg(long, hide = true, default_value_t = 1)]
    rounds: u64,
}

pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("guard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let inputs = Inputs::new()?;
    if let Some(path) = options.path {
        for _ in 0..options.rounds {
            inputs.run(path)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut counted = BTreeMap::new();
    for path in Path::ALL {
        let [few, many] = [count(path, ROUNDS[0])?, count(path, ROUNDS[1])?];
        let more = (ROUNDS[1] - ROUNDS[0]) * inputs.times(path);
        counted.insert(path.name().to_owned(), (many - few) / more);
    }
    if options.bless {
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        std::fs::write(&options.known, text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let known = std::fs::read(&options.known).with_context(|| options.known.display().to_string())?;
    let known: BTreeMap<String, u64> = serde_json::from_slice(&known)?;
    let mut code = ExitCode::SUCCESS;
    for (path, instructions) in &counted {
        let before = *known.get(path).with_context(|| format!("{path} is not checked in"))?;
        let times = *instructions as f64 / before as f64;
        let verdict = match times {
            more if more > 1.0 + TOLERANCE => {
                code = ExitCode::FAILURE;
                ": SLOWER. Meant? `make guard-bless`, and say why in the commit"
            }
            less if less < 1.0 - TOLERANCE => ": faster. Keep it: `make guard-bless`",
            _ => "",
        };
        println!(
            "{path:<8} {instructions:>7} instructions an event, {before} checked in, {times:.2} times{verdict}"
        );
    }
    Ok(code)
}

/// Instructions of a process that runs a path so often.
fn count(path: Path, rounds: u64) -> Result<u64> {
    let directory = testkit::temp_dir("guard")?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", directory.join("out").display()))
        .arg(std::env::current_exe()?)
        .args(["--path", path.name(), "--rounds", &rounds.to_string()])
        .output()
        .context("run valgrind (make setup does not install it; ops/setup.sh valgrind does)")?;
    std::fs::remove_dir_all(directory)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, collected)) = collected else { bail!("valgrind says no number: {said}") };
    Ok(collected.trim().parse()?)
}
