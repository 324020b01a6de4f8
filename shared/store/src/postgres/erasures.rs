//! Users who are forgotten: asked for here, done by the owner of their partition.

use super::PgStore;
use super::types::{unit_id, uuid};
use crate::apply::ErasureRow;
use crate::numbers::narrow;
use crate::{Actor, Erasure, Erasures, StoreError};
use async_trait::async_trait;
use domain::{Partition, UnitId};
use tokio_postgres::{Client, Row};

#[async_trait]
impl Erasures for PgStore {
    async fn erase_user(
        &self,
        tenant: &str,
        user_id: &str,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Erasure, StoreError> {
        let unit = UnitId::of(tenant, user_id);
        let partition: i16 = narrow(unit.partition(partitions).0, "partition")?;
        let client = self.client().await?;
        if client.query_one(include_str!("sql/erase/is_erased.sql"), &[&uuid(unit)]).await?.get(0) {
            return Ok(Erasure::Done);
        }
        let sql = include_str!("sql/erase/ask.sql");
        client.execute(sql, &[&uuid(unit), &partition, &tenant, &actor.name, &actor.request_id]).await?;
        Ok(Erasure::Asked)
    }
}

pub async fn pending(c: &Client, partitions: &[i16]) -> Result<Vec<(Partition, ErasureRow)>, StoreError> {
    let rows = c.query(include_str!("sql/erase/pending.sql"), &[&partitions]).await?;
    let row = |r: &Row| {
        let partition = Partition(narrow(r.get::<_, i16>(0), "partition")?);
        let (tenant, actor, request_id) = (r.get(2), r.get(3), r.get(4));
        Ok((partition, ErasureRow { unit: unit_id(r.get(1)), tenant, actor, request_id }))
    };
    rows.iter().map(row).collect()
}

/// What is left of the user but the state.
pub async fn erase(c: &Client, erasure: &ErasureRow, partition: i16) -> Result<(), StoreError> {
    let unit = uuid(erasure.unit);
    c.execute(include_str!("sql/erase/conversions.sql"), &[&unit]).await?;
    c.execute(include_str!("sql/erase/name.sql"), &[&unit]).await?;
    c.execute(include_str!("sql/erase/done.sql"), &[&unit]).await?;
    c.execute(include_str!("sql/view/end.sql"), &[&partition]).await?;
    c.execute("DELETE FROM view_units WHERE partition = $1", &[&partition]).await?;
    c.execute("DELETE FROM view_conversions WHERE partition = $1", &[&partition]).await?;
    let (subject, request_id) = (unit.to_string(), &erasure.request_id);
    let sql = include_str!("sql/audit.sql");
    c.execute(sql, &[&erasure.tenant, &erasure.actor, &"user.erase", &subject, request_id, &""]).await?;
    Ok(())
}
