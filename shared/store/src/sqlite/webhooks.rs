//! Webhooks: their marks, their outbox, and who sends what.

use super::audits::audit;
use super::rows::{self, number, some_time, text, time, uuid};
use super::{SqliteStore, text::Text};
use crate::webhooks::micros;
use crate::{
    Actor, Attempt, Claimed, Delivery, DeliveryState, Mark, NewWebhook, Note, StoreError, Told, WAITING_MAX,
    WEBHOOKS_MAX, Waiting, Webhook, Webhooks,
};
use async_trait::async_trait;
use domain::ExperimentId;
use rusqlite::{Connection, OptionalExtension, Row};
use std::time::Duration;
use uuid::Uuid;

#[async_trait]
impl Webhooks for SqliteStore {
    async fn create_webhook(
        &self,
        tenant: &str,
        new: NewWebhook<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<Webhook>, StoreError> {
        let events = serde_json::to_string(new.events)?;
        let create = |c: &Connection| {
            let mut sql = c.prepare(include_str!("sql/webhooks/create.sql"))?;
            let row: [&dyn rusqlite::ToSql; 5] =
                [&tenant, &Text(new.url), &events, &new.secret, &WEBHOOKS_MAX];
            let created = rows::all(&mut sql, &row, webhook)?.pop();
            if let Some(created) = &created {
                audit(c, tenant, actor, "webhook.create", &created.id.to_string(), new.url)?;
            }
            Ok(created)
        };
        self.writer()?.write(create).await
    }

    async fn webhooks(&self, tenant: &str) -> Result<Vec<Webhook>, StoreError> {
        let list = |c: &Connection| {
            rows::all(&mut c.prepare(include_str!("sql/webhooks/list.sql"))?, &[&tenant], webhook)
        };
        self.readers.read(list).await
    }

    async fn delete_webhook(&self, tenant: &str, id: i64, actor: Actor<'_>) -> Result<bool, StoreError> {
        let delete = |c: &Connection| {
            if c.execute("DELETE FROM webhooks WHERE tenant = ?1 AND id = ?2", (tenant, id))? == 0 {
                return Ok(false);
            }
            c.execute("DELETE FROM webhook_deliveries WHERE webhook = ?1", [id])?;
            audit(c, tenant, actor, "webhook.delete", &id.to_string(), "")?;
            Ok(true)
        };
        self.writer()?.write(delete).await
    }

    async fn deliveries(
        &self,
        webhook: i64,
        before: Option<i64>,
        state: Option<DeliveryState>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (before, state) = (before.unwrap_or(i64::MAX), state.map(DeliveryState::as_str));
        let read = |c: &Connection| {
            let mut sql = c.prepare(include_str!("sql/webhooks/deliveries.sql"))?;
            rows::all(&mut sql, &[&webhook, &before, &state, &limit], delivery)
        };
        self.readers.read(read).await
    }

    async fn tell_one(&self, tenant: &str, webhook: i64, note: &Note) -> Result<Option<Told>, StoreError> {
        let tell = |c: &Connection| {
            let told = enqueue(c, tenant, Some(webhook), note)?.pop();
            c.execute(include_str!("sql/webhooks/wake.sql"), [tenant])?;
            Ok(told)
        };
        self.writer()?.write(tell).await
    }

    async fn take_look(&self, every: Duration) -> Result<bool, StoreError> {
        let look =
            |c: &Connection| Ok(c.execute(include_str!("sql/webhooks/look.sql"), [micros(every)])? == 1);
        self.writer()?.write(look).await
    }

    async fn tenants_with_webhooks(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT tenant FROM webhooks ORDER BY tenant";
        self.readers.read(|c| rows::all(&mut c.prepare(sql)?, &[], |row| Ok(row.get(0)?))).await
    }

    async fn mark(&self, tenant: &str, experiment: ExperimentId) -> Result<Mark, StoreError> {
        let sql = "SELECT revision, state FROM webhook_marks WHERE tenant = ?1 AND experiment = ?2";
        let mark = |row: &Row<'_>| Ok(Mark { revision: row.get(0)?, state: row.get(1)? });
        let read = |c: &Connection| Ok(c.query_row(sql, (tenant, experiment.0), mark).optional()?);
        Ok(self.readers.read(read).await?.unwrap_or_default())
    }

    async fn tell(
        &self,
        tenant: &str,
        experiment: ExperimentId,
        moved: &Mark,
        notes: &[Note],
    ) -> Result<Option<Vec<Told>>, StoreError> {
        let tell = |c: &Connection| {
            let row = (tenant, experiment.0, moved.revision, &moved.state);
            if c.execute(include_str!("sql/webhooks/mark.sql"), row)? == 0 {
                return Ok(None);
            }
            let mut told = Vec::new();
            for note in notes {
                told.extend(enqueue(c, tenant, None, note)?);
            }
            c.execute(include_str!("sql/webhooks/wake.sql"), [tenant])?;
            Ok(Some(told))
        };
        self.writer()?.write(tell).await
    }

    async fn dead_lettered(&self, tenant: &str) -> Result<i64, StoreError> {
        let sql = include_str!("sql/webhooks/dead_lettered.sql");
        self.readers.read(|c| Ok(c.query_row(sql, [tenant], |row| row.get(0))?)).await
    }

    async fn claim_deliveries(&self, lease: Duration, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        let claim = Uuid::new_v4();
        let take = |c: &Connection| {
            let mut due = c.prepare_cached(include_str!("sql/webhooks/due.sql"))?;
            let webhook = |row: &Row<'_>| {
                Ok((
                    row.get(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))
            };
            let due: Vec<(i64, String, String, Vec<u8>)> =
                rows::all(&mut due, &[&limit, &micros(lease), claim.as_bytes()], webhook)?;
            let mut first = c.prepare_cached(include_str!("sql/webhooks/try.sql"))?;
            let mut claimed = Vec::new();
            for (webhook, tenant, url, secret) in due {
                let delivery = |row: &Row<'_>| {
                    Ok(Claimed {
                        claim,
                        webhook,
                        tenant: tenant.clone(),
                        url: url.clone(),
                        secret: secret.clone(),
                        number: row.get(0)?,
                        id: uuid(row, 1)?,
                        event: row.get(2)?,
                        body: row.get(3)?,
                        attempts: number(row, 4, "attempts")?,
                    })
                };
                claimed.extend(rows::all(&mut first, &[&webhook], delivery)?);
            }
            Ok(claimed)
        };
        // Nobody else writes deliveries here, and a look that finds nothing must not cost a write.
        let due = |c: &Connection| {
            Ok(c.query_row(include_str!("sql/webhooks/any_due.sql"), [], |row| row.get::<_, bool>(0))?)
        };
        if self.readers.read(due).await? { self.writer()?.write(take).await } else { Ok(Vec::new()) }
    }

