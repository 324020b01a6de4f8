//! The only place that names Redis commands and keys.
//!
//! Everything of one partition carries the hash tag `{events:NN}` and everything of the catalogue `{catalogue}`, so
//! that each pipeline stays on one slot of a Redis Cluster.

use std::time::Duration;

use domain::Partition;
use redis::{Arg, Cmd, Pipeline, Value};
use uuid::Uuid;

use crate::limiter::Allowance;
use crate::numbering::Stamp;
use crate::reader::EntryId;
use crate::redis::slots::Slot;

/// Fields of an entry: writer, number, running total of events, frames.
pub(crate) const WRITER: &[u8] = b"w";
pub(crate) const NUMBER: &[u8] = b"n";
pub(crate) const TOTAL: &[u8] = b"t";
pub(crate) const FRAMES: &[u8] = b"f";

pub(crate) fn stream(partition: Partition) -> String {
    format!("ab:{{events:{partition}}}")
}

/// Of the stream and everything else of the partition.
pub(crate) fn slot(partition: Partition) -> Slot {
    Slot::of(&stream(partition))
}

/// Hash: writer -> total of events sent.
pub(crate) fn sent(partition: Partition) -> String {
    format!("ab:{{events:{partition}}}:sent")
}

/// Hash: writer -> total of events applied.
pub(crate) fn applied(partition: Partition) -> String {
    format!("ab:{{events:{partition}}}:applied")
}

/// An entry, the writer's total, and with `replicas` a wait for so many.
pub(crate) fn write_entry(
    partition: Partition,
    writer: Uuid,
    stamp: Stamp,
    payload: &[u8],
    replicas: Option<(u32, Duration)>,
) -> Pipeline {
    let mut pipeline = redis::pipe();
    // Never MAXLEN: it would delete what nobody has applied.
    pipeline.cmd("XADD").arg(stream(partition)).arg("*");
    pipeline.arg(WRITER).arg(&writer.as_bytes()[..]).arg(NUMBER).arg(stamp.number);
    pipeline.arg(TOTAL).arg(stamp.total).arg(FRAMES).arg(payload);
    pipeline.cmd("HSET").arg(sent(partition)).arg(&writer.as_bytes()[..]).arg(stamp.total);
    if let Some((replicas, timeout)) = replicas {
        pipeline.cmd("WAIT").arg(replicas).arg(millis(timeout));
    }
    pipeline
}

/// Up to `count` entries from `from` on, itself included.
pub(crate) fn read_from(partition: Partition, from: EntryId, count: usize) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("XRANGE").arg(stream(partition)).arg(from.to_string()).arg("+").arg("COUNT").arg(count);
    pipeline
}

/// Answers when there is an entry after `after`, or after `block` (not zero: that is for ever).
pub(crate) fn wait_after(partition: Partition, after: EntryId, block: Duration) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(millis(block).max(1));
    pipeline.arg("STREAMS").arg(stream(partition)).arg(after.to_string());
    pipeline
}

/// Both hashes of a partition, sent before applied.
pub(crate) fn totals(partition: Partition) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("HGETALL").arg(sent(partition));
    pipeline.cmd("HGETALL").arg(applied(partition));
    pipeline
}

/// The server's clock, the first entry of all, and the first after `position`.
pub(crate) fn first_entries(partition: Partition, position: EntryId) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    for from in ["-".to_owned(), format!("({position}")] {
        pipeline.cmd("XRANGE").arg(stream(partition)).arg(from).arg("+").arg("COUNT").arg(1);
    }
    pipeline
}

pub(crate) fn memory() -> Pipeline {
    let mut pipeline = redis::pipe();
    add_memory(&mut pipeline);
    pipeline
}

/// The server's clock, then its memory.
pub(crate) fn clock_and_memory() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    add_memory(&mut pipeline);
    pipeline
}

fn add_memory(pipeline: &mut Pipeline) {
    pipeline.cmd("INFO").arg("memory");
}

/// Totals applied of each writer.
pub(crate) fn add_applied(pipeline: &mut Pipeline, partition: Partition, totals: &[(Uuid, u64)]) {
    pipeline.cmd("HSET").arg(applied(partition));
    for (writer, total) in totals {
        pipeline.arg(&writer.as_bytes()[..]).arg(*total);
    }
}

pub(crate) fn forget_writers(partition: Partition, writers: &[Uuid]) -> Pipeline {
    let mut pipeline = redis::pipe();
    for key in [sent(partition), applied(partition)] {
        pipeline.cmd("HDEL").arg(key);
        for writer in writers {
            pipeline.arg(&writer.as_bytes()[..]);
        }
    }
    pipeline
}

