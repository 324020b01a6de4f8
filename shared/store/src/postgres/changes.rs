//! The writing half of the apply transaction: units, moments, counters, receipts, dead letters, losses, writers.

use super::statements::Statements;
use super::types::{PgDay, uuid};
use crate::apply::{Changes, DeadLetter, MomentsRow, NewLoss, NewUnit, RebuildRow};
use crate::numbers::{narrow, to_sql_count};
use crate::{MomentsKey, StoreError, WriterRow};
use domain::UnitId;
use domain::codec::encode_moments;
use std::pin::pin;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// Everything but the commit. New units go first (COPY waits for the server), the rest is sent in one go.
pub(super) async fn write(
    c: &Client,
    sql: &Statements,
    changes: &Changes<'_>,
    partition: i16,
    day: PgDay,
) -> Result<(), StoreError> {
    if !changes.new_units.is_empty() {
        copy_units(c, sql, &changes.new_units).await?;
    }
    tokio::try_join!(
        update_units(c, sql, &changes.changed_units),
        write_moments(c, sql, &changes.moments, partition),
        write_rebuilds(c, &changes.rebuilds, partition),
        count(c, sql, changes, partition, day),
        write_receipts(c, changes),
        write_dead_letters(c, &changes.dead_letters, partition),
        write_losses(c, &changes.losses, partition),
        write_writers(c, sql, &changes.writers, partition),
        forget_writers(c, &changes.forgotten, partition),
    )?;
    Ok(())
}

