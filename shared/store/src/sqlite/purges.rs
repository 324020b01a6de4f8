//! Retention: purges asked for here, done by the owners of the partitions.

use super::audits::audit;
use super::experiments::raise_epochs;
use super::text::Text;
use super::{SqliteStore, rows};
use crate::apply::{PurgeRow, PurgeStep};
use crate::numbers::to_sql_count;
use crate::{Actor, Kept, Purge, PurgeCounts, PurgeOf, Retention, StoreError};
use async_trait::async_trait;
use domain::{Day, ExperimentId, Partition, UnitId};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

#[async_trait]
impl Retention for SqliteStore {
    async fn purge(
        &self,
        tenant: &str,
        kept: Kept,
        dry_run: bool,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Purge, StoreError> {
        let ask_and_tell = |c: &Connection| {
            ask(c, kept, dry_run, partitions, actor)?;
            if dry_run {
                return Ok(());
            }
            audit(c, tenant, actor, "retention.purge", "all tenants", &kept.told())
        };
        self.writer()?.write(ask_and_tell).await?;
        self.last_purge(dry_run).await?.ok_or(StoreError::Corrupt("purge"))
    }

    async fn purge_when_due(
        &self,
        kept: Kept,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<bool, StoreError> {
        let ask_if_due = |c: &Connection| {
            let row = (partitions, kept.conversions, kept.dead_letters, kept.audit);
            let reached: u16 = c.query_row(include_str!("sql/purge/reached.sql"), row, |r| r.get(0))?;
            if reached < partitions {
                ask(c, kept, false, partitions, actor)?;
            }
            Ok(reached < partitions)
        };
        self.writer()?.write(ask_if_due).await
    }

    async fn last_purge(&self, dry_run: bool) -> Result<Option<Purge>, StoreError> {
        let sql = include_str!("sql/purge/state.sql");
        let read = |c: &Connection| {
            Ok(rows::all(&mut *c.prepare_cached(sql)?, &[&dry_run], |r| state(r, dry_run))?.pop())
        };
        self.readers.read(read).await
    }
}

fn ask(
    c: &Connection,
    kept: Kept,
    dry_run: bool,
    partitions: u16,
    actor: Actor<'_>,
) -> Result<(), StoreError> {
    if let Some(days) = kept.conversions.filter(|_| !dry_run) {
        let mut seal = c.prepare_cached(include_str!("sql/purge/seal.sql"))?;
        let sealed = rows::all(&mut seal, &[&days], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        raise_epochs(c)?;
        for (id, tenant, deleted) in sealed {
            let (id, tenant, deleted): (i64, String, bool) = (id, tenant, deleted);
            // Nobody can ask for these any more.
            if deleted {
                c.execute("DELETE FROM moments WHERE experiment = ?1", [id])?;
                c.execute("DELETE FROM moments_keys WHERE experiment = ?1", [id])?;
            }
            audit(c, &tenant, actor, "experiment.purge", &id.to_string(), "")?;
        }
    }
    let row = (partitions, dry_run, kept.conversions, kept.dead_letters, kept.audit);
    c.execute(include_str!("sql/purge/ask.sql"), row)?;
    Ok(())
}

fn day(row: &Row<'_>, column: usize) -> Result<Option<Day>, StoreError> {
    Ok(row.get::<_, Option<i32>>(column)?.map(Day))
}

fn state(row: &Row<'_>, dry_run: bool) -> Result<Purge, StoreError> {
    let of = |before, rows| {
        let rows = rows::number(row, rows, "purged")?;
        Ok::<_, StoreError>(day(row, before)?.map(|before| PurgeOf { before, rows }))
    };
    Ok(Purge {
        dry_run,
        asked_at: rows::time(row, 0)?,
        conversions: of(1, 4)?,
        dead_letters: of(2, 5)?,
        audit: of(3, 6)?,
        done_partitions: rows::number(row, 7, "partitions")?,
        partitions: rows::number(row, 8, "partitions")?,
    })
}

pub fn pending(c: &Connection, partitions: &[Partition]) -> Result<Vec<PurgeRow>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/purge/pending.sql"))?;
    let mut put_away = c.prepare_cached(include_str!("sql/purge/put_away.sql"))?;
    let mut found = Vec::new();
    for partition in partitions {
        let row = |r: &Row<'_>| {
            Ok(PurgeRow {
                partition: *partition,
                dry_run: r.get(1)?,
                conversions: day(r, 2)?,
                dead_letters: day(r, 3)?,
                audit: day(r, 4)?,
                cursor: r.get::<_, Option<[u8; 16]>>(5)?.map(UnitId),
                sealed: Vec::new(),
            })
        };
        found.extend(rows::all(&mut sql, &[&partition.0], row)?);
    }
    for row in found.iter_mut().filter(|row| row.dry_run) {
        if let Some(before) = row.conversions {
            row.sealed = rows::all(&mut put_away, &[&before.0], |r| Ok(ExperimentId(r.get(0)?)))?;
        }
    }
    found.sort_by_key(|row| (row.dry_run, row.partition));
    Ok(found)
}

pub fn step(c: &Connection, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError> {
    let row = step.of;
    let partition = row.partition.0;
    let mut counts = PurgeCounts { conversions: step.conversions.len() as u64, ..PurgeCounts::default() };
    if row.dry_run {
        // Once, at the end.
        if let Some(before) = row.dead_letters.filter(|_| step.is_last) {
            let sql = include_str!("sql/purge/count_dead_letters.sql");
            counts.dead_letters = number(c, sql, &[&partition, &before.0])?;
        }
        if let Some(before) = row.audit.filter(|_| step.is_last && partition == 0) {
            counts.audit = number(c, include_str!("sql/purge/count_audit.sql"), &[&before.0])?;
        }
    } else {
        let mut conversion = c.prepare_cached(include_str!("sql/purge/conversion.sql"))?;
        for (unit, experiment, key) in &step.conversions {
            conversion.execute((unit.0, experiment.0, Text(key)))?;
        }
        if let Some(before) = row.dead_letters {
            let sql = include_str!("sql/purge/dead_letters.sql");
            counts.dead_letters = c.execute(sql, (partition, before.0, step.limit))? as u64;
        }
        if let Some(before) = row.audit.filter(|_| partition == 0) {
            counts.audit = c.execute(include_str!("sql/purge/audit.sql"), (before.0, step.limit))? as u64;
        }
    }
    counts.done = step.is_done(&counts);
    let [conversions, dead_letters, audit] =
        [counts.conversions, counts.dead_letters, counts.audit].map(to_sql_count);
    let moved = (partition, row.dry_run, step.cursor.0, counts.done, conversions, dead_letters, audit);
    c.execute(include_str!("sql/purge/move.sql"), moved)?;
    Ok(counts)
}

fn number(c: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<u64, StoreError> {
    let found: Option<i64> = c.query_row(sql, params, |r| r.get(0)).optional()?;
    crate::numbers::narrow(found.unwrap_or(0), "rows")
}
