//! The apply transaction on SQLite: the writing connection, held from `begin` to the end. Rows are read and written
//! in key order, so that a page of a tree is touched once.

use super::connections::{Lease, Writer, blocking};
use super::text::Text;
use super::{Holders, SqliteStore, changes, erasures, purges, raw, rebuilds, rows};
use crate::apply::{
    Advance, ApplyStore, Changes, Connect, ErasureRow, HistoryOf, Known, Members, NewConversion, Outcome,
    PartitionState, Past, PurgeRow, PurgeStep, Session, Taken,
};
use crate::numbers::to_sql_count;
use crate::{ArmRow, PurgeCounts, Slice, StoreError};
use async_trait::async_trait;
use domain::codec::decode_unit;
use domain::{Day, Decimal, ExperimentId, Partition, Timestamp, Unit, UnitId};
use rusqlite::{Connection, Row};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use uuid::Uuid;

/// Dropping it gives up its partitions and an open transaction.
struct SqliteApply {
    writer: Writer,
    holders: Arc<Holders>,
    id: u64,
    /// Between `begin` and the end of the transaction.
    open: Option<Lease>,
}

#[async_trait]
impl Connect for SqliteStore {
    async fn connect(&self) -> Result<Box<dyn ApplyStore>, StoreError> {
        let (writer, holders) = (self.writer()?.clone(), Arc::clone(&self.holders));
        let id = holders.last.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(SqliteApply { writer, holders, id, open: None }))
    }

    fn at_once(&self) -> u16 {
        1
    }

    async fn members(&self) -> Result<Option<Box<dyn Members>>, StoreError> {
        Ok(None)
    }
}

impl Holders {
    fn acquire(&self, wanted: &[Partition], id: u64) -> Vec<Partition> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().copied().filter(|p| *held.entry(*p).or_insert(id) == id).collect()
    }

    fn release(&self, partition: Partition, id: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&partition) == Some(&id) {
            held.remove(&partition);
        }
    }

    fn release_all(&self, id: u64) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, holder| *holder != id);
    }
}

impl Drop for SqliteApply {
    fn drop(&mut self) {
        // The transaction ends before another owner can begin one.
        self.open = None;
        self.holders.release_all(self.id);
    }
}

impl SqliteApply {
    /// Runs a step of the open transaction; a step that fails ends it.
    fn step<T>(&mut self, f: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let lease = self.open.take().ok_or(StoreError::NoTransaction)?;
        let done = blocking(|| f(&lease))?;
        self.open = Some(lease);
        Ok(done)
    }

    /// Inside the open transaction, or in one of its own.
    async fn run<T>(
        &mut self,
        f: impl FnOnce(&Connection) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        if self.open.is_some() { self.step(f) } else { self.writer.write(f).await }
    }
}

#[async_trait]
impl ApplyStore for SqliteApply {
    async fn acquire(&mut self, wanted: &[Partition]) -> Result<Vec<Partition>, StoreError> {
        Ok(self.holders.acquire(wanted, self.id))
    }

    async fn release(&mut self, partition: Partition) -> Result<(), StoreError> {
        self.holders.release(partition, self.id);
        Ok(())
    }

    fn session(&self) -> Option<Session> {
        None
    }

    async fn take(&mut self, partition: Partition, me: Uuid) -> Result<Taken, StoreError> {
        let take = |c: &Connection| {
            let mut sql = c.prepare_cached(include_str!("sql/take_partition.sql"))?;
            Ok(sql.query_row((partition.0, me.as_bytes()), |r| Ok((r.get(0)?, r.get(1)?)))?)
        };
        let (takes, begun) = self.run(take).await?;
        Ok(Taken { state: self.load(partition).await?, takes, begun })
    }

    async fn suspect(&mut self, partition: Partition, me: Uuid, entry: &str) -> Result<u32, StoreError> {
        let suspect = |c: &Connection| {
            let mut sql = c.prepare_cached(include_str!("sql/suspect.sql"))?;
            Ok(sql.query_row((partition.0, me.as_bytes(), entry), |r| r.get(0))?)
        };
        self.run(suspect).await
    }

