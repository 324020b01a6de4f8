//! What an answer costs at ten thousand, a million and ten million users (T7).
//!
//! Ten thousand users come over HTTP. The larger experiments have the same arms, metrics and partitions, and their
//! moments are not applied but loaded: those of the ten thousand times a factor, on each of thirty days; and counters
//! of four hundred days.

use crate::pipeline::{client, load, setup};
use crate::table::{Goal, Table};
use anyhow::{Context, Result, ensure};
use domain::codec::encode_moments;
use domain::{Day, Moments};
use e2e::run::{self, silent};
use e2e::{Deployment, System};
use ethnum::I256;
use hdrhistogram::Histogram;
use std::time::Instant;
use store::{ArmRow, Experiment};
use tokio_postgres::Client;

/// Of the plain load, about 10,000 are first exposures.
const EVENTS: u64 = 18_000;
/// Rows that the last one is found among.
const DAYS: i32 = 30;
/// On which every counter of every arm and partition has a row.
const COUNTED_DAYS: i32 = 400;
/// Requests of one latency figure.
const REQUESTS: u32 = 2_000;
/// Key, name and users of the experiments whose moments are loaded.
const LARGER: [(&str, &str, i64); 2] = [
    ("million", "T7 live-stats p99, 1 million users, moments loaded", 1_000_000),
    ("ten-million", "T7 live-stats p99, 10 million users, moments loaded", 10_000_000),
];
const FLOOR: &str = "an answer that says nothing, p99";
const SMALL: &str = "T7 live-stats p99, 10 thousand users, sent over HTTP";

pub async fn answers(seed: u64, table: &mut Table) -> Result<()> {
    let system = System::start(setup(true)).await?;
    let database = client(&system).await?;
    run::send(&system, &load(EVENTS, seed * 100 + 12, 3, 1_000), silent()).await?;
    run::settled(&system).await?;
    let small = experiment(&system, "sim-load").await?;
    let rows = system.store.answer(&small, None).await?;
    let users: i64 = rows.iter().map(|row| row.moments.heads.enrolled).sum();
    ensure!((9_000..=11_000).contains(&users), "{users} users instead of about ten thousand");
    for (key, _, wanted) in LARGER {
        let mut definition = serde_json::to_value(&small.definition)?;
        definition["key"] = key.into();
        system.experiment(definition).await?;
        let larger = experiment(&system, key).await?;
        write(&database, &larger, &rows, wanted / users).await?;
        count(&database, &larger).await?;
    }
    let paths = ["/livez", &path("sim-load"), &path(LARGER[0].0), &path(LARGER[1].0)];
    let [floor, least, middle, largest] = latencies(&system, paths).await?;
    table.add(FLOOR, "ms", floor, Goal::None, None);
    for (name, millis) in [(SMALL, least), (LARGER[0].1, middle), (LARGER[1].1, largest)] {
        table.add(name, "ms", millis, Goal::AtMost(5.0), Some(FLOOR));
    }
    table.add("T7 ten million users against ten thousand", "times", largest / least, Goal::AtMost(1.5), None);
    table.explain(format!(
        "{largest:.2} ms against {least:.2} ms in the last run: sums of more digits, the same rows"
    ));
    system.stop().await
}

fn path(key: &str) -> String {
    format!("/api/v1/experiments/{key}/live-stats")
}

/// The 99th percentile of each, in milliseconds: one request after another, in turn, so that whatever else the machine
/// does is in all of them.
async fn latencies<const N: usize>(system: &System, paths: [&str; N]) -> Result<[f64; N]> {
    let (client, new) = (system.admin(), Histogram::<u64>::new(3)?);
    let mut micros: [Histogram<u64>; N] = std::array::from_fn(|_| new.clone());
    for n in 0..REQUESTS + 100 {
        for (path, micros) in paths.iter().zip(&mut micros) {
            let begun = Instant::now();
            let answer = client.get(path).await?;
            ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
            // The first hundred open connections and fill caches.
            if n >= 100 {
                micros.record(u64::try_from(begun.elapsed().as_micros())?)?;
            }
        }
    }
    Ok(micros.map(|micros| micros.value_at_quantile(0.99) as f64 / 1000.0))
}

async fn experiment(system: &System, key: &str) -> Result<Experiment> {
    system.store.experiment("default", key).await?.with_context(|| format!("no experiment {key}"))
}

async fn write(database: &Client, to: &Experiment, rows: &[ArmRow], times: i64) -> Result<()> {
    for row in rows {
        let vector = encode_moments(&multiplied(&row.moments, times));
        let (version, partition) = (i32::try_from(to.plan_version)?, i16::try_from(row.key.partition.0)?);
        let phase = i32::from(row.key.phase);
        database
            .execute(
                "INSERT INTO moments_keys (experiment, plan_version, partition, variation, stratum, phase)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                &[&to.id.0, &version, &partition, &row.key.variation, &row.key.stratum, &phase],
            )
            .await?;
        for back in 0..DAYS {
            let day = Day(row.day.0 - back).to_string();
            database
                .execute(
                    "INSERT INTO moments (experiment, plan_version, partition, variation, stratum, phase, day, vector)
                     VALUES ($1, $2, $3, $4, $5, $6, $7::text::date, $8)",
                    &[&to.id.0, &version, &partition, &row.key.variation, &row.key.stratum, &phase, &day, &vector],
                )
                .await?;
        }
    }
    database.batch_execute("ANALYZE moments; ANALYZE moments_keys").await?;
    Ok(())
}

/// What the quality of data is told from.
async fn count(database: &Client, of: &Experiment) -> Result<()> {
    let arms = i32::try_from(of.definition.variations.len())?;
    database
        .execute(
            "INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
             SELECT 'default', $1, p.partition, arm, current_date - back, name, 7
             FROM partitions p, generate_series(-1, $2 - 1) AS arm, generate_series(0, $3 - 1) AS back,
                  unnest(ARRAY['late', 'clock_corrected', 'keyless', 'conflicts', 'deduplicated']) AS name",
            &[&of.id.0, &arms, &COUNTED_DAYS],
        )
        .await?;
    database.batch_execute("ANALYZE counters; ANALYZE counter_totals").await?;
    Ok(())
}

/// The sums of so many times the same users.
fn multiplied(moments: &Moments, times: i64) -> Moments {
    let mut many = moments.clone();
    many.heads = domain::contribution::Heads::from_array(many.heads.to_array().map(|n| n * times));
    many.products.iter_mut().for_each(|sum| *sum *= I256::from(times));
    many
}
