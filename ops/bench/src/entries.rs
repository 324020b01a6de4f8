//! The entries that the gateway wrote, read back: what Redis alone makes of writing and reading them.

use anyhow::{Context, Result};
use redis::Value;
use std::time::Instant;
use testkit::Redis;
use tokio::task::JoinSet;

/// Entries read, or written, in one round trip.
const READ: usize = 500;
const PIPELINE: usize = 16;

/// Entries of every stream; an entry is its fields and their values.
pub struct Entries {
    streams: Vec<(String, Vec<Vec<Vec<u8>>>)>,
    /// Seconds that reading them took.
    pub read_in: f64,
}

impl Entries {
    /// All there are behind `after`, which then stands at their end.
    pub async fn read(redis: &Redis, after: &mut Vec<String>, partitions: u16) -> Result<Entries> {
        after.resize(partitions.into(), "-".to_owned());
        let begun = Instant::now();
        let mut readers = JoinSet::new();
        for (partition, from) in after.iter().cloned().enumerate() {
            readers.spawn(read(redis.connect().await?, partition, from));
        }
        let mut streams = Vec::new();
        while let Some(read) = readers.join_next().await {
            let (partition, last, entries) = read??;
            if let Some(last) = last {
                after[partition] = format!("({last}");
            }
            streams.push((name(partition), entries));
        }
        Ok(Entries { streams, read_in: begun.elapsed().as_secs_f64() })
    }

    /// Seconds that writing them into an empty Redis takes, every stream on a connection of its own.
    pub async fn write(self) -> Result<f64> {
        let redis = Redis::start().await?;
        let mut connections = Vec::new();
        for _ in &self.streams {
            connections.push(redis.connect().await?);
        }
        let begun = Instant::now();
        let mut writers = JoinSet::new();
        for ((name, entries), mut connection) in self.streams.into_iter().zip(connections) {
            writers.spawn(async move {
                for chunk in entries.chunks(PIPELINE) {
                    let mut pipe = redis::pipe();
                    for fields in chunk {
                        pipe.cmd("XADD").arg(&name).arg("*").arg(fields).ignore();
                    }
                    pipe.query_async::<()>(&mut connection).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn name(partition: usize) -> String {
    format!("ab:{{events:{partition:02}}}")
}

type Read = (usize, Option<String>, Vec<Vec<Vec<u8>>>);

async fn read(
    mut connection: redis::aio::MultiplexedConnection,
    partition: usize,
    mut from: String,
) -> Result<Read> {
    let (mut last, mut all) = (None, Vec::new());
    loop {
        let mut command = redis::cmd("XRANGE");
        command.arg(name(partition)).arg(&from).arg("+").arg("COUNT").arg(READ);
        let entries: Vec<(String, Vec<Value>)> = command.query_async(&mut connection).await?;
        let Some((id, _)) = entries.last() else { return Ok((partition, last, all)) };
        from = format!("({id}");
        last = Some(id.clone());
        for (_, fields) in entries {
            all.push(fields.into_iter().map(bytes).collect::<Result<_>>()?);
        }
    }
}

fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
    .context("an entry's field")
}