pub(crate) fn add_publish(pipeline: &mut Pipeline, channel: &str, message: &[u8]) {
    pipeline.cmd("PUBLISH").arg(channel).arg(message);
}

/// Deletes whole nodes of entries below `first_kept`, which itself always stays.
pub(crate) fn add_trim(pipeline: &mut Pipeline, partition: Partition, first_kept: EntryId) {
    pipeline.cmd("XTRIM").arg(stream(partition)).arg("MINID").arg("~").arg(first_kept.to_string());
}

/// Asks for a sign of life, and whether the server still has the slot of this name.
pub(crate) fn probe(name: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("EXISTS").arg(name);
    pipeline
}

/// What each server of the cluster has.
pub(crate) fn slots() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLUSTER").arg("SLOTS");
    pipeline
}

/// Whether it tells how far the writes before it on the same connection have come.
pub(crate) fn is_wait(command: &Cmd) -> bool {
    command.args_iter().next().is_some_and(|name| matches!(name, Arg::Simple(b"WAIT")))
}

/// One setting of the server each, and its role last.
pub(crate) fn settings(names: &[&str]) -> Pipeline {
    let mut pipeline = redis::pipe();
    for name in names {
        pipeline.cmd("CONFIG").arg("GET").arg(*name);
    }
    pipeline.cmd("ROLE");
    pipeline
}

/// What the server says of itself, and its clock.
pub(crate) fn examine() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO").cmd("TIME").cmd("CONFIG").arg("GET").arg("dir");
    pipeline
}

/// Hash of the whole catalogue.
pub(crate) const CATALOGUE: &str = "ab:{catalogue}";
/// The catalogue's, and its channel's.
pub(crate) fn catalogue_slot() -> Slot {
    Slot::of(CATALOGUE)
}

/// Channel on which names of changed fields are published.
pub(crate) const CATALOGUE_CHANGES: &str = "ab:{catalogue}:changes";

pub(crate) fn catalogue_fields(fields: &[&str]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("HMGET").arg(CATALOGUE).arg(fields);
    pipeline
}

pub(crate) fn catalogue_all() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("HGETALL").arg(CATALOGUE);
    pipeline
}

/// A script on the catalogue's hash; its first argument is the channel. EVAL and not EVALSHA: these are rare, and need no answer to NOSCRIPT.
pub(crate) fn catalogue_script(script: &str, arguments: &[&[u8]]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("EVAL").arg(script).arg(1).arg(CATALOGUE).arg(CATALOGUE_CHANGES);
    for argument in arguments {
        pipeline.arg(*argument);
    }
    pipeline
}

/// Hash of the issued keys.
const ISSUED_KEYS: &str = "ab:{keys}";
/// Channel on which a new edition's version is published.
pub(crate) const ISSUED_KEYS_CHANGES: &str = "ab:{keys}:changes";

pub(crate) fn issued_keys_slot() -> Slot {
    Slot::of(ISSUED_KEYS)
}

pub(crate) fn issued_keys(fields: &[&str]) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("HMGET").arg(ISSUED_KEYS).arg(fields);
    pipeline
}

pub(crate) fn replace_issued_keys(script: &str, seen: &str, version: &str, keys: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("EVAL").arg(script).arg(1).arg(ISSUED_KEYS).arg(ISSUED_KEYS_CHANGES);
    pipeline.arg(seen).arg(version).arg(keys);
    pipeline
}

/// The script of a limit, and the slot it belongs to.
pub(crate) fn limit(
    script: &str,
    allowance: Allowance<'_>,
    back: u64,
    least: u64,
    most: u64,
) -> (Slot, Pipeline) {
    let Allowance { tenant, what, per_second } = allowance;
    let key = format!("ab:{{limit:{tenant}}}:{what}");
    let mut pipeline = redis::pipe();
    pipeline.cmd("EVAL").arg(script).arg(1).arg(&key).arg(per_second).arg(back).arg(least).arg(most);
    (Slot::of(&key), pipeline)
}

/// `used_memory / maxmemory` of an INFO reply; 0 without a limit.
pub(crate) fn memory_fraction(info: &Value) -> Option<f64> {
    let text = match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|n| n.parse::<f64>().ok())
    };
    let (used, limit) = (number("used_memory")?, number("maxmemory")?);
    Some(if limit > 0.0 { used / limit } else { 0.0 })
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
