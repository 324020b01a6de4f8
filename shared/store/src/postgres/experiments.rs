//! Experiments: created, listed, and moved through their statuses, each change audited in its transaction.

use super::PgStore;
use super::audits::audit;
use super::rebuilds::raise_epochs;
use super::rows;
use crate::{
    Actor, AuditEntry, Change, Changed, Created, Experiment, Experiments, Imported, Listing, Restored,
    Status, StoreError, Transition,
};
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

    async fn import_experiments(
        &self,
        tenant: &str,
        definitions: &[Definition],
        commit: bool,
        actor: Actor<'_>,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let mut all = Vec::with_capacity(definitions.len());
        for definition in definitions {
            let text = serde_json::to_string(definition)?;
            let sql = t.prepare_cached(include_str!("sql/experiment_create.sql")).await?;
            if let Some(row) = t.query_opt(&sql, &[&tenant, &definition.key, &text]).await? {
                let created = rows::experiment(&row)?.ok_or(StoreError::Corrupt("status"))?;
                audit(&t, tenant, actor, "experiment.import", &created.id.to_string(), &text).await?;
                all.push(Imported::New(created));
                continue;
            }
            let sql = t.prepare_cached(include_str!("sql/experiment_find.sql")).await?;
            let row = t.query_opt(&sql, &[&tenant, &definition.key, &0i64]).await?;
            all.push(Imported::known(row.map_or(Ok(None), |r| rows::experiment(&r))?, definition));
        }
        match commit && !all.iter().any(Imported::is_in_the_way) {
            true => t.commit().await?,
            false => t.rollback().await?,
        }
        Ok(all)
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
        listing: Listing<'_>,
    ) -> Result<Vec<Experiment>, StoreError> {
        let Listing { after, limit, status, label } = listing;
        let client = self.client().await?;
        let sql = include_str!("sql/experiments_list.sql");
        let status = status.map(Status::as_str);
        let rows = client.query(sql, &[&tenant, &after.0, &status, &label, &i64::from(limit)]).await?;
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
        // Owners must know when it stopped before they meet what came after.
        if changed.stopped_at != current.stopped_at {
            raise_epochs(&t).await?;
        }
        t.commit().await?;
        Ok(Transition::Done(Box::new(changed)))
    }

    async fn change_definition(
        &self,
        tenant: &str,
        id: ExperimentId,
        change: Change<'_>,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError> {
        self.change(tenant, id, Some(change), actor).await
    }

    async fn rebuild_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError> {
        self.change(tenant, id, None, actor).await
    }

    async fn restore_experiment(
        &self,
        tenant: &str,
        reference: &str,
        actor: Actor<'_>,
    ) -> Result<Restored, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let by_id: i64 = reference.parse().unwrap_or(0);
        let sql = include_str!("sql/experiment_put_away.sql");
        let Some(row) = t.query_opt(sql, &[&tenant, &reference, &by_id]).await? else {
            return Ok(Restored::NotFound);
        };
        let id = ExperimentId(row.get(0));
        match Status::parse(row.get(1)) {
            Some(Status::Archived) | None if row.get(2) => return Ok(Restored::Purged),
            Some(Status::Archived) | None => {}
            Some(_) => {
                let found = lock(&t, tenant, id).await?;
                return Ok(found.map_or(Restored::NotFound, |e| Restored::Done(Box::new(e))));
            }
        }
        raise_epochs(&t).await?;
        let row = t.query_one(include_str!("sql/experiment_restore.sql"), &[&id.0]).await?;
        let restored = rows::experiment(&row)?.ok_or(StoreError::Corrupt("status"))?;
        audit(&t, tenant, actor, "experiment.restore", &id.to_string(), restored.status.as_str()).await?;
        t.commit().await?;
        Ok(Restored::Done(Box::new(restored)))
    }

    async fn experiment_history(
        &self,
        tenant: &str,
        id: ExperimentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let (subject, before) = (id.to_string(), before.unwrap_or(i64::MAX));
        let client = self.client().await?;
        let sql = include_str!("sql/audit_of.sql");
        let rows = client.query(sql, &[&tenant, &subject, &before, &i64::from(limit)]).await?;
        Ok(rows.iter().map(rows::audit_entry).collect())
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
        raise_epochs(&t).await?;
        t.execute(include_str!("sql/experiment_status.sql"), &[&id.0, &"deleted"]).await?;
        audit(&t, tenant, actor, "experiment.delete", &id.to_string(), "").await?;
        t.commit().await?;
        Ok(true)
    }
}

pub(super) async fn lock(
    t: &Transaction<'_>,
    tenant: &str,
    id: ExperimentId,
) -> Result<Option<Experiment>, StoreError> {
    let row = t.query_opt(include_str!("sql/experiment_lock.sql"), &[&tenant, &id.0]).await?;
    row.map_or(Ok(None), |r| rows::experiment(&r))
}
