//! Webhooks: their marks, their outbox, and who sends what.

use super::PgStore;
use super::audits::audit;
use super::types::PgTime;
use crate::numbers::narrow;
use crate::webhooks::micros;
use crate::{
    Actor, Attempt, Claimed, Delivery, DeliveryState, Mark, NewWebhook, Note, StoreError, Told, WAITING_MAX,
    WEBHOOKS_MAX, Waiting, Webhook, Webhooks,
};
use async_trait::async_trait;
use domain::ExperimentId;
use std::time::Duration;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

#[async_trait]
impl Webhooks for PgStore {
    async fn create_webhook(
        &self,
        tenant: &str,
        new: NewWebhook<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<Webhook>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let sql = include_str!("sql/webhooks/create.sql");
        let row = t.query_opt(sql, &[&tenant, &new.url, &new.events, &new.secret, &WEBHOOKS_MAX]).await?;
        let Some(row) = row else { return Ok(None) };
        let created = webhook(&row)?;
        audit(&t, tenant, actor, "webhook.create", &created.id.to_string(), new.url).await?;
        t.commit().await?;
        Ok(Some(created))
    }

    async fn webhooks(&self, tenant: &str) -> Result<Vec<Webhook>, StoreError> {
        let rows = self.client().await?.query(include_str!("sql/webhooks/list.sql"), &[&tenant]).await?;
        rows.iter().map(webhook).collect()
    }

    async fn delete_webhook(&self, tenant: &str, id: i64, actor: Actor<'_>) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        if t.execute("DELETE FROM webhooks WHERE tenant = $1 AND id = $2", &[&tenant, &id]).await? == 0 {
            return Ok(false);
        }
        t.execute("DELETE FROM webhook_deliveries WHERE webhook = $1", &[&id]).await?;
        audit(&t, tenant, actor, "webhook.delete", &id.to_string(), "").await?;
        t.commit().await?;
        Ok(true)
    }

    async fn deliveries(
        &self,
        webhook: i64,
        before: Option<i64>,
        state: Option<DeliveryState>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (before, state) = (before.unwrap_or(i64::MAX), state.map(DeliveryState::as_str));
        let sql = include_str!("sql/webhooks/deliveries.sql");
        let rows = self.client().await?.query(sql, &[&webhook, &before, &state, &i64::from(limit)]).await?;
        rows.iter().map(delivery).collect()
    }

    async fn tell_one(&self, tenant: &str, webhook: i64, note: &Note) -> Result<Option<Told>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let told = enqueue(&t, tenant, Some(webhook), note).await?.pop();
        t.execute(include_str!("sql/webhooks/wake.sql"), &[&tenant]).await?;
        t.commit().await?;
        Ok(told)
    }

    async fn take_look(&self, every: Duration) -> Result<bool, StoreError> {
        let sql = include_str!("sql/webhooks/look.sql");
        Ok(self.client().await?.execute(sql, &[&(micros(every) as f64)]).await? == 1)
    }

    async fn tenants_with_webhooks(&self) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT tenant FROM webhooks ORDER BY tenant";
        Ok(self.client().await?.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
    }

    async fn mark(&self, tenant: &str, experiment: ExperimentId) -> Result<Mark, StoreError> {
        let sql = "SELECT revision, state FROM webhook_marks WHERE tenant = $1 AND experiment = $2";
        let row = self.client().await?.query_opt(sql, &[&tenant, &experiment.0]).await?;
        Ok(row.map(|row| Mark { revision: row.get(0), state: row.get(1) }).unwrap_or_default())
    }

    async fn tell(
        &self,
        tenant: &str,
        experiment: ExperimentId,
        moved: &Mark,
        notes: &[Note],
    ) -> Result<Option<Vec<Told>>, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let sql = include_str!("sql/webhooks/mark.sql");
        if t.execute(sql, &[&tenant, &experiment.0, &moved.revision, &moved.state]).await? == 0 {
            return Ok(None);
        }
        let mut told = Vec::new();
        if !notes.is_empty() {
            t.query(include_str!("sql/webhooks/lock.sql"), &[&tenant]).await?;
            for note in notes {
                told.extend(enqueue(&t, tenant, None, note).await?);
            }
            t.execute(include_str!("sql/webhooks/wake.sql"), &[&tenant]).await?;
        }
        t.commit().await?;
        Ok(Some(told))
    }

    async fn dead_lettered(&self, tenant: &str) -> Result<i64, StoreError> {
        let sql = include_str!("sql/webhooks/dead_lettered.sql");
        Ok(self.client().await?.query_one(sql, &[&tenant]).await?.get(0))
    }

    async fn claim_deliveries(&self, lease: Duration, limit: u32) -> Result<Vec<Claimed>, StoreError> {
        let claim = Uuid::new_v4();
        let sql = include_str!("sql/webhooks/claim.sql");
        let lease = micros(lease) as f64;
        let rows = self.client().await?.query(sql, &[&i64::from(limit), &lease, &claim]).await?;
        let claimed = |row: &Row| {
            Ok(Claimed {
                claim,
                webhook: row.get(0),
                number: row.get(1),
                id: row.get(2),
                event: row.get(3),
                body: row.get(4),
                attempts: narrow(row.get::<_, i32>(5), "attempts")?,
                tenant: row.get(6),
                url: row.get(7),
                secret: row.get(8),
            })
        };
        rows.iter().map(claimed).collect()
    }

    async fn settle_delivery(&self, claimed: &Claimed, attempt: Attempt<'_>) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let t = client.transaction().await?;
        let sql = include_str!("sql/webhooks/claimed.sql");
        if t.query_opt(sql, &[&claimed.webhook, &claimed.claim]).await?.is_none() {
            return Ok(false);
        }
        let status = attempt.status.map(|status| narrow::<i16>(status, "status")).transpose()?;
        let (state, pause) =
            (attempt.then.state().as_str(), attempt.then.pause().map(|micros| micros as f64));
        let sql = include_str!("sql/webhooks/end.sql");
        t.execute(sql, &[&claimed.webhook, &claimed.number, &state, &status, &attempt.error]).await?;
        t.execute(include_str!("sql/webhooks/next.sql"), &[&claimed.webhook, &pause]).await?;
        t.commit().await?;
        Ok(true)
    }

    async fn forget_deliveries(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let sql = include_str!("sql/webhooks/forget.sql");
        Ok(self.client().await?.execute(sql, &[&(micros(age) as f64), &i64::from(limit)]).await?)
    }

    async fn waiting_deliveries(&self) -> Result<Waiting, StoreError> {
        let row = self.client().await?.query_one(include_str!("sql/webhooks/waiting.sql"), &[]).await?;
        let oldest = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        let deliveries = narrow(row.get::<_, i64>(0), "deliveries")?;
        Ok(Waiting { deliveries, oldest: Duration::from_micros(oldest) })
    }
}

