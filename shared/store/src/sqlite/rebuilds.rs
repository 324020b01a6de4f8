//! Plan versions being built, as the owners of partitions see them.

use super::experiments::raise_epochs;
use super::rows;
use crate::StoreError;
use crate::apply::{Known, RebuildRow};
use domain::{ExperimentId, Partition};
use rusqlite::{Connection, Row};

/// Adds what there is of an experiment.
pub fn learn(
    c: &Connection,
    id: ExperimentId,
    partition: Partition,
    known: &mut Known,
) -> Result<(), StoreError> {
    let mut of = c.prepare_cached(include_str!("sql/rebuild/of_partition.sql"))?;
    let row = |r: &Row<'_>| {
        let cursor = r.get::<_, Option<[u8; 16]>>(2)?.map(domain::UnitId);
        Ok(RebuildRow { experiment: id, version: r.get(1)?, cursor, done: r.get(3)? })
    };
    let found = rows::all(&mut of, &[&id.0, &partition.0], row)?;
    if found.iter().any(|r| !r.done) {
        let mut days = c.prepare_cached(include_str!("sql/rebuild/moments.sql"))?;
        known.days.extend(rows::all(&mut days, &[&id.0, &partition.0], rows::arm)?);
    }
    known.rebuilds.extend(found);
    Ok(())
}

pub fn pending(
    c: &Connection,
    partitions: &[Partition],
) -> Result<Vec<(Partition, ExperimentId)>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/rebuild/pending.sql"))?;
    let mut found = Vec::new();
    for partition in partitions {
        let row = |r: &Row<'_>| Ok((rows::partition(r, 0)?, ExperimentId(r.get(1)?)));
        found.extend(rows::all(&mut sql, &[&partition.0], row)?);
    }
    Ok(found)
}

pub fn serve(c: &Connection) -> Result<Vec<ExperimentId>, StoreError> {
    let mut built = c.prepare_cached(include_str!("sql/rebuild/built.sql"))?;
    let built = rows::all(&mut built, &[], |r| Ok(ExperimentId(r.get(0)?)))?;
    for id in &built {
        c.execute(include_str!("sql/rebuild/switch.sql"), [id.0])?;
        raise_epochs(c)?;
        c.execute("DELETE FROM rebuilds WHERE experiment = ?1", [id.0])?;
    }
    Ok(built)
}
