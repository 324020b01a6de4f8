//! The ceiling of a database: the same events merely inserted, nothing counted.

use crate::POSTGRES;
use crate::table::{Goal, Table};
use abctl::simulate::lane::Lane;
use anyhow::Result;
use domain::{Decimal, UnitId};
use ingest_worker::Lanes;
use serde::Deserialize;
use std::pin::pin;
use std::time::Instant;
use testkit::Postgres;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use uuid::Uuid;

const RAW: &str = "raw insert, one connection";
/// As many as the worker has lanes.
pub const RAW_LANES: &str = "raw insert, as many connections as lanes";
pub const RAW_UNIT: &str = "raw insert, disk per exposure";
pub const RAW_CONVERSION: &str = "raw insert, disk per conversion";
pub const RAW_SQLITE: &str = "raw insert into SQLite";

/// When everything occurred.
const AT: i64 = 1_772_359_200_000_000;
/// Events of one transaction, as the worker's default.
const CHUNK: u32 = 10_000;

/// What the mixed load needs at the least: every exposure and every conversion once.
const TABLES: &str = "
    CREATE TABLE exposures (unit uuid, experiment bigint, variation smallint, occurred_at bigint,
        tenant text, user_id text, PRIMARY KEY (unit, experiment));
    CREATE TABLE conversions (unit uuid, experiment bigint, value bigint, occurred_at bigint,
        received_at bigint, batch uuid, tenant text, metric text, key text, PRIMARY KEY (unit, experiment, key));";

const SQLITE: &str = "
    CREATE TABLE exposures (unit BLOB, experiment INTEGER, variation INTEGER, occurred_at INTEGER,
        tenant TEXT, user_id TEXT, PRIMARY KEY (unit, experiment)) WITHOUT ROWID;
    CREATE TABLE conversions (unit BLOB, experiment INTEGER, value INTEGER, occurred_at INTEGER,
        received_at INTEGER, batch BLOB, tenant TEXT, metric TEXT, key TEXT, PRIMARY KEY (unit, experiment, key))
        WITHOUT ROWID;";

const STAGING: &str = "
    CREATE TEMP TABLE new_exposures (LIKE exposures) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE new_conversions (LIKE conversions) ON COMMIT DELETE ROWS;";

#[derive(Deserialize)]
struct Body {
    events: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    user_id: String,
    #[serde(default)]
    variation_index: i16,
    metric: Option<String>,
    #[serde(default)]
    value: Decimal,
    idempotency_key: Option<String>,
}

/// The rows of one transaction.
struct Chunk {
    batch: Uuid,
    exposures: Vec<(Uuid, i16, String)>,
    /// Unit, value, metric, key.
    conversions: Vec<(Uuid, i64, String, String)>,
}

/// `events`: as many as T2 applies, for an insert costs the more the larger the tables are.
pub async fn measure(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    for (name, connections) in [(RAW, 1), (RAW_LANES, u32::from(Lanes::number()))] {
        let server = Postgres::start_with(&POSTGRES).await?;
        server.execute("postgres", TABLES).await?;
        let mut inserting = JoinSet::new();
        let share = events / u64::from(connections);
        // Without a user in common: the same user on two connections would deadlock.
        let shares: Vec<_> = (0..connections).map(|number| chunks(share, seed, number)).collect();
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(server.connect("postgres").await?);
        }
        let begun = Instant::now();
        for (client, chunks) in clients.into_iter().zip(shares) {
            inserting.spawn(async move { insert(&client, &chunks).await });
        }
        while let Some(inserted) = inserting.join_next().await {
            inserted??;
        }
        let all = (share * u64::from(connections)) as f64;
        table.add(name, "events/s", all / begun.elapsed().as_secs_f64(), Goal::None, None);
        if connections == 1 {
            let client = server.connect("postgres").await?;
            for (name, of) in [(RAW_UNIT, "exposures"), (RAW_CONVERSION, "conversions")] {
                let sql = format!("SELECT pg_total_relation_size('{of}')::float8 / count(*) FROM {of}");
                table.add(name, "bytes", client.query_one(&sql, &[]).await?.get(0), Goal::None, None);
            }
        }
    }
    Ok(())
}

