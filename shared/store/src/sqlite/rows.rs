//! Rows of SQLite as ours.

use crate::apply::Past;
use crate::numbers::narrow;
use crate::{
    ApiKey, ArmRow, AuditEntry, ConversionRow, Experiment, Letter, Loss, MomentsKey, PartitionAccount,
    Rebuild, ReceiptPart, Status, StoreError, UnitRow, WriterRow,
};
use domain::codec::{decode_moments, decode_unit};
use domain::{BatchId, Day, Decimal, ExperimentId, Partition, Timestamp, UnitId};
use rusqlite::{Row, Statement, ToSql};
use uuid::Uuid;

/// Every row of a query, read by `read`.
pub fn all<T>(
    statement: &mut Statement<'_>,
    params: &[&dyn ToSql],
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The bytes of a blob, as long as the row is looked at.
pub fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

pub fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

pub fn unit_id(row: &Row<'_>, column: usize) -> Result<UnitId, StoreError> {
    Ok(UnitId(row.get(column)?))
}

pub fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, StoreError> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

pub fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(row.get(column)?))
}

pub fn some_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

pub fn partition(row: &Row<'_>, column: usize) -> Result<Partition, StoreError> {
    Ok(Partition(number(row, column, "partition")?))
}

pub fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize, what: &'static str) -> Result<T, StoreError> {
    narrow(row.get::<_, i64>(column)?, what)
}

/// A row of (unit, experiment, metric, value, occurred_at).
pub fn past(row: &Row<'_>) -> Result<Past, StoreError> {
    Ok(Past {
        unit: unit_id(row, 0)?,
        experiment: ExperimentId(row.get(1)?),
        metric: row.get(2)?,
        value: Decimal(row.get(3)?),
        occurred_at: time(row, 4)?,
    })
}

/// Columns (writer, number, total, seen_ms) from `first` on.
pub fn writer(row: &Row<'_>, first: usize) -> Result<WriterRow, StoreError> {
    Ok(WriterRow {
        writer: uuid(row, first)?,
        number: number(row, first + 1, "writer number")?,
        total: number(row, first + 2, "writer total")?,
        seen_ms: number(row, first + 3, "writer time")?,
    })
}

/// A row of (experiment, plan_version, partition, variation, stratum, phase, day, vector).
pub fn arm(row: &Row<'_>) -> Result<ArmRow, StoreError> {
    Ok(ArmRow {
        key: MomentsKey {
            experiment: ExperimentId(row.get(0)?),
            plan_version: number(row, 1, "plan version")?,
            partition: partition(row, 2)?,
            variation: row.get(3)?,
            stratum: row.get(4)?,
            phase: number(row, 5, "phase")?,
        },
        day: Day(row.get(6)?),
        moments: decode_moments(blob(row, 7)?)?,
    })
}

/// A row of the experiment columns; `None`: deleted.
pub fn experiment(row: &Row<'_>) -> Result<Option<Experiment>, StoreError> {
    let Some(status) = Status::parse(text(row, 6)?) else { return Ok(None) };
    Ok(Some(Experiment {
        id: ExperimentId(row.get(0)?),
        tenant: row.get(1)?,
        key: row.get(2)?,
        definition: serde_json::from_str(text(row, 3)?)?,
        plan_version: number(row, 4, "plan version")?,
        revision: number(row, 5, "revision")?,
        status,
        created_at: time(row, 7)?,
        started_at: some_time(row, 8)?,
        stopped_at: some_time(row, 9)?,
        rebuild: rebuild(row)?,
        phases: serde_json::from_str(text(row, 12)?)?,
        purged_at: some_time(row, 15)?,
    }))
}

fn rebuild(row: &Row<'_>) -> Result<Option<Box<Rebuild>>, StoreError> {
    let Some(version) = row.get::<_, Option<u32>>(11)? else { return Ok(None) };
    Ok(Some(Box::new(Rebuild {
        version,
        definition: serde_json::from_str(text(row, 10)?)?,
        done_partitions: number(row, 13, "partitions")?,
        partitions: number(row, 14, "partitions")?,
    })))
}

