//! Keys that admins issue.

use super::audits::audit;
use super::{SqliteStore, rows};
use crate::{Actor, ApiKey, ApiKeys, KEYS_MAX, NewKey, REVOKED_KEPT, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, ToSql};

#[async_trait]
impl ApiKeys for SqliteStore {
    async fn create_key(
        &self,
        tenant: &str,
        key: NewKey<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let NewKey { digest, name, scopes, last_digits } = key;
        let create = |c: &Connection| {
            let row: [&dyn ToSql; 6] = [&tenant, &digest, &name, &scopes, &last_digits, &KEYS_MAX];
            let Some(created) = found(c, include_str!("sql/keys/create.sql"), &row)?.pop() else {
                return Ok(None);
            };
            c.execute(include_str!("sql/keys/forget_revoked.sql"), (tenant, REVOKED_KEPT))?;
            audit(c, tenant, actor, "key.create", &created.id.to_string(), &created.told())?;
            Ok(Some(created))
        };
        self.writer()?.write(create).await
    }

    async fn keys(&self, tenant: &str, before: Option<i64>, limit: u32) -> Result<Vec<ApiKey>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let sql = include_str!("sql/keys/list.sql");
        self.readers.read(|c| found(c, sql, &[&tenant, &before, &limit])).await
    }

    async fn keys_in_force(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.readers.read(|c| found(c, include_str!("sql/keys/in_force.sql"), &[])).await
    }

    async fn revoke_key(
        &self,
        tenant: &str,
        id: i64,
        actor: Actor<'_>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let revoke = |c: &Connection| {
            let revoked = c.execute(include_str!("sql/keys/revoke.sql"), (tenant, id))? > 0;
            let key = found(c, include_str!("sql/keys/find.sql"), &[&tenant, &id])?.pop();
            if let Some(key) = key.as_ref().filter(|_| revoked) {
                audit(c, tenant, actor, "key.revoke", &id.to_string(), &key.told())?;
            }
            Ok(key)
        };
        self.writer()?.write(revoke).await
    }
}

fn found(c: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<ApiKey>, StoreError> {
    rows::all(&mut *c.prepare_cached(sql)?, params, rows::api_key)
}
