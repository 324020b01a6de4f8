//! Keys that admins issue.

use super::audits::audit;
use super::{PgStore, rows};
use crate::{Actor, ApiKey, ApiKeys, KEYS_MAX, NewKey, REVOKED_KEPT, StoreError};
use async_trait::async_trait;

#[async_trait]
impl ApiKeys for PgStore {
    async fn create_key(
        &self,
        tenant: &str,
        key: NewKey<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let NewKey { digest, name, scopes, last_digits } = key;
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let sql = include_str!("sql/keys/create.sql");
        let most = i64::from(KEYS_MAX);
        let created = t.query_opt(sql, &[&tenant, &&digest[..], &name, &scopes, &last_digits, &most]).await?;
        let Some(created) = created.map(|row| rows::api_key(&row)).transpose()? else { return Ok(None) };
        t.execute(include_str!("sql/keys/forget_revoked.sql"), &[&tenant, &i64::from(REVOKED_KEPT)]).await?;
        audit(&t, tenant, actor, "key.create", &created.id.to_string(), &created.told()).await?;
        t.commit().await?;
        Ok(Some(created))
    }

    async fn keys(&self, tenant: &str, before: Option<i64>, limit: u32) -> Result<Vec<ApiKey>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let client = self.client().await?;
        let sql = include_str!("sql/keys/list.sql");
        client.query(sql, &[&tenant, &before, &i64::from(limit)]).await?.iter().map(rows::api_key).collect()
    }

    async fn keys_in_force(&self) -> Result<Vec<ApiKey>, StoreError> {
        let client = self.client().await?;
        client.query(include_str!("sql/keys/in_force.sql"), &[]).await?.iter().map(rows::api_key).collect()
    }

    async fn revoke_key(
        &self,
        tenant: &str,
        id: i64,
        actor: Actor<'_>,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let revoked = t.execute(include_str!("sql/keys/revoke.sql"), &[&tenant, &id]).await? > 0;
        let found = t.query_opt(include_str!("sql/keys/find.sql"), &[&tenant, &id]).await?;
        let Some(key) = found.map(|row| rows::api_key(&row)).transpose()? else { return Ok(None) };
        if revoked {
            audit(&t, tenant, actor, "key.revoke", &id.to_string(), &key.told()).await?;
        }
        t.commit().await?;
        Ok(Some(key))
    }
}
