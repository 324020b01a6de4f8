//! Experiments: created, listed, and moved through their statuses, each change audited in its transaction.

use super::audits::audit;
use super::{SqliteStore, definitions, rows};
use crate::{
    Actor, AuditEntry, Change, Changed, Created, Experiment, Experiments, Imported, Listing, Restored,
    Status, StoreError, Transition,
};
use async_trait::async_trait;
use domain::ExperimentId;
use domain::definition::Definition;
use rusqlite::{Connection, OptionalExtension, ToSql};

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

    async fn import_experiments(
        &self,
        tenant: &str,
        definitions: &[Definition],
        commit: bool,
        actor: Actor<'_>,
    ) -> Result<Vec<Imported>, StoreError> {
        let import = |c: &Connection| {
            c.execute_batch("SAVEPOINT import")?;
            let mut all = Vec::with_capacity(definitions.len());
            for definition in definitions {
                let text = serde_json::to_string(definition)?;
                let sql = include_str!("sql/experiment_create.sql");
                all.push(match one(c, sql, &[&tenant, &definition.key, &text])? {
                    Some(created) => {
                        audit(c, tenant, actor, "experiment.import", &created.id.to_string(), &text)?;
                        Imported::New(created)
                    }
                    None => Imported::known(by_reference(c, tenant, &definition.key)?, definition),
                });
            }
            if !commit || all.iter().any(Imported::is_in_the_way) {
                c.execute_batch("ROLLBACK TO import")?;
            }
            c.execute_batch("RELEASE import")?;
            Ok(all)
        };
        self.writer()?.write(import).await
    }

    async fn experiment(&self, tenant: &str, reference: &str) -> Result<Option<Experiment>, StoreError> {
        self.readers.read(|c| by_reference(c, tenant, reference)).await
    }

    async fn list_experiments(
        &self,
        tenant: &str,
        listing: Listing<'_>,
    ) -> Result<Vec<Experiment>, StoreError> {
        let Listing { after, limit, status, label } = listing;
        let sql = include_str!("sql/experiments_list.sql");
        let status = status.map(Status::as_str);
        self.readers.read(|c| several(c, sql, &[&tenant, &after.0, &status, &label, &limit])).await
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
            let changed = changed.ok_or(StoreError::Corrupt("status"))?;
            // Owners must know when it stopped before they meet what came after.
            if changed.stopped_at != current.stopped_at {
                raise_epochs(c)?;
            }
            Ok(Transition::Done(Box::new(changed)))
        };
        self.writer()?.write(change).await
    }

    async fn change_definition(
        &self,
        tenant: &str,
        id: ExperimentId,
        change: Change<'_>,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError> {
        self.writer()?.write(|c| definitions::change(c, tenant, id, Some(change), actor)).await
    }

    async fn rebuild_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError> {
        self.writer()?.write(|c| definitions::change(c, tenant, id, None, actor)).await
    }

    async fn restore_experiment(
        &self,
        tenant: &str,
        reference: &str,
        actor: Actor<'_>,
    ) -> Result<Restored, StoreError> {
        let by_id: i64 = reference.parse().unwrap_or(0);
        let restore = |c: &Connection| {
            let mut found = c.prepare_cached(include_str!("sql/experiment_put_away.sql"))?;
            let row = found.query_row((tenant, reference, by_id), |r| {
                Ok((ExperimentId(r.get(0)?), Status::parse(&r.get::<_, String>(1)?), r.get(2)?))
            });
            let Some((id, status, purged)) = row.optional()? else { return Ok(Restored::NotFound) };
            match status {
                Some(Status::Archived) | None if purged => return Ok(Restored::Purged),
                Some(Status::Archived) | None => {}
                Some(_) => {
                    let found = find(c, tenant, id)?;
                    return Ok(found.map_or(Restored::NotFound, |e| Restored::Done(Box::new(e))));
                }
            }
            raise_epochs(c)?;
            let restored = one(c, include_str!("sql/experiment_restore.sql"), &[&id.0])?;
            let restored = restored.ok_or(StoreError::Corrupt("status"))?;
            audit(c, tenant, actor, "experiment.restore", &id.to_string(), restored.status.as_str())?;
            Ok(Restored::Done(Box::new(restored)))
        };
        self.writer()?.write(restore).await
    }

    async fn experiment_history(
        &self,
        tenant: &str,
        id: ExperimentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let (subject, before) = (id.to_string(), before.unwrap_or(i64::MAX));
        let sql = include_str!("sql/audit_of.sql");
        let read = |c: &Connection| {
            rows::all(&mut *c.prepare_cached(sql)?, &[&tenant, &subject, &before, &limit], rows::audit_entry)
        };
        self.readers.read(read).await
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
            raise_epochs(c)?;
            one(c, include_str!("sql/experiment_status.sql"), &[&id.0, &"deleted"])?;
            audit(c, tenant, actor, "experiment.delete", &id.to_string(), "")?;
            Ok(true)
        };
        self.writer()?.write(delete).await
    }
}

/// By key or numeric id; deleted ones are not found.
pub(super) fn by_reference(
    c: &Connection,
    tenant: &str,
    reference: &str,
) -> Result<Option<Experiment>, StoreError> {
    let id: i64 = reference.parse().unwrap_or(0);
    one(c, include_str!("sql/experiment_find.sql"), &[&tenant, &reference, &id])
}

pub(super) fn find(c: &Connection, tenant: &str, id: ExperimentId) -> Result<Option<Experiment>, StoreError> {
    one(c, include_str!("sql/experiment_of_tenant.sql"), &[&tenant, &id.0])
}

/// Owners cache what experiments there are and their plans: after this commit their next transaction fails and they
/// look again.
pub(super) fn raise_epochs(c: &Connection) -> Result<(), StoreError> {
    c.execute("UPDATE partitions SET epoch = epoch + 1", [])?;
    Ok(())
}

/// The row, unless there is none or it is of a deleted experiment.
fn one(c: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Option<Experiment>, StoreError> {
    Ok(several(c, sql, params)?.pop())
}

pub(super) fn several(
    c: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
) -> Result<Vec<Experiment>, StoreError> {
    let found = rows::all(&mut *c.prepare_cached(sql)?, params, rows::experiment)?;
    Ok(found.into_iter().flatten().collect())
}
