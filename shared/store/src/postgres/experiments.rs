//! Experiments: created, listed, and moved through their statuses, each change audited in its transaction.

use super::PgStore;
use super::rows;
use crate::{Actor, Created, Experiment, Experiments, Status, StoreError, Transition};
use async_trait::async_trait;
use domain::ExperimentId;
use domain::definition::Definition;
use tokio_postgres::Transaction;

#[async_trait]
impl Experiments for PgStore {
    async fn create_experiment(
        &self,
        tenant: &str,
        definition: &Definition,
        actor: Actor<'_>,
    ) -> Result<Created, StoreError> {
        let text = serde_json::to_string(definition)?;
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let sql = include_str!("sql/experiment_create.sql");
        if let Some(row) = t.query_opt(sql, &[&tenant, &definition.key, &text]).await? {
            let created = rows::experiment(&row)?.ok_or(StoreError::Corrupt("status"))?;
            audit(&t, &created.tenant, actor, "experiment.create", &created.id.to_string(), &text).await?;
            t.commit().await?;
            return Ok(Created::New(created));
        }
        t.rollback().await?;
        match self.experiment(tenant, &definition.key).await? {
            Some(existing) => Ok(Created::Exists(existing)),
            None => Err(StoreError::KeyUsed(definition.key.clone())),
        }
    }

    async fn experiment(&self, tenant: &str, reference: &str) -> Result<Option<Experiment>, StoreError> {
        let id: i64 = reference.parse().unwrap_or(0);
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/experiment_find.sql")).await?;
        let row = client.query_opt(&sql, &[&tenant, &reference, &id]).await?;
        row.map_or(Ok(None), |r| rows::experiment(&r))
    }

    async fn list_experiments(
        &self,
        tenant: &str,
        after: ExperimentId,
        limit: u32,
    ) -> Result<Vec<Experiment>, StoreError> {
        let client = self.client().await?;
        let sql = include_str!("sql/experiments_list.sql");
        let rows = client.query(sql, &[&tenant, &after.0, &i64::from(limit)]).await?;
        rows.iter().filter_map(|r| rows::experiment(r).transpose()).collect()
    }

    async fn all_experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        let client = self.client().await?;
        let rows = client.query(include_str!("sql/experiments_all.sql"), &[]).await?;
        rows.iter().filter_map(|r| rows::experiment(r).transpose()).collect()
    }

    async fn set_status(
        &self,
        tenant: &str,
        id: ExperimentId,
        to: Status,
        actor: Actor<'_>,
    ) -> Result<Transition, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let Some(current) = lock(&t, tenant, id).await? else { return Ok(Transition::NotFound) };
        if current.status == to {
            return Ok(Transition::Done(Box::new(current)));
        }
        if !current.status.may_become(to) {
            return Ok(Transition::Refused(current.status));
        }
        let row = t.query_one(include_str!("sql/experiment_status.sql"), &[&id.0, &to.as_str()]).await?;
        let changed = rows::experiment(&row)?.ok_or(StoreError::Corrupt("status"))?;
        audit(&t, tenant, actor, "experiment.status", &id.to_string(), to.as_str()).await?;
        t.commit().await?;
        Ok(Transition::Done(Box::new(changed)))
    }

    async fn delete_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        if lock(&t, tenant, id).await?.is_none() {
            return Ok(false);
        }
        // Owners cache that it exists: after this commit their next transaction fails and they look again. Taken in
        // order, like every lock on more than one partition.
        t.query("SELECT partition FROM partitions ORDER BY partition FOR UPDATE", &[]).await?;
        t.execute("UPDATE partitions SET epoch = epoch + 1", &[]).await?;
        t.execute(include_str!("sql/experiment_status.sql"), &[&id.0, &"deleted"]).await?;
        t.execute("DELETE FROM moments WHERE experiment = $1", &[&id.0]).await?;
        t.execute("DELETE FROM moments_keys WHERE experiment = $1", &[&id.0]).await?;
        audit(&t, tenant, actor, "experiment.delete", &id.to_string(), "").await?;
        t.commit().await?;
        Ok(true)
    }
}

async fn lock(t: &Transaction<'_>, tenant: &str, id: ExperimentId) -> Result<Option<Experiment>, StoreError> {
    let row = t.query_opt(include_str!("sql/experiment_lock.sql"), &[&tenant, &id.0]).await?;
    row.map_or(Ok(None), |r| rows::experiment(&r))
}

pub(super) async fn audit(
    t: &Transaction<'_>,
    tenant: &str,
    actor: Actor<'_>,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let sql = include_str!("sql/audit.sql");
    t.execute(sql, &[&tenant, &actor.name, &action, &subject, &actor.request_id, &detail]).await?;
    Ok(())
}
