//! `abctl replay` of a compressed file, twice (T10).

use crate::Size;
use crate::pipeline::{experiments, load, setup};
use crate::raw::RAW_LANES;
use crate::table::{Goal, Table};
use abctl::simulate::lane::Lane;
use anyhow::{Context, Result, ensure};
use e2e::{API_TOKEN, Deployment, System};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;
use testkit::Process;

const LIMIT: Duration = Duration::from_secs(600);
const BATCH: u32 = 1_000;

/// What `abctl replay --json` says at its end.
#[derive(Deserialize)]
struct Summary {
    received: u64,
    recorded: u64,
    seconds: f64,
}

pub async fn backfill(size: &Size, seed: u64, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let load = load(size.events, seed * 100 + 2, 1, BATCH);
    experiments(&system, &load).await?;
    let directory = testkit::temp_dir("backfill")?;
    let file = directory.join("events.ndjson.gz");
    let mut lane = Lane::new(&load.plot, 0, load.events);
    write(&mut lane, &file)?;
    let first = replay(&system, &file).await?;
    ensure!(first.received == load.events, "{} of {} lines were received", first.received, load.events);
    let rate = first.received as f64 / first.seconds;
    let name = format!("T10 replay of {} lines, gzip NDJSON", load.events);
    table.add(name, "events/s", rate, Goal::AtLeast(80_000.0), Some(RAW_LANES));
    table.explain("every request waits for its commit, eight at a time, and the file is read twice, once for its digest");
    let second = replay(&system, &file).await?;
    let again = second.received as f64 / second.seconds;
    table.add("T10 the same file again: recorded", "events", second.recorded as f64, Goal::AtMost(0.0), None);
    table.add("T10 the same file again", "events/s", again, Goal::None, None);
    std::fs::remove_dir_all(directory)?;
    system.stop().await
}

/// The lane's events, one a line.
fn write(lane: &mut Lane, path: &Path) -> Result<()> {
    let mut lines = BufWriter::new(GzEncoder::new(File::create(path)?, Compression::fast()));
    while let Some(batch) = lane.next(BATCH) {
        let body = std::str::from_utf8(&batch.body)?;
        let items = body.strip_prefix("{\"events\":[").and_then(|rest| rest.strip_suffix("]}"));
        lines.write_all(items.context("a list of events")?.replace("},{", "}\n{").as_bytes())?;
        lines.write_all(b"\n")?;
    }
    lines.into_inner().map_err(|error| error.into_error())?.finish()?;
    Ok(())
}

async fn replay(system: &System, file: &Path) -> Result<Summary> {
    let mut process = Process::of("abctl")?
        .arg("replay")
        .arg("--json")
        .arg(file)
        .env("AB_URL", system.gateway_url())
        .env("AB_API_TOKEN", API_TOKEN)
        .spawn()?;
    let status = process.wait(LIMIT).await?;
    ensure!(status.success(), "abctl replay: {status}: {}", process.stderr());
    serde_json::from_str(&process.stdout()).context("what abctl replay says")
}
