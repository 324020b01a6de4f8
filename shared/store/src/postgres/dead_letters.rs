//! Dead letters, for whoever looks at them: listed, shown, and deleted with a word in the audit log.

use super::audits::audit;
use super::{PgStore, rows};
use crate::{Actor, DeadLetters, Letter, LetterFilter, Removal, StoreError};
use async_trait::async_trait;

#[async_trait]
impl DeadLetters for PgStore {
    async fn dead_letters(
        &self,
        tenant: &str,
        filter: LetterFilter<'_>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Letter>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/dead_letters.sql")).await?;
        let experiment = filter.experiment.map(|e| e.0);
        let rows =
            client.query(&sql, &[&tenant, &after, &experiment, &filter.reason, &i64::from(limit)]).await?;
        rows.iter().map(rows::letter).collect()
    }

    async fn dead_letter(&self, tenant: &str, id: i64) -> Result<Option<(Letter, Vec<u8>)>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/dead_letter.sql")).await?;
        let row = client.query_opt(&sql, &[&tenant, &id]).await?;
        row.map(|r| Ok((rows::letter(&r)?, r.get(11)))).transpose()
    }

    async fn dead_letter_payloads(
        &self,
        tenant: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let client = self.client().await?;
        let sql = client.prepare_cached(include_str!("sql/dead_letter_payloads.sql")).await?;
        let rows = client.query(&sql, &[&tenant, &after, &i64::from(limit)]).await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
    }

    async fn delete_dead_letters(
        &self,
        tenant: &str,
        ids: &[i64],
        removal: Removal,
        actor: Actor<'_>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let redriven = removal == Removal::Redriven;
        let rows = t.query(include_str!("sql/delete_dead_letters.sql"), &[&tenant, &ids, &redriven]).await?;
        let deleted: Vec<i64> = rows.iter().map(|r| r.get(0)).collect();
        if !deleted.is_empty() {
            audit(&t, tenant, actor, removal.action(), "dead_letters", &crate::numbers::list(&deleted))
                .await?;
            t.commit().await?;
        }
        Ok(deleted)
    }
}
