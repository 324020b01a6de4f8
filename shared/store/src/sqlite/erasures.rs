//! Users who are forgotten: asked for here, done by the owner of their partition.

use super::audits::audit;
use super::{SqliteStore, rows};
use crate::apply::ErasureRow;
use crate::{Actor, Erasure, Erasures, StoreError};
use async_trait::async_trait;
use domain::{Partition, UnitId};
use rusqlite::{Connection, Row};
use uuid::Uuid;

#[async_trait]
impl Erasures for SqliteStore {
    async fn erase_user(
        &self,
        tenant: &str,
        user_id: &str,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Erasure, StoreError> {
        let unit = UnitId::of(tenant, user_id);
        let ask = |c: &Connection| {
            if c.query_row(include_str!("sql/erase/is_erased.sql"), [unit.0], |r| r.get(0))? {
                return Ok(Erasure::Done);
            }
            let row = (unit.0, unit.partition(partitions).0, tenant, actor.name, actor.request_id);
            c.execute(include_str!("sql/erase/ask.sql"), row)?;
            Ok(Erasure::Asked)
        };
        self.writer()?.write(ask).await
    }
}

pub fn pending(c: &Connection, partitions: &[Partition]) -> Result<Vec<(Partition, ErasureRow)>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/erase/pending.sql"))?;
    let mut found = Vec::new();
    for partition in partitions {
        let row = |r: &Row<'_>| {
            let (tenant, actor, request_id) = (r.get(2)?, r.get(3)?, r.get(4)?);
            Ok((*partition, ErasureRow { unit: rows::unit_id(r, 1)?, tenant, actor, request_id }))
        };
        found.extend(rows::all(&mut sql, &[&partition.0], row)?);
    }
    Ok(found)
}

/// What is left of the user but the state.
pub fn erase(c: &Connection, erasure: &ErasureRow) -> Result<(), StoreError> {
    let unit = erasure.unit.0;
    c.execute(include_str!("sql/erase/conversions.sql"), [unit])?;
    c.execute(include_str!("sql/erase/name.sql"), [unit])?;
    c.execute(include_str!("sql/erase/done.sql"), [unit])?;
    let subject = Uuid::from_bytes(unit).to_string();
    let actor = Actor { name: &erasure.actor, request_id: &erasure.request_id };
    audit(c, &erasure.tenant, actor, "user.erase", &subject, "")
}
