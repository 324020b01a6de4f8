//! Experiments: created, listed, and moved through their statuses, each change audited in its transaction.

use super::SqliteStore;
use super::rows;
use crate::{Actor, Created, Experiment, Experiments, Status, StoreError, Transition};
use async_trait::async_trait;
use domain::ExperimentId;
use domain::definition::Definition;
use rusqlite::{Connection, ToSql};

#[async_trait]
impl Experiments for SqliteStore {
    async fn create_experiment(
        &self,
        tenant: &str,
        definition: &Definition,
        actor: Actor<'_>,
    ) -> Result<Created, StoreError> {
        let text = serde_json::to_string(definition)?;
        let created = self.writer()?.write(|c| {
            let created =
                one(c, include_str!("sql/experiment_create.sql"), &[&tenant, &definition.key, &text])?;
            if let Some(e) = &created {
                audit(c, &e.tenant, actor, "experiment.create", &e.id.to_string(), &text)?;
            }
            Ok(created)
        });
        if let Some(created) = created.await? {
            return Ok(Created::New(created));
        }
        match self.experiment(tenant, &definition.key).await? {
            Some(existing) => Ok(Created::Exists(existing)),
            None => Err(StoreError::KeyUsed(definition.key.clone())),
        }
    }

    async fn experiment(&self, tenant: &str, reference: &str) -> Result<Option<Experiment>, StoreError> {
        let id: i64 = reference.parse().unwrap_or(0);
        let sql = include_str!("sql/experiment_find.sql");
        self.readers.read(|c| one(c, sql, &[&tenant, &reference, &id])).await
    }

    async fn list_experiments(
        &self,
        tenant: &str,
        after: ExperimentId,
        limit: u32,
    ) -> Result<Vec<Experiment>, StoreError> {
        let sql = include_str!("sql/experiments_list.sql");
        self.readers.read(|c| several(c, sql, &[&tenant, &after.0, &limit])).await
    }

    async fn all_experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        self.readers.read(|c| several(c, include_str!("sql/experiments_all.sql"), &[])).await
    }

    async fn set_status(
        &self,
        tenant: &str,
        id: ExperimentId,
        to: Status,
        actor: Actor<'_>,
    ) -> Result<Transition, StoreError> {
        let change = |c: &Connection| {
            let Some(current) = find(c, tenant, id)? else { return Ok(Transition::NotFound) };
            if current.status == to {
                return Ok(Transition::Done(Box::new(current)));
            }
            if !current.status.may_become(to) {
                return Ok(Transition::Refused(current.status));
            }
            let changed = one(c, include_str!("sql/experiment_status.sql"), &[&id.0, &to.as_str()])?;
            audit(c, tenant, actor, "experiment.status", &id.to_string(), to.as_str())?;
            changed.map(|e| Transition::Done(Box::new(e))).ok_or(StoreError::Corrupt("status"))
        };
        self.writer()?.write(change).await
    }

    async fn delete_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<bool, StoreError> {
        let delete = |c: &Connection| {
            if find(c, tenant, id)?.is_none() {
                return Ok(false);
            }
            // Owners cache that it exists: after this commit their next transaction fails and they look again.
            c.execute("UPDATE partitions SET epoch = epoch + 1", [])?;
            one(c, include_str!("sql/experiment_status.sql"), &[&id.0, &"deleted"])?;
            c.execute("DELETE FROM moments WHERE experiment = ?1", [id.0])?;
            c.execute("DELETE FROM moments_keys WHERE experiment = ?1", [id.0])?;
            audit(c, tenant, actor, "experiment.delete", &id.to_string(), "")?;
            Ok(true)
        };
        self.writer()?.write(delete).await
    }
}

fn find(c: &Connection, tenant: &str, id: ExperimentId) -> Result<Option<Experiment>, StoreError> {
    one(c, include_str!("sql/experiment_of_tenant.sql"), &[&tenant, &id.0])
}

/// The row, unless there is none or it is of a deleted experiment.
fn one(c: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Option<Experiment>, StoreError> {
    Ok(several(c, sql, params)?.pop())
}

fn several(c: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<Experiment>, StoreError> {
    let found = rows::all(&mut *c.prepare_cached(sql)?, params, rows::experiment)?;
    Ok(found.into_iter().flatten().collect())
}

pub(super) fn audit(
    c: &Connection,
    tenant: &str,
    actor: Actor<'_>,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    let row = (tenant, actor.name, action, subject, actor.request_id, detail);
    c.prepare_cached(include_str!("sql/audit.sql"))?.execute(row)?;
    Ok(())
}
