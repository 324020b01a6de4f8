//! Changes of definitions, and what they ask of the owners of partitions.

use super::audits::audit;
use super::experiments::lock;
use super::rebuilds::raise_epochs;
use super::types::PgTime;
use super::{PgStore, rows};
use crate::numbers::narrow;
use crate::step::{Step, phases, step};
use crate::{Actor, Change, Changed, StoreError};
use domain::ExperimentId;
use tokio_postgres::Transaction;

impl PgStore {
    /// Without a change, what there is is built anew.
    pub(super) async fn change(
        &self,
        tenant: &str,
        id: ExperimentId,
        change: Option<Change<'_>>,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let Some(current) = lock(&t, tenant, id).await? else { return Ok(Changed::NotFound) };
        if change.is_some_and(|change| change.revision != current.revision) {
            return Ok(Changed::Outrun);
        }
        let wanted = change.map_or_else(|| current.wanted(), |change| change.definition);
        let now = t.query_one("SELECT now()", &[]).await?.get::<_, PgTime>(0).0;
        let mut step = step(&current, wanted, change.is_none());
        if matches!(step, Step::Build(_)) && current.purged_at.is_some() {
            return Ok(Changed::Purged);
        }
        let phases = phases(&current, wanted, now);
        if matches!(step, Step::Build(_)) || current.rebuild.is_some() || phases.is_some() {
            raise_epochs(&t).await?;
        }
        // Nobody is enrolled, and after the statement above nobody is about to be: there is nothing to build.
        let nobody = "SELECT NOT EXISTS (SELECT 1 FROM moments_keys WHERE experiment = $1)";
        let nobody: bool = t.query_one(nobody, &[&id.0]).await?.get(0);
        let phases = phases.filter(|_| !nobody).unwrap_or_else(|| current.phases.clone());
        let phases = serde_json::to_string(&phases)?;
        let text = serde_json::to_string(wanted)?;
        let served: i32 = narrow(current.plan_version, "plan version")?;
        let mut version = served;
        if let Step::Build(next) = step {
            version = narrow(next, "plan version")?;
            step = if nobody { Step::Serve } else { step };
        }
        match step {
            Step::Build(_) => {
                forget(&t, id, served).await?;
                t.execute(include_str!("sql/rebuild/begin.sql"), &[&id.0, &version]).await?;
                let sql = include_str!("sql/rebuild/ask.sql");
                t.execute(sql, &[&id.0, &text, &Some(version), &phases]).await?;
            }
            Step::Follow => {
                let next = current.rebuild.as_ref().map(|r| narrow(r.version, "plan version")).transpose()?;
                let next: Option<i32> = next;
                t.execute(include_str!("sql/rebuild/ask.sql"), &[&id.0, &text, &next, &phases]).await?;
            }
            Step::Serve => {
                forget(&t, id, version).await?;
                t.execute("DELETE FROM rebuilds WHERE experiment = $1", &[&id.0]).await?;
                let sql = include_str!("sql/rebuild/serve.sql");
                t.execute(sql, &[&id.0, &text, &version, &phases]).await?;
            }
        }
        let (action, detail) = match &change {
            Some(change) => ("experiment.change", change.detail),
            None => ("experiment.rebuild", ""),
        };
        audit(&t, tenant, actor, action, &id.to_string(), detail).await?;
        let row = t.query_one(include_str!("sql/experiment_lock.sql"), &[&tenant, &id.0]).await?;
        let changed = rows::experiment(&row)?.ok_or(StoreError::Corrupt("status"))?;
        t.commit().await?;
        Ok(Changed::Done(Box::new(changed)))
    }
}

/// Deletes the sums of all versions but one.
async fn forget(t: &Transaction<'_>, id: ExperimentId, but: i32) -> Result<(), StoreError> {
    t.execute("DELETE FROM moments WHERE experiment = $1 AND plan_version <> $2", &[&id.0, &but]).await?;
    t.execute("DELETE FROM moments_keys WHERE experiment = $1 AND plan_version <> $2", &[&id.0, &but])
        .await?;
    Ok(())
}