    async fn settle_delivery(&self, claimed: &Claimed, attempt: Attempt<'_>) -> Result<bool, StoreError> {
        let settle = |c: &Connection| {
            let held = (claimed.webhook, claimed.claim.as_bytes());
            if !c.query_row(include_str!("sql/webhooks/claimed.sql"), held, |row| row.get(0))? {
                return Ok(false);
            }
            let state = attempt.then.state().as_str();
            let row = (claimed.webhook, claimed.number, state, attempt.status, attempt.error);
            c.execute(include_str!("sql/webhooks/end.sql"), row)?;
            c.execute(include_str!("sql/webhooks/next.sql"), (claimed.webhook, attempt.then.pause()))?;
            Ok(true)
        };
        self.writer()?.write(settle).await
    }

    async fn forget_deliveries(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let sql = include_str!("sql/webhooks/forget.sql");
        let forget = |c: &Connection| Ok(c.execute(sql, (micros(age), limit))? as u64);
        self.writer()?.write(forget).await
    }

    async fn waiting_deliveries(&self) -> Result<Waiting, StoreError> {
        let waiting = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let read = |c: &Connection| Ok(c.query_row(include_str!("sql/webhooks/waiting.sql"), [], waiting)?);
        let (deliveries, oldest) = self.readers.read(read).await?;
        let deliveries = u64::try_from(deliveries).unwrap_or_default();
        Ok(Waiting { deliveries, oldest: Duration::from_micros(u64::try_from(oldest).unwrap_or_default()) })
    }
}

/// For those who want it, or for one.
fn enqueue(c: &Connection, tenant: &str, webhook: Option<i64>, note: &Note) -> Result<Vec<Told>, StoreError> {
    let mut told = c.prepare_cached(include_str!("sql/webhooks/told.sql"))?;
    let numbered = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let told: Vec<(i64, i64)> = rows::all(&mut told, &[&tenant, &webhook, &note.event], numbered)?;
    let mut add = c.prepare_cached(include_str!("sql/webhooks/add.sql"))?;
    let mut added = Vec::new();
    for (webhook, number) in told {
        let id = Uuid::new_v4();
        let row = (webhook, number, id.as_bytes(), note.event, Text(&note.body), WAITING_MAX);
        let given_up = add.query_row(row, |row| row.get(0))?;
        added.push(Told { webhook, number, id, given_up });
    }
    Ok(added)
}

/// A row of (id, url, events, created_at, waiting, next_at).
fn webhook(row: &Row<'_>) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: row.get(0)?,
        url: row.get(1)?,
        events: serde_json::from_str(text(row, 2)?)?,
        created_at: time(row, 3)?,
        waiting: number(row, 4, "waiting")?,
        next_at: some_time(row, 5)?,
    })
}

/// A row of (number, id, event, state, attempts, status, error, created_at, tried_at).
fn delivery(row: &Row<'_>) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        number: row.get(0)?,
        id: uuid(row, 1)?,
        event: row.get(2)?,
        state: DeliveryState::parse(text(row, 3)?).ok_or(StoreError::Corrupt("state of a delivery"))?,
        attempts: number(row, 4, "attempts")?,
        status: row.get(5)?,
        error: row.get(6)?,
        created_at: time(row, 7)?,
        tried_at: some_time(row, 8)?,
    })
}
