//! Everything an answer needs, in one transaction that sees one instant.

use super::{SqliteStore, answers, experiments, rows};
use crate::{Asked, Rows, Snapshot, StoreError, UserRows};
use domain::UnitId;
use rusqlite::Connection;

pub async fn read(
    store: &SqliteStore,
    tenant: &str,
    reference: &str,
    asked: &Asked,
) -> Result<Option<Snapshot>, StoreError> {
    store
        .readers
        .read(|c| {
            let t = c.unchecked_transaction()?;
            let Some(experiment) = experiments::by_reference(&t, tenant, reference)? else { return Ok(None) };
            let moments = match (asked.moments)(&experiment) {
                Rows::None => Vec::new(),
                Rows::Last => answers::last_rows(&t, &experiment, asked.as_of)?,
                Rows::EveryDay => {
                    let mut rows = answers::all_rows(&t, experiment.id, experiment.plan_version)?;
                    rows.retain(|row| asked.as_of.is_none_or(|day| row.day <= day));
                    rows
                }
            };
            let counters = if asked.counters {
                answers::counted(&t, tenant, Some(experiment.id), asked.as_of)?
            } else {
                Vec::new()
            };
            let user = asked.user.map_or(Ok(None), |id| user(&t, tenant, id, asked.conversions))?;
            Ok(Some(Snapshot { experiment, moments, counters, user }))
        })
        .await
}

fn user(c: &Connection, tenant: &str, id: UnitId, conversions: bool) -> Result<Option<UserRows>, StoreError> {
    let mut sql = c.prepare_cached(include_str!("sql/units.sql"))?;
    let unit = rows::all(&mut sql, &[&id.0, &id.0, &None::<[u8; 16]>, &1], rows::unit)?.pop();
    let Some(unit) = unit.filter(|unit| unit.tenant == tenant) else { return Ok(None) };
    let conversions = if conversions {
        let mut sql = c.prepare_cached(include_str!("sql/conversions.sql"))?;
        rows::all(&mut sql, &[&id.0, &id.0], rows::conversion)?
    } else {
        Vec::new()
    };
    Ok(Some(UserRows { unit, conversions }))
}
