//! What moving up to PostgreSQL reads besides the raw rows. Nobody writes meanwhile.

use super::SqliteStore;
use super::experiments::several;
use crate::moving::{Stood, Table};
use crate::{Experiment, StoreError};
use domain::Day;

impl SqliteStore {
    /// At most `limit` rows from `offset` on, in key order, as a JSON array that PostgreSQL takes for rows of the
    /// table; `None` at the end.
    pub async fn export(&self, table: Table, limit: u32, offset: u64) -> Result<Option<String>, StoreError> {
        let sql = match table {
            Table::Experiments => include_str!("sql/export/experiments.sql"),
            Table::Counters => include_str!("sql/export/counters.sql"),
            Table::DeadLetters => include_str!("sql/export/dead_letters.sql"),
            Table::Losses => include_str!("sql/export/losses.sql"),
            Table::Receipts => include_str!("sql/export/receipts.sql"),
            Table::AuditLog => include_str!("sql/export/audit_log.sql"),
            Table::ApiKeys => include_str!("sql/export/api_keys.sql"),
            Table::Erasures => include_str!("sql/export/erasures.sql"),
            Table::Purges => include_str!("sql/export/purges.sql"),
            Table::Webhooks => include_str!("sql/export/webhooks.sql"),
            Table::WebhookDeliveries => include_str!("sql/export/webhook_deliveries.sql"),
            Table::WebhookMarks => include_str!("sql/export/webhook_marks.sql"),
            Table::WebhookLooks => include_str!("sql/export/webhook_looks.sql"),
        };
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let read = self.readers.read(|c| {
            let mut sql = c.prepare_cached(sql)?;
            let rows = sql.query_map((limit, offset), |r| r.get::<_, String>(0))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        });
        let rows = read.await?;
        Ok((!rows.is_empty()).then(|| format!("[{}]", rows.join(","))))
    }

    /// Those that have sums: deleted ones too, as if they were archived.
    pub async fn kept_experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        let sql = include_str!("sql/export/kept_experiments.sql");
        self.readers.read(|c| several(c, sql, &[])).await
    }

    pub async fn stood(&self) -> Result<Stood, StoreError> {
        let sql = include_str!("sql/export/partitions.sql");
        let stood =
            |r: &rusqlite::Row<'_>| Ok(Stood { day: Day(r.get(0)?), accepted: r.get(1)?, lost: r.get(2)? });
        self.readers.read(|c| Ok(c.query_row(sql, [], stood)?)).await
    }
}
