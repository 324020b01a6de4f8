//! The writing half of the apply transaction: units, moments, counters, receipts, dead letters, losses, writers.

use super::text::Text;
use crate::apply::{Changes, Count, DeadLetter, MomentsRow, NewLoss, NewReceipt, NewUnit, RebuildRow};
use crate::numbers::to_sql_count;
use crate::{MomentsKey, StoreError, WriterRow};
use domain::codec::encode_moments;
use domain::{Day, Partition, UnitId};
use rusqlite::Connection;
use uuid::Uuid;

/// Everything but the commit.
pub fn write(
    c: &Connection,
    changes: &Changes<'_>,
    partition: Partition,
    day: Day,
) -> Result<(), StoreError> {
    insert_units(c, &changes.new_units)?;
    update_units(c, &changes.changed_units)?;
    write_moments(c, &changes.moments, partition)?;
    write_rebuilds(c, &changes.rebuilds, partition)?;
    count(c, &changes.counters, partition, day)?;
    write_receipts(c, &changes.receipts)?;
    write_dead_letters(c, &changes.dead_letters, partition)?;
    write_losses(c, &changes.losses, partition)?;
    write_writers(c, &changes.writers, partition)?;
    forget_writers(c, &changes.forgotten, partition)
}

fn insert_units(c: &Connection, units: &[NewUnit<'_>]) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/insert_unit.sql"))?;
    let mut sorted: Vec<&NewUnit<'_>> = units.iter().collect();
    sorted.sort_unstable_by_key(|u| u.id);
    for u in sorted {
        sql.execute((u.id.0, Text(u.tenant), Text(u.user_id), &u.state))?;
    }
    Ok(())
}

fn update_units(c: &Connection, units: &[(UnitId, Vec<u8>)]) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/update_unit.sql"))?;
    let mut sorted: Vec<&(UnitId, Vec<u8>)> = units.iter().collect();
    sorted.sort_unstable_by_key(|u| u.0);
    for (id, state) in sorted {
        if sql.execute((id.0, state))? != 1 {
            return Err(StoreError::Corrupt("a unit that was loaded is gone"));
        }
    }
    Ok(())
}

fn write_moments(c: &Connection, rows: &[MomentsRow<'_>], partition: Partition) -> Result<(), StoreError> {
    let mut row = c.prepare_cached(include_str!("sql/write_moments.sql"))?;
    let mut key = c.prepare_cached(include_str!("sql/write_moments_key.sql"))?;
    for MomentsRow { key: k, day, moments, is_new } in rows {
        let MomentsKey { experiment, plan_version, variation, stratum, phase, .. } = k;
        let place = (experiment.0, plan_version, partition.0, variation, stratum, phase);
        if *is_new {
            key.execute(place)?;
        }
        let (e, version, p, variation, stratum, phase) = place;
        row.execute((e, version, p, variation, stratum, phase, day.0, encode_moments(moments)))?;
    }
    Ok(())
}

fn write_rebuilds(c: &Connection, rows: &[RebuildRow], partition: Partition) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/rebuild/move.sql"))?;
    for r in rows {
        sql.execute((r.experiment.0, partition.0, r.version, r.cursor.map(|u| u.0), r.done))?;
    }
    Ok(())
}

fn count(c: &Connection, counts: &[Count<'_>], partition: Partition, day: Day) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/count.sql"))?;
    for n in counts {
        sql.execute((Text(n.tenant), n.experiment.0, partition.0, n.variation, day.0, Text(n.name), n.n))?;
    }
    Ok(())
}

fn write_receipts(c: &Connection, receipts: &[NewReceipt<'_>]) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/write_receipt.sql"))?;
    for r in receipts {
        sql.execute((
            r.batch.0.as_bytes(),
            Text(r.request_id),
            r.part,
            r.parts,
            Text(r.tenant),
            to_sql_count(r.recorded),
            to_sql_count(r.deduplicated),
            to_sql_count(r.conflicts),
            to_sql_count(r.dead_lettered),
        ))?;
    }
    Ok(())
}

fn write_dead_letters(
    c: &Connection,
    letters: &[DeadLetter<'_>],
    partition: Partition,
) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/write_dead_letter.sql"))?;
    for d in letters {
        sql.execute((
            Text(d.tenant),
            d.experiment.0,
            partition.0,
            &d.entry,
            d.batch.map(|b| b.0.into_bytes()),
            d.request_id.map(Text),
            d.reason,
            Text(&d.detail),
            to_sql_count(d.events),
            d.payload.as_ref(),
            d.digest,
        ))?;
    }
    Ok(())
}

fn write_losses(c: &Connection, losses: &[NewLoss], partition: Partition) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/write_loss.sql"))?;
    for l in losses {
        let (first, last, events) = (to_sql_count(l.first), to_sql_count(l.last), to_sql_count(l.events));
        let writer = l.writer.map(Uuid::into_bytes);
        sql.execute((partition.0, writer, first, last, events, &l.entry, l.why))?;
    }
    Ok(())
}

fn write_writers(c: &Connection, rows: &[WriterRow], partition: Partition) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/write_writer.sql"))?;
    for w in rows {
        let (number, total, seen) = (to_sql_count(w.number), to_sql_count(w.total), to_sql_count(w.seen_ms));
        sql.execute((partition.0, w.writer.as_bytes(), number, total, seen))?;
    }
    Ok(())
}

fn forget_writers(c: &Connection, writers: &[Uuid], partition: Partition) -> Result<(), StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/forget_writer.sql"))?;
    for writer in writers {
        sql.execute((partition.0, writer.as_bytes()))?;
    }
    Ok(())
}
