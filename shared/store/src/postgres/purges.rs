//! Retention: purges asked for here, done by the owners of the partitions.

use super::PgStore;
use super::audits::audit;
use super::rebuilds::raise_epochs;
use super::types::{PgDay, PgTime, unit_id, uuid};
use crate::apply::{PurgeRow, PurgeStep};
use crate::numbers::{narrow, to_sql_count};
use crate::{Actor, Kept, Purge, PurgeCounts, PurgeOf, Retention, StoreError};
use async_trait::async_trait;
use domain::{Day, ExperimentId, Partition};
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

#[async_trait]
impl Retention for PgStore {
    async fn purge(
        &self,
        tenant: &str,
        kept: Kept,
        dry_run: bool,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Purge, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        ask(&t, kept, dry_run, partitions, actor).await?;
        if !dry_run {
            audit(&t, tenant, actor, "retention.purge", "all tenants", &kept.told()).await?;
        }
        t.commit().await?;
        self.last_purge(dry_run).await?.ok_or(StoreError::Corrupt("purge"))
    }

    async fn purge_when_due(
        &self,
        kept: Kept,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        if has_reached(&t, kept, partitions).await? {
            return Ok(false);
        }
        // Others may find the same at the same time: the locks that asking takes put them in order.
        ask(&t, kept, false, partitions, actor).await?;
        t.commit().await?;
        Ok(true)
    }

    async fn last_purge(&self, dry_run: bool) -> Result<Option<Purge>, StoreError> {
        let client = self.client().await?;
        let row = client.query_opt(include_str!("sql/purge/state.sql"), &[&dry_run]).await?;
        row.map(|r| state(&r, dry_run)).transpose()
    }
}

async fn has_reached(t: &Transaction<'_>, kept: Kept, partitions: u16) -> Result<bool, StoreError> {
    let [conversions, dead_letters, audit] = days(kept)?;
    let all = i16::try_from(partitions).unwrap_or(i16::MAX);
    let sql = include_str!("sql/purge/reached.sql");
    let reached: i64 = t.query_one(sql, &[&all, &conversions, &dead_letters, &audit]).await?.get(0);
    Ok(reached == i64::from(partitions))
}

async fn ask(
    t: &Transaction<'_>,
    kept: Kept,
    dry_run: bool,
    partitions: u16,
    actor: Actor<'_>,
) -> Result<(), StoreError> {
    let [conversions, dead_letters, audit_days] = days(kept)?;
    if let Some(days) = conversions.filter(|_| !dry_run) {
        // The locks of every other change of an experiment, in the same order.
        let sealed = t.query(include_str!("sql/purge/seal.sql"), &[&days]).await?;
        raise_epochs(t).await?;
        for row in &sealed {
            let (id, tenant): (i64, &str) = (row.get(0), row.get(1));
            // Nobody can ask for these any more.
            if row.get(2) {
                t.execute("DELETE FROM moments WHERE experiment = $1", &[&id]).await?;
                t.execute("DELETE FROM moments_keys WHERE experiment = $1", &[&id]).await?;
            }
            audit(t, tenant, actor, "experiment.purge", &id.to_string(), "").await?;
        }
    }
    let all = i32::from(partitions);
    let sql = include_str!("sql/purge/ask.sql");
    t.execute(sql, &[&all, &dry_run, &conversions, &dead_letters, &audit_days]).await?;
    Ok(())
}

fn days(kept: Kept) -> Result<[Option<i32>; 3], StoreError> {
    let days = |days: Option<u32>| days.map(|days| narrow(days, "days")).transpose();
    Ok([days(kept.conversions)?, days(kept.dead_letters)?, days(kept.audit)?])
}

fn day(row: &Row, column: usize) -> Option<Day> {
    row.get::<_, Option<PgDay>>(column).map(|day| day.0)
}

fn state(row: &Row, dry_run: bool) -> Result<Purge, StoreError> {
    let of = |before, rows| {
        let rows = narrow(row.get::<_, i64>(rows), "purged")?;
        Ok::<_, StoreError>(day(row, before).map(|before| PurgeOf { before, rows }))
    };
    Ok(Purge {
        dry_run,
        asked_at: row.get::<_, PgTime>(0).0,
        conversions: of(1, 4)?,
        dead_letters: of(2, 5)?,
        audit: of(3, 6)?,
        done_partitions: narrow(row.get::<_, i64>(7), "partitions")?,
        partitions: narrow(row.get::<_, i64>(8), "partitions")?,
    })
}

pub async fn pending(c: &Client, partitions: &[i16]) -> Result<Vec<PurgeRow>, StoreError> {
    let rows = c.query(include_str!("sql/purge/pending.sql"), &[&partitions]).await?;
    let row = |r: &Row| {
        Ok(PurgeRow {
            partition: Partition(narrow(r.get::<_, i16>(0), "partition")?),
            dry_run: r.get(1),
            conversions: day(r, 2),
            dead_letters: day(r, 3),
            audit: day(r, 4),
            cursor: r.get::<_, Option<Uuid>>(5).map(unit_id),
            sealed: r.get::<_, Vec<i64>>(6).into_iter().map(ExperimentId).collect(),
        })
    };
    rows.iter().map(row).collect()
}

pub async fn step(c: &Client, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError> {
    let row = step.of;
    let partition: i16 = narrow(row.partition.0, "partition")?;
    let mut counts = PurgeCounts { conversions: step.conversions.len() as u64, ..PurgeCounts::default() };
    let limit = i64::from(step.limit);
    if row.dry_run {
        // Once, at the end.
        if let Some(before) = row.dead_letters.filter(|_| step.is_last) {
            let sql = include_str!("sql/purge/count_dead_letters.sql");
            counts.dead_letters = number(c, sql, &[&partition, &PgDay(before)]).await?;
        }
        if let Some(before) = row.audit.filter(|_| step.is_last && partition == 0) {
            counts.audit = number(c, include_str!("sql/purge/count_audit.sql"), &[&PgDay(before)]).await?;
        }
    } else {
        delete(c, step).await?;
        if let Some(before) = row.dead_letters {
            let sql = include_str!("sql/purge/dead_letters.sql");
            counts.dead_letters = c.execute(sql, &[&partition, &PgDay(before), &limit]).await?;
        }
        if let Some(before) = row.audit.filter(|_| partition == 0) {
            counts.audit = c.execute(include_str!("sql/purge/audit.sql"), &[&PgDay(before), &limit]).await?;
        }
    }
    counts.done = step.is_done(&counts);
    let sql = include_str!("sql/purge/move.sql");
    let [conversions, dead_letters, audit] =
        [counts.conversions, counts.dead_letters, counts.audit].map(to_sql_count);
    let cursor = uuid(step.cursor);
    c.execute(sql, &[&partition, &row.dry_run, &cursor, &counts.done, &conversions, &dead_letters, &audit])
        .await?;
    Ok(counts)
}

async fn number(
    c: &Client,
    sql: &str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, StoreError> {
    narrow(c.query_one(sql, params).await?.get::<_, i64>(0), "rows")
}

async fn delete(c: &Client, step: &PurgeStep<'_>) -> Result<(), StoreError> {
    if step.conversions.is_empty() {
        return Ok(());
    }
    let units: Vec<Uuid> = step.conversions.iter().map(|k| uuid(k.0)).collect();
    let experiments: Vec<i64> = step.conversions.iter().map(|k| k.1.0).collect();
    let keys: Vec<&str> = step.conversions.iter().map(|k| k.2).collect();
    c.execute(include_str!("sql/purge/conversions.sql"), &[&units, &experiments, &keys]).await?;
    Ok(())
}