/// The same into SQLite, as durable as the one-process mode is.
pub fn measure_sqlite(events: u64, seed: u64, table: &mut Table) -> Result<()> {
    let chunks = chunks(events, seed, 0);
    let directory = testkit::temp_dir("raw-sqlite")?;
    let mut database = rusqlite::Connection::open(directory.join("raw.db"))?;
    database.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    database.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 32768",
    )?;
    database.execute_batch(SQLITE)?;
    let begun = Instant::now();
    for chunk in &chunks {
        let transaction = database.transaction()?;
        {
            let mut exposure =
                transaction.prepare_cached("INSERT OR IGNORE INTO exposures VALUES (?,?,?,?,?,?)")?;
            for (unit, variation, user) in &chunk.exposures {
                exposure.execute((unit.as_bytes(), 1, variation, AT, "default", user))?;
            }
            let mut conversion =
                transaction.prepare_cached("INSERT OR IGNORE INTO conversions VALUES (?,?,?,?,?,?,?,?,?)")?;
            for (unit, value, metric, key) in &chunk.conversions {
                let (unit, batch) = (unit.as_bytes(), chunk.batch.as_bytes());
                conversion.execute((unit, 1, value, AT, AT, batch, "default", metric, key))?;
            }
        }
        transaction.commit()?;
    }
    table.add(RAW_SQLITE, "events/s", events as f64 / begun.elapsed().as_secs_f64(), Goal::None, None);
    drop(database);
    Ok(std::fs::remove_dir_all(directory)?)
}

fn chunks(events: u64, seed: u64, number: u32) -> Vec<Chunk> {
    let simulation = e2e::run::plain(events, seed);
    let mut lane = Lane::new(&simulation.plot, number, events);
    let mut chunks = Vec::new();
    while let Some(batch) = lane.next(CHUNK) {
        let body: Body = serde_json::from_slice(&batch.body).expect("our own JSON");
        let mut chunk = Chunk { batch: Uuid::from_u128(1), exposures: Vec::new(), conversions: Vec::new() };
        for item in body.events {
            let unit = Uuid::from_bytes(UnitId::of("default", &item.user_id).0);
            match (item.metric, item.idempotency_key) {
                (Some(metric), Some(key)) => chunk.conversions.push((unit, item.value.0, metric, key)),
                _ => chunk.exposures.push((unit, item.variation_index, item.user_id)),
            }
        }
        chunks.push(chunk);
    }
    chunks
}

async fn insert(client: &Client, chunks: &[Chunk]) -> Result<()> {
    client.batch_execute(STAGING).await?;
    for chunk in chunks {
        client.batch_execute("BEGIN").await?;
        let types = [Type::UUID, Type::INT8, Type::INT2, Type::INT8, Type::TEXT, Type::TEXT];
        let sink = client.copy_in("COPY new_exposures FROM STDIN (FORMAT binary)").await?;
        let mut rows = pin!(BinaryCopyInWriter::new(sink, &types));
        for (unit, variation, user) in &chunk.exposures {
            rows.as_mut().write(&[unit, &1_i64, variation, &AT, &"default", user]).await?;
        }
        rows.finish().await?;
        client
            .batch_execute("INSERT INTO exposures SELECT * FROM new_exposures ON CONFLICT DO NOTHING")
            .await?;
        let types = [
            Type::UUID,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::INT8,
            Type::UUID,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
        ];
        let sink = client.copy_in("COPY new_conversions FROM STDIN (FORMAT binary)").await?;
        let mut rows = pin!(BinaryCopyInWriter::new(sink, &types));
        for (unit, value, metric, key) in &chunk.conversions {
            rows.as_mut()
                .write(&[unit, &1_i64, value, &AT, &AT, &chunk.batch, &"default", metric, key])
                .await?;
        }
        rows.finish().await?;
        client
            .batch_execute(
                "INSERT INTO conversions SELECT * FROM new_conversions ON CONFLICT DO NOTHING; COMMIT",
            )
            .await?;
    }
    Ok(())
}
