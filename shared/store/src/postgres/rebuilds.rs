//! Plan versions being built, as the owners of partitions see them.

use super::rows;
use super::types::unit_id;
use crate::apply::RebuildRow;
use crate::numbers::narrow;
use crate::{ArmRow, StoreError};
use domain::{ExperimentId, Partition};
use tokio_postgres::{Client, Row, Transaction};

pub async fn of_partition(
    c: &Client,
    experiments: &[i64],
    partition: i16,
) -> Result<(Vec<RebuildRow>, Vec<ArmRow>), StoreError> {
    let found = c.query(include_str!("sql/rebuild/of_partition.sql"), &[&experiments, &partition]).await?;
    let row = |r: &Row| {
        let version = narrow(r.get::<_, i32>(1), "plan version")?;
        let cursor = r.get::<_, Option<uuid::Uuid>>(2).map(unit_id);
        Ok(RebuildRow { experiment: ExperimentId(r.get(0)), version, cursor, done: r.get(3) })
    };
    let found = found.iter().map(row).collect::<Result<Vec<RebuildRow>, StoreError>>()?;
    if found.iter().all(|r| r.done) {
        return Ok((found, Vec::new()));
    }
    let days = c.query(include_str!("sql/rebuild/moments.sql"), &[&experiments, &partition]).await?;
    Ok((found, days.iter().map(rows::arm).collect::<Result<_, _>>()?))
}

pub async fn pending(c: &Client, partitions: &[i16]) -> Result<Vec<(Partition, ExperimentId)>, StoreError> {
    let rows = c.query(include_str!("sql/rebuild/pending.sql"), &[&partitions]).await?;
    let row = |r: &Row| Ok((Partition(narrow(r.get::<_, i16>(0), "partition")?), ExperimentId(r.get(1))));
    rows.iter().map(row).collect()
}

pub async fn serve(c: &mut Client) -> Result<Vec<ExperimentId>, StoreError> {
    let mut served = Vec::new();
    for row in c.query(include_str!("sql/rebuild/built.sql"), &[]).await? {
        let id: i64 = row.get(0);
        let t = c.transaction().await?;
        // The locks of every other change of an experiment, in the same order.
        t.query("SELECT id FROM experiments WHERE id = $1 FOR UPDATE", &[&id]).await?;
        if t.execute(include_str!("sql/rebuild/switch.sql"), &[&id]).await? == 1 {
            raise_epochs(&t).await?;
            t.execute("DELETE FROM rebuilds WHERE experiment = $1", &[&id]).await?;
            served.push(ExperimentId(id));
        }
        t.commit().await?;
    }
    Ok(served)
}

/// Owners remember experiments: after this commit their next transaction fails and they look again. Taken in order, like
/// every lock on more than one partition.
pub async fn raise_epochs(t: &Transaction<'_>) -> Result<(), StoreError> {
    t.query("SELECT partition FROM partitions ORDER BY partition FOR UPDATE", &[]).await?;
    t.execute("UPDATE partitions SET epoch = epoch + 1", &[]).await?;
    Ok(())
}