async fn copy_units(c: &Client, sql: &Statements, units: &[NewUnit<'_>]) -> Result<(), StoreError> {
    let sink = c.copy_in(&sql.copy_units).await?;
    let types = [Type::UUID, Type::TEXT, Type::TEXT, Type::BYTEA];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for u in units {
        writer.as_mut().write(&[&uuid(u.id), &u.tenant, &u.user_id, &u.state]).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn update_units(c: &Client, sql: &Statements, units: &[(UnitId, Vec<u8>)]) -> Result<(), StoreError> {
    if units.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = units.iter().map(|(u, _)| uuid(*u)).collect();
    let states: Vec<&[u8]> = units.iter().map(|(_, s)| s.as_slice()).collect();
    let updated = c.execute(&sql.update_units, &[&ids, &states]).await?;
    if updated == units.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::Corrupt("a unit that was loaded is gone"))
    }
}

async fn write_moments(
    c: &Client,
    sql: &Statements,
    rows: &[MomentsRow<'_>],
    partition: i16,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let vectors: Vec<Vec<u8>> = rows.iter().map(|r| encode_moments(r.moments)).collect();
    let days: Vec<PgDay> = rows.iter().map(|r| PgDay(r.day)).collect();
    let all = KeyColumns::of(rows.iter().map(|r| &r.key), partition)?;
    let new = KeyColumns::of(rows.iter().filter(|r| r.is_new).map(|r| &r.key), partition)?;
    let KeyColumns { experiment, plan_version, partition, variation, stratum, phase } = &all;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [experiment, plan_version, partition, variation, stratum, phase, &vectors, &days];
    c.execute(&sql.write_moments, &params).await?;
    if !new.experiment.is_empty() {
        let KeyColumns { experiment, plan_version, partition, variation, stratum, phase } = &new;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [experiment, plan_version, partition, variation, stratum, phase];
        c.execute(&sql.write_moments_keys, &params).await?;
    }
    Ok(())
}

async fn write_rebuilds(c: &Client, rows: &[RebuildRow], partition: i16) -> Result<(), StoreError> {
    for r in rows {
        let version: i32 = narrow(r.version, "plan version")?;
        let sql = include_str!("sql/rebuild/move.sql");
        c.execute(sql, &[&r.experiment.0, &partition, &version, &r.cursor.map(uuid), &r.done]).await?;
    }
    Ok(())
}

#[derive(Default)]
struct KeyColumns<'a> {
    experiment: Vec<i64>,
    plan_version: Vec<i32>,
    partition: Vec<i16>,
    variation: Vec<i16>,
    stratum: Vec<&'a str>,
    phase: Vec<i32>,
}

impl<'a> KeyColumns<'a> {
    fn of(keys: impl Iterator<Item = &'a MomentsKey>, partition: i16) -> Result<KeyColumns<'a>, StoreError> {
        let mut columns = KeyColumns::default();
        for k in keys {
            columns.experiment.push(k.experiment.0);
            columns.plan_version.push(narrow(k.plan_version, "plan version")?);
            columns.partition.push(partition);
            columns.variation.push(k.variation);
            columns.stratum.push(&k.stratum);
            columns.phase.push(k.phase.into());
        }
        Ok(columns)
    }
}

async fn count(
    c: &Client,
    sql: &Statements,
    changes: &Changes<'_>,
    partition: i16,
    day: PgDay,
) -> Result<(), StoreError> {
    let counts = &changes.counters;
    if counts.is_empty() {
        return Ok(());
    }
    let tenant: Vec<&str> = counts.iter().map(|n| n.tenant).collect();
    let experiment: Vec<i64> = counts.iter().map(|n| n.experiment.0).collect();
    let variation: Vec<i16> = counts.iter().map(|n| n.variation).collect();
    let name: Vec<&str> = counts.iter().map(|n| n.name).collect();
    let n: Vec<i64> = counts.iter().map(|n| n.n).collect();
    c.execute(&sql.count, &[&tenant, &experiment, &variation, &name, &n, &partition, &day]).await?;
    Ok(())
}

async fn write_receipts(c: &Client, changes: &Changes<'_>) -> Result<(), StoreError> {
    let receipts = &changes.receipts;
    if receipts.is_empty() {
        return Ok(());
    }
    let batch: Vec<Uuid> = receipts.iter().map(|r| r.batch.0).collect();
    let request: Vec<&str> = receipts.iter().map(|r| r.request_id).collect();
    let part: Vec<i32> = receipts.iter().map(|r| r.part.into()).collect();
    let parts: Vec<i32> = receipts.iter().map(|r| r.parts.into()).collect();
    let tenant: Vec<&str> = receipts.iter().map(|r| r.tenant).collect();
    let recorded: Vec<i64> = receipts.iter().map(|r| to_sql_count(r.recorded)).collect();
    let deduplicated: Vec<i64> = receipts.iter().map(|r| to_sql_count(r.deduplicated)).collect();
    let conflicts: Vec<i64> = receipts.iter().map(|r| to_sql_count(r.conflicts)).collect();
    let dead: Vec<i64> = receipts.iter().map(|r| to_sql_count(r.dead_lettered)).collect();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
        [&batch, &request, &part, &parts, &tenant, &recorded, &deduplicated, &conflicts, &dead];
    c.execute(include_str!("sql/write_receipts.sql"), &params).await?;
    Ok(())
}

async fn write_dead_letters(
    c: &Client,
    letters: &[DeadLetter<'_>],
    partition: i16,
) -> Result<(), StoreError> {
    for d in letters {
        let batch = d.batch.map(|b| b.0);
        let events = to_sql_count(d.events);
        let payload = d.payload.as_ref();
        let digest = d.digest.as_ref().map(<[u8; 32]>::as_slice);
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
            &d.tenant,
            &d.experiment.0,
            &partition,
            &d.entry,
            &batch,
            &d.request_id,
            &d.reason,
            &d.detail,
            &events,
            &payload,
            &digest,
        ];
        c.execute(include_str!("sql/write_dead_letter.sql"), &params).await?;
    }
    Ok(())
}

async fn write_losses(c: &Client, losses: &[NewLoss], partition: i16) -> Result<(), StoreError> {
    for l in losses {
        let (first, last, events) = (to_sql_count(l.first), to_sql_count(l.last), to_sql_count(l.events));
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&partition, &l.writer, &first, &last, &events, &l.entry, &l.why];
        c.execute(include_str!("sql/write_loss.sql"), &params).await?;
    }
    Ok(())
}

async fn write_writers(
    c: &Client,
    sql: &Statements,
    rows: &[WriterRow],
    partition: i16,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let writer: Vec<Uuid> = rows.iter().map(|w| w.writer).collect();
    let number: Vec<i64> = rows.iter().map(|w| to_sql_count(w.number)).collect();
    let total: Vec<i64> = rows.iter().map(|w| to_sql_count(w.total)).collect();
    let seen: Vec<i64> = rows.iter().map(|w| to_sql_count(w.seen_ms)).collect();
    c.execute(&sql.write_writers, &[&writer, &number, &total, &seen, &partition]).await?;
    Ok(())
}

async fn forget_writers(c: &Client, writers: &[Uuid], partition: i16) -> Result<(), StoreError> {
    if !writers.is_empty() {
        c.execute(include_str!("sql/forget_writers.sql"), &[&partition, &writers]).await?;
    }
    Ok(())
}
