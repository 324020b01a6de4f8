//! Rows of PostgreSQL as ours.

use super::types::{PgDay, PgTime, unit_id};
use crate::Rebuild;
use crate::apply::Past;
use crate::numbers::narrow;
use crate::{
    ApiKey, ArmRow, AuditEntry, Experiment, Letter, Loss, MomentsKey, Status, StoreError, WriterRow,
};
use domain::codec::decode_moments;
use domain::{BatchId, Decimal, ExperimentId, Partition};
use tokio_postgres::Row;

pub fn past(row: &Row) -> Past {
    Past {
        unit: unit_id(row.get(0)),
        experiment: ExperimentId(row.get(1)),
        metric: row.get(2),
        value: Decimal(row.get(3)),
        occurred_at: row.get::<_, PgTime>(4).0,
    }
}

/// Columns (writer, number, total, seen_ms) from `first` on.
pub fn writer(row: &Row, first: usize) -> Result<WriterRow, StoreError> {
    Ok(WriterRow {
        writer: row.get(first),
        number: narrow(row.get::<_, i64>(first + 1), "writer number")?,
        total: narrow(row.get::<_, i64>(first + 2), "writer total")?,
        seen_ms: narrow(row.get::<_, i64>(first + 3), "writer time")?,
    })
}

/// A row of (experiment, plan_version, partition, variation, stratum, phase, day, vector).
pub fn arm(row: &Row) -> Result<ArmRow, StoreError> {
    Ok(ArmRow {
        key: MomentsKey {
            experiment: ExperimentId(row.get(0)),
            plan_version: narrow(row.get::<_, i32>(1), "plan version")?,
            partition: Partition(narrow(row.get::<_, i16>(2), "partition")?),
            variation: row.get(3),
            stratum: row.get(4),
            phase: narrow(row.get::<_, i32>(5), "phase")?,
        },
        day: row.get::<_, PgDay>(6).0,
        moments: decode_moments(row.get(7))?,
    })
}

/// A row of the experiment columns; `None`: deleted.
pub fn experiment(row: &Row) -> Result<Option<Experiment>, StoreError> {
    let Some(status) = Status::parse(row.get(6)) else { return Ok(None) };
    Ok(Some(Experiment {
        id: ExperimentId(row.get(0)),
        tenant: row.get(1),
        key: row.get(2),
        definition: serde_json::from_str(row.get(3))?,
        plan_version: narrow(row.get::<_, i32>(4), "plan version")?,
        revision: narrow(row.get::<_, i64>(5), "revision")?,
        status,
        created_at: row.get::<_, PgTime>(7).0,
        started_at: row.get::<_, Option<PgTime>>(8).map(|t| t.0),
        stopped_at: row.get::<_, Option<PgTime>>(9).map(|t| t.0),
        rebuild: rebuild(row)?,
        phases: serde_json::from_str(row.get(12))?,
        purged_at: row.get::<_, Option<PgTime>>(15).map(|t| t.0),
    }))
}

/// A row of (partition, writer, first_number, last_number, events, entry, why, seen_at).
pub fn loss(row: &Row) -> Result<Loss, StoreError> {
    let number = |column| narrow(row.get::<_, i64>(column), "loss");
    Ok(Loss {
        partition: Partition(narrow(row.get::<_, i16>(0), "partition")?),
        writer: row.get(1),
        first: number(2)?,
        last: number(3)?,
        events: number(4)?,
        entry: row.get(5),
        why: row.get(6),
        seen_at: row.get::<_, PgTime>(7).0,
    })
}

/// A row of (id, experiment, partition, entry, batch, request_id, reason, detail, events, digest, created_at).
pub fn letter(row: &Row) -> Result<Letter, StoreError> {
    let digest = row.get::<_, Option<&[u8]>>(9).map(<[u8; 32]>::try_from).transpose();
    Ok(Letter {
        id: row.get(0),
        experiment: ExperimentId(row.get(1)),
        partition: Partition(narrow(row.get::<_, i16>(2), "partition")?),
        entry: row.get(3),
        batch: row.get::<_, Option<uuid::Uuid>>(4).map(BatchId),
        request_id: row.get(5),
        reason: row.get(6),
        detail: row.get(7),
        events: narrow(row.get::<_, i64>(8), "events")?,
        digest: digest.map_err(|_| StoreError::Corrupt("digest"))?,
        created_at: row.get::<_, PgTime>(10).0,
    })
}

/// A row of (id, at, actor, action, request_id, detail).
pub fn audit_entry(row: &Row) -> AuditEntry {
    AuditEntry {
        id: row.get(0),
        at: row.get::<_, PgTime>(1).0,
        actor: row.get(2),
        action: row.get(3),
        request_id: row.get(4),
        detail: row.get(5),
        subject: row.get(6),
    }
}

/// The columns of `sql/keys/list.sql`.
pub fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    let digest: &[u8] = row.get(2);
    Ok(ApiKey {
        id: row.get(0),
        tenant: row.get(1),
        digest: digest.try_into().map_err(|_| StoreError::Corrupt("digest of a key"))?,
        name: row.get(3),
        scopes: row.get(4),
        last_digits: row.get(5),
        created_at: row.get::<_, PgTime>(6).0,
        revoked_at: row.get::<_, Option<PgTime>>(7).map(|at| at.0),
    })
}

fn rebuild(row: &Row) -> Result<Option<Box<Rebuild>>, StoreError> {
    let Some(version) = row.get::<_, Option<i32>>(11) else { return Ok(None) };
    Ok(Some(Box::new(Rebuild {
        version: narrow(version, "plan version")?,
        definition: serde_json::from_str(row.get(10))?,
        done_partitions: narrow(row.get::<_, i64>(13), "partitions")?,
        partitions: narrow(row.get::<_, i64>(14), "partitions")?,
    })))
}
