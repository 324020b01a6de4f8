//! A partition as it stood at one instant, read in short snapshots while its owner goes on: see the decision record
//! on views. The owner's half is here too: what it keeps of what it changes.

use super::pool::Connections;
use super::rows;
use super::types::{unit_id, uuid};
use super::{PgStore, raw};
use crate::apply::{Changes, NewConversion};
use crate::numbers::narrow;
use crate::{ArmRow, Experiment, Slice, StoreError, View, Views};
use async_trait::async_trait;
use domain::{ExperimentId, Partition, UnitId};
use tokio_postgres::{Client, IsolationLevel};
use uuid::Uuid;

struct PgView {
    pool: Connections,
    id: Uuid,
    partition: i16,
    experiment: Experiment,
    moments: Vec<ArmRow>,
}

#[async_trait]
impl Views for PgStore {
    async fn view(
        &self,
        experiment: ExperimentId,
        partition: Partition,
    ) -> Result<Option<Box<dyn View>>, StoreError> {
        let id = Uuid::new_v4();
        let p: i16 = narrow(partition.0, "partition")?;
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        t.execute(include_str!("sql/view/open.sql"), &[&p, &id]).await?;
        // What an earlier view left, and whoever reads one now is told.
        t.execute("DELETE FROM view_units WHERE partition = $1", &[&p]).await?;
        t.execute("DELETE FROM view_conversions WHERE partition = $1", &[&p]).await?;
        let row = t.query_opt(include_str!("sql/experiments_by_id.sql"), &[&vec![experiment.0]]).await?;
        let Some(experiment) = row.map_or(Ok(None), |r| rows::experiment(&r))? else { return Ok(None) };
        let version: i32 = narrow(experiment.plan_version, "plan version")?;
        let moments =
            t.query(include_str!("sql/view/moments.sql"), &[&experiment.id.0, &version, &p]).await?;
        let moments = moments.iter().map(rows::arm).collect::<Result<_, _>>()?;
        t.commit().await?;
        Ok(Some(Box::new(PgView { pool: self.pool.clone(), id, partition: p, experiment, moments })))
    }
}

#[async_trait]
impl View for PgView {
    fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    fn moments(&self) -> &[ArmRow] {
        &self.moments
    }

    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Option<Slice>, StoreError> {
        let mut client = self.pool.get().await?;
        let p = self.partition;
        client.execute(include_str!("sql/view/renew.sql"), &[&p, &self.id]).await?;
        let snapshot =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let t = snapshot.start().await?;
        match t.query_one(include_str!("sql/view/is_open.sql"), &[&p]).await?.get::<_, Option<Uuid>>(0) {
            Some(open) if open == self.id => {}
            Some(_) => return Err(StoreError::Viewed(self.partition)),
            None => return Ok(None),
        }
        let units = t
            .query(include_str!("sql/view/units.sql"), &[&p, &uuid(first), &uuid(last), &i64::from(limit)])
            .await?;
        let end = units
            .last()
            .filter(|_| units.len() as u64 == u64::from(limit))
            .map_or(last, |r| unit_id(r.get(0)));
        let conversions =
            t.query(include_str!("sql/view/conversions.sql"), &[&p, &uuid(first), &uuid(end)]).await?;
        t.commit().await?;
        let units = units.iter().map(raw::unit).collect::<Result<_, _>>()?;
        Ok(Some(Slice { units, conversions: conversions.iter().map(raw::conversion).collect(), end }))
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        let mut client = self.pool.get().await?;
        let t = client.transaction().await?;
        if t.execute(include_str!("sql/view/close.sql"), &[&self.partition, &self.id]).await? == 1 {
            t.execute("DELETE FROM view_units WHERE partition = $1", &[&self.partition]).await?;
            t.execute("DELETE FROM view_conversions WHERE partition = $1", &[&self.partition]).await?;
        }
        Ok(t.commit().await?)
    }
}

/// Before they are changed.
pub(super) async fn keep_units(c: &Client, changes: &Changes<'_>, partition: i16) -> Result<(), StoreError> {
    let new: Vec<Uuid> = changes.new_units.iter().map(|u| uuid(u.id)).collect();
    let changed: Vec<Uuid> = changes.changed_units.iter().map(|u| uuid(u.0)).collect();
    c.execute(include_str!("sql/view/keep_new.sql"), &[&partition, &new]).await?;
    c.execute(include_str!("sql/view/keep_changed.sql"), &[&partition, &changed]).await?;
    Ok(())
}

/// After they were inserted.
pub(super) async fn keep_conversions(
    c: &Client,
    rows: &[NewConversion<'_>],
    partition: i16,
) -> Result<(), StoreError> {
    let units: Vec<Uuid> = rows.iter().map(|r| uuid(r.unit)).collect();
    let experiments: Vec<i64> = rows.iter().map(|r| r.experiment.0).collect();
    let keys: Vec<&str> = rows.iter().map(|r| r.key.as_ref()).collect();
    let sql = include_str!("sql/view/keep_conversions.sql");
    c.execute(sql, &[&partition, &units, &experiments, &keys]).await?;
    Ok(())
}
