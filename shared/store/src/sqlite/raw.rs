//! Raw rows in key order, for verify and export: ranges of users, each its own short snapshot.

use super::SqliteStore;
use super::rows;
use crate::{ConversionRow, RawRows, Slice, StoreError, UnitRow};
use async_trait::async_trait;
use domain::{ExperimentId, UnitId};
use rusqlite::{Connection, ToSql};

#[async_trait]
impl RawRows for SqliteStore {
    async fn units(
        &self,
        range: (UnitId, UnitId),
        after: Option<UnitId>,
        limit: i64,
    ) -> Result<Vec<UnitRow>, StoreError> {
        let (first, last) = range;
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/units.sql"))?;
                rows::all(&mut sql, &[&first.0, &last.0, &after.map(|u| u.0), &limit], rows::unit)
            })
            .await
    }

    async fn conversions(&self, first: UnitId, last: UnitId) -> Result<Vec<ConversionRow>, StoreError> {
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/conversions.sql"))?;
                rows::all(&mut sql, &[&first.0, &last.0], rows::conversion)
            })
            .await
    }

    async fn conversions_after(
        &self,
        (unit, of, key): (UnitId, ExperimentId, &str),
        last: UnitId,
        experiment: ExperimentId,
        limit: i64,
    ) -> Result<Vec<ConversionRow>, StoreError> {
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/conversions_after.sql"))?;
                let params: [&dyn ToSql; 6] = [&unit.0, &of.0, &key, &last.0, &experiment.0, &limit];
                rows::all(&mut sql, &params, rows::conversion)
            })
            .await
    }
}

/// The first units of a range and all their conversions, on a connection of the caller's.
pub fn slice(c: &Connection, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError> {
    let none: Option<[u8; 16]> = None;
    let mut sql = c.prepare_cached(include_str!("sql/units.sql"))?;
    let units = rows::all(&mut sql, &[&first.0, &last.0, &none, &limit], rows::unit)?;
    let end = units.last().filter(|_| units.len() as u64 == u64::from(limit)).map_or(last, |u| u.id);
    let mut sql = c.prepare_cached(include_str!("sql/conversions.sql"))?;
    let conversions = rows::all(&mut sql, &[&first.0, &end.0], rows::conversion)?;
    Ok(Slice { units, conversions, end })
}
