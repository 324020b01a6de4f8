//! Everything an answer needs, in one transaction that sees one instant.

use super::types::uuid;
use super::{PgStore, answers, raw, rows};
use crate::{Asked, Rows, Snapshot, StoreError, UserRows};
use deadpool_postgres::GenericClient;
use domain::UnitId;
use tokio_postgres::IsolationLevel;

pub async fn read(
    store: &PgStore,
    tenant: &str,
    reference: &str,
    asked: &Asked,
) -> Result<Option<Snapshot>, StoreError> {
    let mut client = store.client().await?;
    let t = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let t = t.read_only(true).start().await?;
    let id: i64 = reference.parse().unwrap_or(0);
    let sql = t.prepare_cached(include_str!("sql/experiment_find.sql")).await?;
    let found = t.query_opt(&sql, &[&tenant, &reference, &id]).await?;
    let Some(experiment) = found.map_or(Ok(None), |row| rows::experiment(&row))? else { return Ok(None) };
    let moments = match (asked.moments)(&experiment) {
        Rows::None => Vec::new(),
        Rows::Last => answers::last_rows(&t, &experiment, asked.as_of).await?,
        Rows::EveryDay => {
            let mut rows = answers::all_rows(&t, experiment.id, experiment.plan_version).await?;
            rows.retain(|row| asked.as_of.is_none_or(|day| row.day <= day));
            rows
        }
    };
    let counters = if asked.counters {
        answers::counted(&t, tenant, Some(experiment.id), asked.as_of).await?
    } else {
        Vec::new()
    };
    let user = match asked.user {
        Some(id) => user(&t, tenant, id, asked.conversions).await?,
        None => None,
    };
    t.commit().await?;
    Ok(Some(Snapshot { experiment, moments, counters, user }))
}

async fn user(
    t: &impl GenericClient,
    tenant: &str,
    id: UnitId,
    conversions: bool,
) -> Result<Option<UserRows>, StoreError> {
    let (id, only) = (uuid(id), 1i64);
    let sql = t.prepare_cached(include_str!("sql/units.sql")).await?;
    let Some(row) = t.query_opt(&sql, &[&id, &id, &None::<uuid::Uuid>, &only]).await? else {
        return Ok(None);
    };
    let unit = raw::unit(&row)?;
    if unit.tenant != tenant {
        return Ok(None);
    }
    let rows = if conversions {
        let sql = t.prepare_cached(include_str!("sql/conversions.sql")).await?;
        t.query(&sql, &[&id, &id]).await?
    } else {
        Vec::new()
    };
    let conversions = rows.iter().map(raw::conversion).collect();
    Ok(Some(UserRows { unit, conversions }))
}
