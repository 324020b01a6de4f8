//! Raw rows in key order, for verify and export: ranges of users, each its own short snapshot.

use super::SqliteStore;
use super::rows;
use crate::{ConversionRow, RawRows, StoreError, UnitRow};
use async_trait::async_trait;
use domain::UnitId;

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
}