    async fn load(&mut self, partition: Partition) -> Result<PartitionState, StoreError> {
        let load = |c: &Connection| {
            let mut state = c.prepare_cached(include_str!("sql/load_partition.sql"))?;
            let mut writers = c.prepare_cached(include_str!("sql/load_writers.sql"))?;
            let writers = rows::all(&mut writers, &[&partition.0], |r| rows::writer(r, 0))?;
            Ok(state.query_row([partition.0], |r| {
                let (epoch, position, day) = (r.get(0)?, r.get(1)?, Day(r.get(2)?));
                Ok(PartitionState { epoch, position, day, writers })
            })?)
        };
        self.run(load).await
    }

    async fn begin(
        &mut self,
        a: &Advance,
        units: &[UnitId],
    ) -> Result<Option<Vec<(UnitId, Unit)>>, StoreError> {
        // Waiting for the lock while holding it would be for ever.
        self.open = None;
        let lease = self.writer.lease().await;
        let loaded = blocking(|| {
            lease.begin()?;
            if advance(&lease, a)? { load_units(&lease, units).map(Some) } else { Ok(None) }
        })?;
        self.open = loaded.is_some().then_some(lease);
        Ok(loaded)
    }

    async fn experiments(&mut self, partition: Partition, ids: &[ExperimentId]) -> Result<Known, StoreError> {
        self.step(|c| {
            let mut find = c.prepare_cached(include_str!("sql/experiment_kept.sql"))?;
            let mut last = c.prepare_cached(include_str!("sql/last_moments_of_partition.sql"))?;
            let mut known = Known::default();
            for id in ids {
                let row = |r: &Row<'_>| Ok((rows::experiment(r)?, r.get::<_, bool>(16)?));
                for (experiment, deleted) in rows::all(&mut find, &[&id.0], row)? {
                    known.experiments.extend(experiment);
                    known.deleted.extend(deleted.then_some(*id));
                }
                known.moments.extend(rows::all(&mut last, &[&id.0, &partition.0], rows::arm)?);
                rebuilds::learn(c, *id, partition, &mut known)?;
            }
            Ok(known)
        })
    }

