//! Dead letters, for whoever looks at them: listed, shown, and deleted with a word in the audit log.

use super::audits::audit;
use super::{SqliteStore, rows};
use crate::{Actor, DeadLetters, Letter, LetterFilter, Removal, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, Row};

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letters(
        &self,
        tenant: &str,
        filter: LetterFilter<'_>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Letter>, StoreError> {
        let experiment = filter.experiment.map(|e| e.0);
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/dead_letters.sql"))?;
                rows::all(&mut sql, &[&tenant, &after, &experiment, &filter.reason, &limit], rows::letter)
            })
            .await
    }

    async fn dead_letter(&self, tenant: &str, id: i64) -> Result<Option<(Letter, Vec<u8>)>, StoreError> {
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/dead_letter.sql"))?;
                let found = rows::all(&mut sql, &[&tenant, &id], |r| {
                    Ok((rows::letter(r)?, rows::blob(r, 11)?.into()))
                });
                Ok(found?.pop())
            })
            .await
    }

    async fn dead_letter_payloads(
        &self,
        tenant: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.readers
            .read(|c| {
                let mut sql = c.prepare_cached(include_str!("sql/dead_letter_payloads.sql"))?;
                let payload = |r: &Row<'_>| Ok((r.get(0)?, rows::blob(r, 1)?.into()));
                rows::all(&mut sql, &[&tenant, &after, &limit], payload)
            })
            .await
    }

    async fn delete_dead_letters(
        &self,
        tenant: &str,
        ids: &[i64],
        removal: Removal,
        actor: Actor<'_>,
    ) -> Result<Vec<i64>, StoreError> {
        let delete = |c: &Connection| {
            let mut sql = c.prepare_cached(include_str!("sql/delete_dead_letter.sql"))?;
            let mut deleted = Vec::new();
            let mut redriven = c.prepare_cached(include_str!("sql/redriven.sql"))?;
            for id in ids {
                // Counts nothing if there is no such letter.
                if removal == Removal::Redriven {
                    redriven.execute((tenant, id))?;
                }
                if sql.execute((tenant, id))? > 0 {
                    deleted.push(*id);
                }
            }
            if !deleted.is_empty() {
                deleted.sort_unstable();
                audit(c, tenant, actor, removal.action(), "dead_letters", &crate::numbers::list(&deleted))?;
            }
            Ok(deleted)
        };
        self.writer()?.write(delete).await
    }
}
