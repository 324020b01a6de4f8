//! A partition as it stood at one instant: a reading transaction. The writer goes on beside it; its log grows until the
//! view is closed.

use super::connections::blocking;
use super::{SqliteStore, raw, rows};
use crate::{ArmRow, Experiment, Slice, StoreError, View, Views};
use async_trait::async_trait;
use domain::{ExperimentId, Partition, UnitId};
use rusqlite::Connection;

/// Dropping it ends the transaction.
struct SqliteView {
    snapshot: Connection,
    experiment: Experiment,
    moments: Vec<ArmRow>,
}

#[async_trait]
impl Views for SqliteStore {
    async fn view(
        &self,
        experiment: ExperimentId,
        partition: Partition,
    ) -> Result<Option<Box<dyn View>>, StoreError> {
        blocking(|| {
            let snapshot = self.readers.open()?;
            snapshot.execute_batch("BEGIN")?;
            let mut find = snapshot.prepare(include_str!("sql/experiment_by_id.sql"))?;
            let found =
                rows::all(&mut find, &[&experiment.0], rows::experiment)?.into_iter().flatten().next();
            drop(find);
            let Some(experiment) = found else { return Ok(None) };
            let mut sql = snapshot.prepare(include_str!("sql/moments_of_partition.sql"))?;
            let moments =
                rows::all(&mut sql, &[&experiment.id.0, &experiment.plan_version, &partition.0], rows::arm)?;
            drop(sql);
            Ok(Some(Box::new(SqliteView { snapshot, experiment, moments }) as Box<dyn View>))
        })
    }
}

#[async_trait]
impl View for SqliteView {
    fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    fn moments(&self) -> &[ArmRow] {
        &self.moments
    }

    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Option<Slice>, StoreError> {
        let c = &self.snapshot;
        blocking(|| raw::slice(c, first, last, limit).map(Some))
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