/// For those who want it, or for one.
async fn enqueue(
    t: &Transaction<'_>,
    tenant: &str,
    webhook: Option<i64>,
    note: &Note,
) -> Result<Vec<Told>, StoreError> {
    let sql = include_str!("sql/webhooks/enqueue.sql");
    let rows = t.query(sql, &[&tenant, &webhook, &note.event, &note.body, &WAITING_MAX]).await?;
    let told =
        |row: &Row| Told { webhook: row.get(0), number: row.get(1), id: row.get(2), given_up: row.get(3) };
    Ok(rows.iter().map(told).collect())
}

/// A row of (id, url, events, created_at, waiting, next_at).
fn webhook(row: &Row) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: row.get(0),
        url: row.get(1),
        events: row.get(2),
        created_at: row.get::<_, PgTime>(3).0,
        waiting: narrow(row.get::<_, i64>(4), "waiting")?,
        next_at: row.get::<_, Option<PgTime>>(5).map(|at| at.0),
    })
}

/// A row of (number, id, event, state, attempts, status, error, created_at, tried_at).
fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    let status: Option<i16> = row.get(5);
    Ok(Delivery {
        number: row.get(0),
        id: row.get(1),
        event: row.get(2),
        state: DeliveryState::parse(row.get(3)).ok_or(StoreError::Corrupt("state of a delivery"))?,
        attempts: narrow(row.get::<_, i32>(4), "attempts")?,
        status: status.map(|status| narrow(status, "status")).transpose()?,
        error: row.get(6),
        created_at: row.get::<_, PgTime>(7).0,
        tried_at: row.get::<_, Option<PgTime>>(8).map(|at| at.0),
    })
}
