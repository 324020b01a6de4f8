//! What the analyzer asks: last moments rows, counters, receipts, the books.

use super::SqliteStore;
use super::{rows, snapshot};
use crate::{
    Accounts, Answers, ArmRow, Asked, Counter, Experiment, LOSSES_MAX, ReceiptPart, Snapshot, StoreError,
};
use async_trait::async_trait;
use domain::{BatchId, Day, ExperimentId};
use rusqlite::{Connection, Row};

#[async_trait]
impl Answers for SqliteStore {
    async fn answer(&self, experiment: &Experiment, as_of: Option<Day>) -> Result<Vec<ArmRow>, StoreError> {
        self.readers.read(|c| last_rows(c, experiment, as_of)).await
    }

    async fn moments_rows(
        &self,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError> {
        self.readers.read(|c| all_rows(c, experiment, plan_version)).await
    }

    async fn counters(
        &self,
        tenant: &str,
        experiment: Option<ExperimentId>,
        as_of: Option<Day>,
    ) -> Result<Vec<Counter>, StoreError> {
        self.readers.read(|c| counted(c, tenant, experiment, as_of)).await
    }

    async fn snapshot(
        &self,
        tenant: &str,
        reference: &str,
        asked: &Asked,
    ) -> Result<Option<Snapshot>, StoreError> {
        snapshot::read(self, tenant, reference, asked).await
    }

    async fn receipt(
        &self,
        tenant: &str,
        batch: BatchId,
        request_id: Option<&str>,
    ) -> Result<Vec<ReceiptPart>, StoreError> {
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/receipt.sql"))?;
                rows::all(&mut sql, &[&tenant, &batch.0.as_bytes(), &request_id], rows::receipt_part)
            })
            .await
    }

    async fn accounting(&self) -> Result<Accounts, StoreError> {
        self.readers
            .read(|c| {
                let snapshot = c.unchecked_transaction()?;
                let mut accounts = snapshot.prepare_cached(include_str!("sql/accounting.sql"))?;
                let mut writers = snapshot.prepare_cached(include_str!("sql/writers.sql"))?;
                let mut losses = snapshot.prepare_cached(include_str!("sql/losses.sql"))?;
                Ok(Accounts {
                    partitions: rows::all(&mut accounts, &[], rows::account)?,
                    writers: rows::all(&mut writers, &[], |r| {
                        Ok((rows::partition(r, 0)?, rows::writer(r, 1)?))
                    })?,
                    losses: rows::all(&mut losses, &[&LOSSES_MAX], rows::loss)?,
                })
            })
            .await
    }
}

pub(super) fn last_rows(
    c: &Connection,
    experiment: &Experiment,
    as_of: Option<Day>,
) -> Result<Vec<ArmRow>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/answer.sql"))?;
    rows::all(&mut sql, &[&experiment.id.0, &experiment.plan_version, &last_day(as_of)], rows::arm)
}

pub(super) fn all_rows(
    c: &Connection,
    experiment: ExperimentId,
    plan_version: u32,
) -> Result<Vec<ArmRow>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/moments_rows.sql"))?;
    rows::all(&mut sql, &[&experiment.0, &plan_version], rows::arm)
}

pub(super) fn counted(
    c: &Connection,
    tenant: &str,
    experiment: Option<ExperimentId>,
    as_of: Option<Day>,
) -> Result<Vec<Counter>, StoreError> {
    let counter = |r: &Row<'_>| {
        let (experiment, variation) = (ExperimentId(r.get(0)?), r.get(1)?);
        Ok(Counter { experiment, variation, name: r.get(2)?, n: r.get(3)? })
    };
    let day = last_day(as_of);
    match experiment {
        Some(experiment) => {
            let mut sql = c.prepare_cached(include_str!("sql/counters.sql"))?;
            rows::all(&mut sql, &[&tenant, &experiment.0, &day], counter)
        }
        None => {
            let mut sql = c.prepare_cached(include_str!("sql/counters_of_tenant.sql"))?;
            rows::all(&mut sql, &[&tenant, &day], counter)
        }
    }
}

fn last_day(as_of: Option<Day>) -> i32 {
    as_of.map_or(i32::MAX, |day| day.0)
}
