//! A deployment taken over from SQLite, in one transaction on an empty database: all of it is there, or nothing.

use super::PgStore;
use super::target::Target;
use super::types::{PgDay, PgTime, uuid};
use crate::moving::{Stood, Table};
use crate::numbers::narrow;
use crate::{ArmRow, ConversionRow, StoreError, UnitRow};
use domain::codec::{encode_moments, encode_unit};
use std::pin::pin;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

const SESSION: &str = "-c statement_timeout=0 -c lock_timeout=10000 -c application_name=abstream-import";

/// Dropping it leaves the database as it was.
pub struct Import {
    client: Client,
    connection: JoinHandle<()>,
}

impl PgStore {
    /// Begins; refuses a database that a deployment has used.
    pub async fn import(&self) -> Result<Import, StoreError> {
        let mut target = Target::parse(&self.url)?;
        target.config.options(SESSION);
        let (client, connection) = target.connect("import").await?;
        let import = Import { client, connection };
        let begin =
            "BEGIN; LOCK experiments, units, conversions, partitions, api_keys, webhooks, audit_log, purges";
        import.client.batch_execute(begin).await?;
        let in_use: bool = import.client.query_one(include_str!("sql/import/in_use.sql"), &[]).await?.get(0);
        if in_use {
            return Err(StoreError::InUse);
        }
        // Workers ask for a purge each day, of nothing too.
        import.client.execute("DELETE FROM purges", &[]).await?;
        Ok(import)
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Import {
    /// Rows as [`crate::sqlite::SqliteStore::export`] gives them.
    pub async fn rows(&self, table: Table, json: &str) -> Result<(), StoreError> {
        let sql = match table {
            Table::Experiments => include_str!("sql/import/experiments.sql"),
            Table::Counters => include_str!("sql/import/counters.sql"),
            Table::DeadLetters => include_str!("sql/import/dead_letters.sql"),
            Table::Losses => include_str!("sql/import/losses.sql"),
            Table::Receipts => include_str!("sql/import/receipts.sql"),
            Table::AuditLog => include_str!("sql/import/audit_log.sql"),
            Table::ApiKeys => include_str!("sql/import/api_keys.sql"),
            Table::Erasures => include_str!("sql/import/erasures.sql"),
            Table::Purges => include_str!("sql/import/purges.sql"),
            Table::Webhooks => include_str!("sql/import/webhooks.sql"),
            Table::WebhookDeliveries => include_str!("sql/import/webhook_deliveries.sql"),
            Table::WebhookMarks => include_str!("sql/import/webhook_marks.sql"),
            Table::WebhookLooks => include_str!("sql/import/webhook_looks.sql"),
        };
        self.client.execute(sql, &[&json]).await?;
        Ok(())
    }

    pub async fn units(&self, units: &[UnitRow]) -> Result<(), StoreError> {
        let sink = self.client.copy_in(include_str!("sql/import/copy_units.sql")).await?;
        let types = [Type::UUID, Type::TEXT, Type::TEXT, Type::BYTEA];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for u in units {
            let state = encode_unit(&u.unit);
            writer.as_mut().write(&[&uuid(u.id), &u.tenant, &u.user_id, &state]).await?;
        }
        writer.finish().await?;
        Ok(())
    }

    /// Each with the tenant of its unit.
    pub async fn conversions(&self, rows: &[(&str, &ConversionRow)]) -> Result<(), StoreError> {
        let sink = self.client.copy_in(include_str!("sql/import/copy_conversions.sql")).await?;
        let types = [
            Type::UUID,
            Type::INT8,
            Type::INT8,
            Type::TIMESTAMPTZ,
            Type::TIMESTAMPTZ,
            Type::UUID,
            Type::DATE,
            Type::TIMESTAMPTZ,
            Type::TEXT,
            Type::TEXT,
            Type::TEXT,
        ];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for (tenant, c) in rows {
            let given = c.occurred_given.map(PgTime);
            writer
                .as_mut()
                .write(&[
                    &uuid(c.unit),
                    &c.experiment.0,
                    &c.value.0,
                    &PgTime(c.occurred_at),
                    &PgTime(c.received_at),
                    &c.batch.0,
                    &PgDay(c.day),
                    &given,
                    tenant,
                    &c.metric,
                    &c.key,
                ])
                .await?;
        }
        writer.finish().await?;
        Ok(())
    }

    /// Cumulative sums, recomputed for the partitions here.
    pub async fn moments(&self, rows: &[ArmRow]) -> Result<(), StoreError> {
        let sink = self.client.copy_in(include_str!("sql/import/copy_moments.sql")).await?;
        let types =
            [Type::INT8, Type::INT4, Type::INT2, Type::INT2, Type::INT4, Type::TEXT, Type::DATE, Type::BYTEA];
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for ArmRow { key, day, moments } in rows {
            let version: i32 = narrow(key.plan_version, "plan version")?;
            let partition: i16 = narrow(key.partition.0, "partition")?;
            let (phase, vector) = (i32::from(key.phase), encode_moments(moments));
            writer
                .as_mut()
                .write(&[
                    &key.experiment.0,
                    &version,
                    &partition,
                    &key.variation,
                    &phase,
                    &key.stratum,
                    &PgDay(*day),
                    &vector,
                ])
                .await?;
        }
        writer.finish().await?;
        Ok(())
    }

    /// The rest, and the commit. What the partitions there had accepted belongs to the first one here.
    pub async fn finish(self, partitions: u16, stood: Stood) -> Result<(), StoreError> {
        let c = &self.client;
        c.execute(include_str!("sql/import/moments_keys.sql"), &[]).await?;
        c.query(include_str!("sql/import/sequences.sql"), &[]).await?;
        let (partitions, day) = (i32::from(partitions), PgDay(stood.day));
        c.execute(include_str!("sql/import/erasures_partitions.sql"), &[&partitions]).await?;
        c.execute(include_str!("sql/import/purges_partitions.sql"), &[&partitions]).await?;
        c.execute(
            include_str!("sql/import/partitions.sql"),
            &[&partitions, &day, &stood.accepted, &stood.lost],
        )
        .await?;
        Ok(c.batch_execute("COMMIT").await?)
    }
}
