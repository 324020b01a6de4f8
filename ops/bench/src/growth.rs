//! What an event costs by how much there is already, and by how the work is divided. Run by hand.

use crate::Size;
use crate::pipeline::{client, load, setup, until};
use crate::table::{Goal, Table};
use crate::usage::Usage;
use anyhow::Result;
use e2e::run::{self, silent};
use e2e::{Setup, System};
use std::time::{Duration, Instant};

const PARTITIONS: [u16; 5] = [1, 2, 4, 8, 16];
/// Users there are before what is measured comes.
const UNITS: [u64; 3] = [100_000, 1_000_000, 10_000_000];
/// Of the plain load, so many of a thousand events are first exposures.
const FIRST_OF_THOUSAND: u64 = 556;
/// Sent at a time, so that the queue stays small.
const PORTION: u64 = 2_000_000;
const STARTED: Duration = Duration::from_secs(60);

pub async fn growth(size: &Size, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let (mut there, mut seed, mut sent) = (0, 1_000, 0);
    for units in UNITS {
        while there < units {
            let events = ((units - there) * 1_000).div_ceil(FIRST_OF_THOUSAND).min(PORTION);
            seed += 1;
            sent += send(&system, events, seed).await?;
            until(&client(&system).await?, i64::try_from(sent)?).await?;
            there += events * FIRST_OF_THOUSAND / 1_000;
        }
        seed += 1;
        let name = format!("growth, {units} units there");
        sent += through(&system, size.events, seed, sent, &name, table).await?;
        there += size.events * FIRST_OF_THOUSAND / 1_000;
    }
    system.stop().await?;
    for workers in [1, 2] {
        for partitions in PARTITIONS {
            let mut system = System::start(Setup { partitions, ..setup(false) }).await?;
            let mut others = Vec::new();
            for _ in 1..workers {
                others.push(system.another_worker()?);
            }
            system.start_worker()?;
            // Enough to have every plan known and every share taken.
            let warm = send(&system, size.events / 4, 1).await?;
            until(&client(&system).await?, i64::try_from(warm)?).await?;
            let name = format!("growth, {partitions} partitions, {workers} workers");
            through(&system, size.events, 2, warm, &name, table).await?;
            for (mut worker, _) in others {
                worker.terminate(STARTED).await?;
            }
            system.stop().await?;
        }
    }
    Ok(())
}

async fn send(system: &System, events: u64, seed: u64) -> Result<u64> {
    Ok(run::send(system, &load(events, seed, 8, 1_000), silent()).await?.answers.received)
}

/// From the first request to the last commit.
async fn through(
    system: &System,
    events: u64,
    seed: u64,
    before: u64,
    name: &str,
    table: &mut Table,
) -> Result<u64> {
    let (usage, begun) = (Usage::of(system)?, Instant::now());
    let sent = send(system, events, seed).await?;
    let (ended, _) = until(&client(system).await?, i64::try_from(before + sent)?).await?;
    table.add(name, "events/s", sent as f64 / (ended - begun).as_secs_f64(), Goal::None, None);
    usage.add(name, sent as f64, table)?;
    Ok(sent)
}