    async fn record(
        &mut self,
        day: Day,
        history: &HistoryOf<'_>,
        conversions: &[NewConversion<'_>],
    ) -> Result<(Vec<Past>, Vec<Outcome>), StoreError> {
        self.step(|c| {
            // In this order: history holds nothing of this transaction.
            let past = read_history(c, history)?;
            Ok((past, insert(c, day, conversions)?))
        })
    }

    async fn dead_letters_kept(&mut self, tenant: &str, limit: u64) -> Result<u64, StoreError> {
        self.step(|c| {
            let mut sql = c.prepare_cached(include_str!("sql/dead_letters_kept.sql"))?;
            sql.query_row((Text(tenant), to_sql_count(limit)), |r| Ok(rows::number(r, 0, "dead letters")))?
        })
    }

    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError> {
        self.step(|c| raw::slice(c, first, last, limit))
    }

    async fn moments(
        &mut self,
        partition: Partition,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError> {
        self.step(|c| {
            let mut sql = c.prepare_cached(include_str!("sql/moments_of_partition.sql"))?;
            rows::all(&mut sql, &[&experiment.0, &plan_version, &partition.0], rows::arm)
        })
    }

    /// A view is a snapshot of its own here.
    fn is_viewed(&self) -> bool {
        false
    }

    async fn purge(&mut self, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError> {
        self.step(|c| purges::step(c, step))
    }

    async fn write(&mut self, a: &Advance, changes: &Changes<'_>) -> Result<(), StoreError> {
        self.step(|c| {
            changes::write(c, changes, a.partition, a.day)?;
            changes.erased.map_or(Ok(()), |erasure| erasures::erase(c, erasure))
        })
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let lease = self.open.take().ok_or(StoreError::NoTransaction)?;
        blocking(|| lease.commit())
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        self.open = None;
        Ok(())
    }

    async fn rebuilding(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ExperimentId)>, StoreError> {
        self.run(|c| rebuilds::pending(c, partitions)).await
    }

    async fn erasures(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ErasureRow)>, StoreError> {
        self.run(|c| erasures::pending(c, partitions)).await
    }

    async fn purges(&mut self, partitions: &[Partition]) -> Result<Vec<PurgeRow>, StoreError> {
        self.run(|c| purges::pending(c, partitions)).await
    }

    async fn serve_rebuilt(&mut self) -> Result<Vec<ExperimentId>, StoreError> {
        self.run(rebuilds::serve).await
    }

    async fn expire_receipts(&mut self, limit: i64) -> Result<u64, StoreError> {
        let sql = include_str!("sql/expire_receipts.sql");
        self.run(|c| Ok(c.prepare_cached(sql)?.execute([limit])? as u64)).await
    }
}

/// Compare-and-set; false: somebody else moved the position.
fn advance(c: &Connection, a: &Advance) -> Result<bool, StoreError> {
    let (accepted, lost) = (to_sql_count(a.accepted), to_sql_count(a.lost));
    let row = (&a.to, a.day.0, accepted, lost, a.rewinds, a.partition.0, &a.from, a.epoch);
    Ok(c.prepare_cached(include_str!("sql/advance.sql"))?.execute(row)? == 1)
}

fn load_units(c: &Connection, units: &[UnitId]) -> Result<Vec<(UnitId, Unit)>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/load_unit.sql"))?;
    let mut sorted = units.to_vec();
    sorted.sort_unstable();
    let mut loaded = Vec::new();
    for id in sorted {
        let mut rows = sql.query([id.0])?;
        if let Some(row) = rows.next()? {
            loaded.push((id, decode_unit(rows::blob(row, 0)?)?));
        }
    }
    Ok(loaded)
}

fn read_history(c: &Connection, of: &HistoryOf<'_>) -> Result<Vec<Past>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/history.sql"))?;
    let mut units = of.units.clone();
    units.sort_unstable();
    let mut found = Vec::new();
    for unit in units {
        let mut rows = sql.query([unit.0])?;
        while let Some(row) = rows.next()? {
            let experiment = ExperimentId(row.get(1)?);
            let wanted = if experiment.is_none() {
                of.metrics.contains(&rows::text(row, 2)?)
            } else {
                of.experiments.contains(&experiment)
            };
            if wanted {
                found.push(rows::past(row)?);
            }
        }
    }
    Ok(found)
}

fn insert(c: &Connection, day: Day, rows: &[NewConversion<'_>]) -> Result<Vec<Outcome>, StoreError> {
    let mut sorted: Vec<usize> = (0..rows.len()).collect();
    let key = |r: &NewConversion<'_>| (r.unit, r.experiment);
    sorted.sort_unstable_by(|a, b| match (rows.get(*a), rows.get(*b)) {
        (Some(a), Some(b)) => key(a).cmp(&key(b)).then_with(|| a.key.cmp(&b.key)),
        _ => a.cmp(b),
    });
    let mut insert = c.prepare_cached(include_str!("sql/insert_conversion.sql"))?;
    let mut known = c.prepare_cached(include_str!("sql/known_conversion.sql"))?;
    let mut outcomes = vec![Outcome::New; rows.len()];
    for at in sorted {
        let (Some(r), Some(outcome)) = (rows.get(at), outcomes.get_mut(at)) else { continue };
        let inserted = insert.execute((
            r.unit.0,
            r.experiment.0,
            Text(&r.key),
            r.value.0,
            r.occurred_at.0,
            r.received_at.0,
            r.batch.0.as_bytes(),
            day.0,
            r.occurred_given.map(|t| t.0),
            Text(r.tenant),
            Text(r.metric),
        ))?;
        if inserted == 0 {
            *outcome = known.query_row((r.unit.0, r.experiment.0, &r.key), |row| {
                let (metric, value) = (row.get(0)?, Decimal(row.get(1)?));
                let occurred_given = row.get::<_, Option<i64>>(2)?.map(Timestamp);
                Ok(Outcome::Known { metric, value, occurred_given })
            })?;
        }
    }
    Ok(outcomes)
}