/// A row of (partition, position, accepted, lost, recorded, deduplicated, dead_lettered, discarded).
pub fn account(row: &Row<'_>) -> Result<PartitionAccount, StoreError> {
    Ok(PartitionAccount {
        partition: partition(row, 0)?,
        position: row.get(1)?,
        accepted: row.get(2)?,
        lost: row.get(3)?,
        recorded: row.get(4)?,
        deduplicated: row.get(5)?,
        dead_lettered: row.get(6)?,
        discarded: row.get(7)?,
    })
}

/// A row of (request_id, part, parts, recorded, deduplicated, conflicts, dead_lettered).
pub fn receipt_part(row: &Row<'_>) -> Result<ReceiptPart, StoreError> {
    Ok(ReceiptPart {
        request_id: row.get(0)?,
        part: number(row, 1, "part")?,
        parts: number(row, 2, "parts")?,
        recorded: number(row, 3, "recorded")?,
        deduplicated: number(row, 4, "deduplicated")?,
        conflicts: number(row, 5, "conflicts")?,
        dead_lettered: number(row, 6, "dead_lettered")?,
    })
}

/// A row of (unit, tenant, user_id, state).
pub fn unit(row: &Row<'_>) -> Result<UnitRow, StoreError> {
    let unit = decode_unit(blob(row, 3)?)?;
    Ok(UnitRow { id: unit_id(row, 0)?, tenant: row.get(1)?, user_id: row.get(2)?, unit })
}

/// A row of (unit, experiment, key, metric, value, occurred_at, occurred_given, received_at, day, batch).
pub fn conversion(row: &Row<'_>) -> Result<ConversionRow, StoreError> {
    Ok(ConversionRow {
        unit: unit_id(row, 0)?,
        experiment: ExperimentId(row.get(1)?),
        key: row.get(2)?,
        metric: row.get(3)?,
        value: Decimal(row.get(4)?),
        occurred_at: time(row, 5)?,
        occurred_given: some_time(row, 6)?,
        received_at: time(row, 7)?,
        day: Day(row.get(8)?),
        batch: BatchId(uuid(row, 9)?),
    })
}

/// A row of (partition, writer, first_number, last_number, events, entry, why, seen_at).
pub fn loss(row: &Row<'_>) -> Result<Loss, StoreError> {
    Ok(Loss {
        partition: partition(row, 0)?,
        writer: row.get::<_, Option<[u8; 16]>>(1)?.map(Uuid::from_bytes),
        first: number(row, 2, "loss")?,
        last: number(row, 3, "loss")?,
        events: number(row, 4, "loss")?,
        entry: row.get(5)?,
        why: row.get(6)?,
        seen_at: time(row, 7)?,
    })
}

/// A row of (id, experiment, partition, entry, batch, request_id, reason, detail, events, digest, created_at).
pub fn letter(row: &Row<'_>) -> Result<Letter, StoreError> {
    Ok(Letter {
        id: row.get(0)?,
        experiment: ExperimentId(row.get(1)?),
        partition: partition(row, 2)?,
        entry: row.get(3)?,
        batch: row.get::<_, Option<[u8; 16]>>(4)?.map(|id| BatchId(Uuid::from_bytes(id))),
        request_id: row.get(5)?,
        reason: row.get(6)?,
        detail: row.get(7)?,
        events: number(row, 8, "events")?,
        digest: row.get(9)?,
        created_at: time(row, 10)?,
    })
}

/// A row of (id, at, actor, action, request_id, detail).
pub fn audit_entry(row: &Row<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at: time(row, 1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        request_id: row.get(4)?,
        detail: row.get(5)?,
        subject: row.get(6)?,
    })
}

/// The columns of `sql/keys/list.sql`.
pub fn api_key(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.get(0)?,
        tenant: row.get(1)?,
        digest: row.get(2)?,
        name: row.get(3)?,
        scopes: row.get(4)?,
        last_digits: row.get(5)?,
        created_at: time(row, 6)?,
        revoked_at: some_time(row, 7)?,
    })
}
