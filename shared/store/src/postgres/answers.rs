//! What the analyzer asks: last moments rows, counters, receipts, the books.

use super::PgStore;
use super::types::PgDay;
use super::{rows, snapshot};
use crate::numbers::narrow;
use crate::{
    Accounts, Answers, ArmRow, Asked, Counter, Experiment, LOSSES_MAX, PartitionAccount, ReceiptPart,
    Snapshot, StoreError,
};
use async_trait::async_trait;
use deadpool_postgres::GenericClient;
use domain::{BatchId, Day, ExperimentId, Partition};
use tokio_postgres::{IsolationLevel, Row};

/// Past every day that can be stored, for the answer of now.
const END_OF_TIME: Day = Day(2_000_000);

#[async_trait]
impl Answers for PgStore {
    async fn answer(&self, experiment: &Experiment, as_of: Option<Day>) -> Result<Vec<ArmRow>, StoreError> {
        let client = self.client().await?;
        last_rows(&*client, experiment, as_of).await
    }

    async fn moments_rows(
        &self,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError> {
        let client = self.client().await?;
        all_rows(&*client, experiment, plan_version).await
    }

    async fn counters(
        &self,
        tenant: &str,
        experiment: Option<ExperimentId>,
        as_of: Option<Day>,
    ) -> Result<Vec<Counter>, StoreError> {
        let client = self.client().await?;
        counted(&*client, tenant, experiment, as_of).await
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
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/receipt.sql")).await?;
        let rows = client.query(&sql, &[&tenant, &batch.0, &request_id]).await?;
        let part = |r: &Row| {
            Ok(ReceiptPart {
                request_id: r.get(0),
                part: narrow(r.get::<_, i32>(1), "part")?,
                parts: narrow(r.get::<_, i32>(2), "parts")?,
                recorded: narrow(r.get::<_, i64>(3), "recorded")?,
                deduplicated: narrow(r.get::<_, i64>(4), "deduplicated")?,
                conflicts: narrow(r.get::<_, i64>(5), "conflicts")?,
                dead_lettered: narrow(r.get::<_, i64>(6), "dead_lettered")?,
            })
        };
        rows.iter().map(part).collect()
    }

    async fn accounting(&self) -> Result<Accounts, StoreError> {
        let mut client = self.client().await?;
        let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let t = snapshot.read_only(true).start().await?;
        let accounts = t.query(include_str!("sql/accounting.sql"), &[]).await?;
        let writers = t.query(include_str!("sql/writers.sql"), &[]).await?;
        let losses = t.query(include_str!("sql/losses.sql"), &[&i64::from(LOSSES_MAX)]).await?;
        t.commit().await?;
        let account = |r: &Row| {
            Ok(PartitionAccount {
                partition: Partition(narrow(r.get::<_, i16>(0), "partition")?),
                position: r.get(1),
                accepted: r.get(2),
                lost: r.get(3),
                recorded: r.get(4),
                deduplicated: r.get(5),
                dead_lettered: r.get(6),
                discarded: r.get(7),
            })
        };
        let writer = |r: &Row| Ok((Partition(narrow(r.get::<_, i16>(0), "partition")?), rows::writer(r, 1)?));
        Ok(Accounts {
            partitions: accounts.iter().map(account).collect::<Result<_, StoreError>>()?,
            writers: writers.iter().map(writer).collect::<Result<_, StoreError>>()?,
            losses: losses.iter().map(rows::loss).collect::<Result<_, StoreError>>()?,
        })
    }
}

pub(super) async fn last_rows(
    client: &impl GenericClient,
    experiment: &Experiment,
    as_of: Option<Day>,
) -> Result<Vec<ArmRow>, StoreError> {
    let sql = client.prepare_cached(include_str!("sql/answer.sql")).await?;
    let version: i32 = narrow(experiment.plan_version, "plan version")?;
    let day = PgDay(as_of.unwrap_or(END_OF_TIME));
    let rows = client.query(&sql, &[&experiment.id.0, &version, &day]).await?;
    rows.iter().map(rows::arm).collect()
}

pub(super) async fn all_rows(
    client: &impl GenericClient,
    experiment: ExperimentId,
    plan_version: u32,
) -> Result<Vec<ArmRow>, StoreError> {
    let sql = client.prepare_cached(include_str!("sql/moments_rows.sql")).await?;
    let version: i32 = narrow(plan_version, "plan version")?;
    let rows = client.query(&sql, &[&experiment.0, &version]).await?;
    rows.iter().map(rows::arm).collect()
}

pub(super) async fn counted(
    client: &impl GenericClient,
    tenant: &str,
    experiment: Option<ExperimentId>,
    as_of: Option<Day>,
) -> Result<Vec<Counter>, StoreError> {
    let day = PgDay(as_of.unwrap_or(END_OF_TIME));
    let rows = match experiment {
        Some(experiment) => {
            let sql = client.prepare_cached(include_str!("sql/counters.sql")).await?;
            client.query(&sql, &[&tenant, &experiment.0, &day]).await?
        }
        None => {
            let sql = client.prepare_cached(include_str!("sql/counters_of_tenant.sql")).await?;
            client.query(&sql, &[&tenant, &day]).await?
        }
    };
    let counter = |r: &Row| Counter {
        experiment: ExperimentId(r.get(0)),
        variation: r.get(1),
        name: r.get(2),
        n: r.get(3),
    };
    Ok(rows.iter().map(counter).collect())
}
