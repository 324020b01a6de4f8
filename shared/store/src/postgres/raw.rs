//! Raw rows in key order, for verify and export: ranges of users, each its own short snapshot.

use super::PgStore;
use super::types::{PgDay, PgTime, unit_id, uuid};
use crate::{ConversionRow, RawRows, Slice, StoreError, UnitRow};
use async_trait::async_trait;
use domain::codec::decode_unit;
use domain::{BatchId, Decimal, ExperimentId, UnitId};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

#[async_trait]
impl RawRows for PgStore {
    async fn units(
        &self,
        range: (UnitId, UnitId),
        after: Option<UnitId>,
        limit: i64,
    ) -> Result<Vec<UnitRow>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/units.sql")).await?;
        let (first, last) = (uuid(range.0), uuid(range.1));
        let rows = client.query(&sql, &[&first, &last, &after.map(uuid), &limit]).await?;
        rows.iter().map(unit).collect()
    }

    async fn conversions(&self, first: UnitId, last: UnitId) -> Result<Vec<ConversionRow>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/conversions.sql")).await?;
        let rows = client.query(&sql, &[&uuid(first), &uuid(last)]).await?;
        Ok(rows.iter().map(conversion).collect())
    }

    async fn conversions_after(
        &self,
        after: (UnitId, ExperimentId, &str),
        last: UnitId,
        experiment: ExperimentId,
        limit: i64,
    ) -> Result<Vec<ConversionRow>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/conversions_after.sql")).await?;
        let params: [&(dyn ToSql + Sync); 6] =
            [&uuid(after.0), &after.1.0, &after.2, &uuid(last), &experiment.0, &limit];
        Ok(client.query(&sql, &params).await?.iter().map(conversion).collect())
    }
}

/// The first units of a range and all their conversions, on a connection of the caller's.
pub(super) async fn slice(c: &Client, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError> {
    let none: Option<Uuid> = None;
    let params: [&(dyn ToSql + Sync); 4] = [&uuid(first), &uuid(last), &none, &i64::from(limit)];
    let units = c.query(include_str!("sql/units.sql"), &params).await?;
    let end = units.last().filter(|_| units.len() as u64 == u64::from(limit));
    let end = end.map_or(last, |r| unit_id(r.get(0)));
    let conversions = c.query(include_str!("sql/conversions.sql"), &[&uuid(first), &uuid(end)]).await?;
    let units = units.iter().map(unit).collect::<Result<_, _>>()?;
    Ok(Slice { units, conversions: conversions.iter().map(conversion).collect(), end })
}

/// A row of (unit, tenant, user_id, state).
pub(super) fn unit(r: &Row) -> Result<UnitRow, StoreError> {
    let unit = decode_unit(r.get(3))?;
    Ok(UnitRow { id: unit_id(r.get(0)), tenant: r.get(1), user_id: r.get(2), unit })
}

/// A row of (unit, experiment, key, metric, value, occurred_at, occurred_given, received_at, day, batch).
pub(super) fn conversion(r: &Row) -> ConversionRow {
    ConversionRow {
        unit: unit_id(r.get(0)),
        experiment: ExperimentId(r.get(1)),
        key: r.get(2),
        metric: r.get(3),
        value: Decimal(r.get(4)),
        occurred_at: r.get::<_, PgTime>(5).0,
        occurred_given: r.get::<_, Option<PgTime>>(6).map(|t| t.0),
        received_at: r.get::<_, PgTime>(7).0,
        day: r.get::<_, PgDay>(8).0,
        batch: BatchId(r.get(9)),
    }
}
