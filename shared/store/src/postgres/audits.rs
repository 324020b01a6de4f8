//! The audit log.

use super::{PgStore, rows};
use crate::{Actor, AuditEntry, Audits, Deed, StoreError};
use async_trait::async_trait;
use tokio_postgres::Transaction;

#[async_trait]
impl Audits for PgStore {
    async fn audit(&self, tenant: &str, deed: Deed<'_>, actor: Actor<'_>) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        audit(&t, tenant, actor, deed.action, deed.subject, deed.detail).await?;
        Ok(t.commit().await?)
    }

    async fn audit_log(
        &self,
        tenant: &str,
        action: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let client = self.client().await?;
        let sql = include_str!("sql/audit_list.sql");
        let rows = client.query(sql, &[&tenant, &before, &action, &i64::from(limit)]).await?;
        Ok(rows.iter().map(rows::audit_entry).collect())
    }
}

/// In the transaction of what was done.
pub async fn audit(
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
