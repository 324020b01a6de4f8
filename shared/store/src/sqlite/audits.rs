//! The audit log.

use super::{SqliteStore, rows};
use crate::{Actor, AuditEntry, Audits, Deed, StoreError};
use async_trait::async_trait;
use rusqlite::Connection;

#[async_trait]
impl Audits for SqliteStore {
    async fn audit(&self, tenant: &str, deed: Deed<'_>, actor: Actor<'_>) -> Result<(), StoreError> {
        let Deed { action, subject, detail } = deed;
        self.writer()?.write(|c| audit(c, tenant, actor, action, subject, detail)).await
    }

    async fn audit_log(
        &self,
        tenant: &str,
        action: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let read = |c: &Connection| {
            let mut sql = c.prepare_cached(include_str!("sql/audit_list.sql"))?;
            rows::all(&mut sql, &[&tenant, &before, &action, &limit], rows::audit_entry)
        };
        self.readers.read(read).await
    }
}

/// In the transaction of what was done.
pub fn audit(
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
