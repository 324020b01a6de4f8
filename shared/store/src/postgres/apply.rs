//! The apply transaction on PostgreSQL: one connection, set-based statements, sent without waiting for each other
//! where they do not need each other's answers. The server runs them in the order sent: that of a biased join.

use super::members::PgMembers;
use super::statements::Statements;
use super::target::Target;
use super::types::{PgDay, PgTime, unit_id, uuid};
use super::{PgStore, changes, erasures, purges, raw, rebuilds, rows, view};
use crate::apply::{
    Advance, ApplyStore, Changes, Connect, ErasureRow, HistoryOf, Known, Members, NewConversion, Outcome,
    PartitionState, Past, PurgeRow, PurgeStep, Session, Taken,
};
use crate::numbers::{narrow, to_sql_count};
use crate::{ArmRow, PurgeCounts, Slice, StoreError};
use async_trait::async_trait;
use domain::codec::decode_unit;
use domain::{Day, Decimal, ExperimentId, Partition, Unit, UnitId};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

/// Every access of the apply transaction is by primary key. The planner is told so, because without statistics
/// (a young table) it prefers scans and hash joins that are tens of times slower. The idle limits free the locks of
/// an owner that is stopped or gone: one that lives asks something every second.
const SESSION: &str = "-c default_transaction_isolation=read\\ committed -c plan_cache_mode=force_generic_plan \
     -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off -c statement_timeout=60000 -c lock_timeout=10000 \
     -c idle_in_transaction_session_timeout=15000 -c idle_session_timeout=15000 -c tcp_keepalives_idle=5 \
     -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c application_name=abstream-apply";

/// A connection that applies. Dropping it ends the session: locks and an open transaction go with it.
struct PgApply {
    client: Client,
    sql: Statements,
    session: Session,
    /// Partition of the open transaction, if a view of it is open.
    viewed: Option<i16>,
    connection: JoinHandle<()>,
}

impl PgApply {
    /// `url` must not lead to a transaction pooler: locks and prepared statements belong to the session.
    async fn connect(url: &str) -> Result<PgApply, StoreError> {
        let mut target = Target::parse(url)?;
        target.config.options(SESSION);
        let (client, connection) = target.connect("apply").await?;
        let sql = Statements::prepare(&client).await?;
        let row = client.query_one(include_str!("sql/session.sql"), &[]).await?;
        let session = Session { pid: row.get(0), started: row.get::<_, PgTime>(1).0 };
        Ok(PgApply { client, sql, session, viewed: None, connection })
    }
}

#[async_trait]
impl Connect for PgStore {
    async fn connect(&self) -> Result<Box<dyn ApplyStore>, StoreError> {
        Ok(Box::new(PgApply::connect(&self.url).await?))
    }

    fn at_once(&self) -> u16 {
        u16::MAX
    }

    async fn members(&self) -> Result<Option<Box<dyn Members>>, StoreError> {
        Ok(Some(Box::new(PgMembers::connect(&self.url).await?)))
    }
}

impl Drop for PgApply {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[async_trait]
impl ApplyStore for PgApply {
    async fn acquire(&mut self, wanted: &[Partition]) -> Result<Vec<Partition>, StoreError> {
        let wanted = wanted.iter().map(|p| sql_partition(*p)).collect::<Result<Vec<_>, _>>()?;
        let rows = self.client.query(include_str!("sql/acquire.sql"), &[&wanted]).await?;
        rows.iter().map(|r| Ok(Partition(narrow(r.get::<_, i16>(0), "partition")?))).collect()
    }

    async fn release(&mut self, partition: Partition) -> Result<(), StoreError> {
        let partition = i32::from(sql_partition(partition)?);
        self.client.execute(include_str!("sql/release.sql"), &[&partition]).await?;
        Ok(())
    }

    fn session(&self) -> Option<Session> {
        Some(self.session)
    }

    async fn take(&mut self, partition: Partition, me: Uuid) -> Result<Taken, StoreError> {
        let p = sql_partition(partition)?;
        let row = self.client.query_one(include_str!("sql/take_partition.sql"), &[&p, &me]).await?;
        let (takes, begun) = (narrow(row.get::<_, i32>(0), "takes")?, narrow(row.get::<_, i32>(1), "begun")?);
        Ok(Taken { state: self.load(partition).await?, takes, begun })
    }

    async fn suspect(&mut self, partition: Partition, me: Uuid, entry: &str) -> Result<u32, StoreError> {
        let p = sql_partition(partition)?;
        let row = self.client.query_one(include_str!("sql/suspect.sql"), &[&p, &me, &entry]).await?;
        narrow(row.get::<_, i32>(0), "begun")
    }

    async fn load(&mut self, partition: Partition) -> Result<PartitionState, StoreError> {
        let p = sql_partition(partition)?;
        let row = self.client.query_one(include_str!("sql/load_partition.sql"), &[&p]).await?;
        let writers = self.client.query(include_str!("sql/load_writers.sql"), &[&p]).await?;
        Ok(PartitionState {
            epoch: row.get(0),
            position: row.get(1),
            day: row.get::<_, PgDay>(2).0,
            writers: writers.iter().map(|r| rows::writer(r, 0)).collect::<Result<_, _>>()?,
        })
    }

    async fn begin(
        &mut self,
        a: &Advance,
        units: &[UnitId],
    ) -> Result<Option<Vec<(UnitId, Unit)>>, StoreError> {
        let partition = sql_partition(a.partition)?;
        let (accepted, lost) = (to_sql_count(a.accepted), to_sql_count(a.lost));
        let (day, rewinds) = (PgDay(a.day), i64::from(a.rewinds));
        let ids: Vec<Uuid> = units.iter().map(|u| uuid(*u)).collect();
        let c = &self.client;
        let advance = async {
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
                [&a.to, &day, &accepted, &lost, &rewinds, &partition, &a.from, &a.epoch];
            c.query_opt(&self.sql.advance, &params).await
        };
        let load = async {
            if ids.is_empty() { Ok(Vec::new()) } else { c.query(&self.sql.load_units, &[&ids]).await }
        };
        let ((), moved, rows) = tokio::try_join!(biased; c.batch_execute("BEGIN"), advance, load)?;
        let Some(moved) = moved else {
            self.rollback().await?;
            return Ok(None);
        };
        self.viewed = moved.get::<_, bool>(0).then_some(partition);
        let loaded = rows.iter().map(|r| Ok((unit_id(r.get(0)), decode_unit(r.get(1))?)));
        loaded.collect::<Result<Vec<_>, StoreError>>().map(Some)
    }

    async fn experiments(&mut self, partition: Partition, ids: &[ExperimentId]) -> Result<Known, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|e| e.0).collect();
        let rows = self.client.query(include_str!("sql/experiments_kept.sql"), &[&ids]).await?;
        let deleted = rows.iter().filter(|r| r.get(16)).map(|r| ExperimentId(r.get(0))).collect();
        let experiments = rows.iter().filter_map(|r| rows::experiment(r).transpose());
        let experiments = experiments.collect::<Result<Vec<_>, _>>()?;
        let sql = include_str!("sql/last_moments_of_partition.sql");
        let rows = self.client.query(sql, &[&ids, &sql_partition(partition)?]).await?;
        let moments = rows.iter().map(rows::arm).collect::<Result<Vec<_>, _>>()?;
        let (rebuilds, days) = rebuilds::of_partition(&self.client, &ids, sql_partition(partition)?).await?;
        Ok(Known { experiments, deleted, moments, rebuilds, days })
    }

    async fn record(
        &mut self,
        day: Day,
        history_of: &HistoryOf<'_>,
        conversions: &[NewConversion<'_>],
    ) -> Result<(Vec<Past>, Vec<Outcome>), StoreError> {
        let users: Vec<Uuid> = history_of.units.iter().map(|u| uuid(*u)).collect();
        let tenants = std::iter::once(ExperimentId::NONE.0);
        let experiments: Vec<i64> = tenants.chain(history_of.experiments.iter().map(|e| e.0)).collect();
        let columns = Columns::of(conversions);
        let history = async {
            if users.is_empty() {
                return Ok(Vec::new());
            }
            self.client.query(&self.sql.history, &[&users, &experiments, &history_of.metrics]).await
        };
        // Sent after the history query and so run after it: history holds nothing of this transaction.
        let insert = async {
            if conversions.is_empty() {
                Ok(0)
            } else {
                columns.insert(&self.client, &self.sql, PgDay(day)).await
            }
        };
        let (past, inserted) = tokio::try_join!(biased; history, insert)?;
        if let Some(partition) = self.viewed.filter(|_| inserted > 0) {
            view::keep_conversions(&self.client, conversions, partition).await?;
        }
        let past = past.iter().map(rows::past).collect();
        let mut outcomes = vec![Outcome::New; conversions.len()];
        if inserted < conversions.len() as u64 {
            for row in columns.known(&self.client, &self.sql).await? {
                let at: usize = narrow(row.get::<_, i32>(0), "ordinal")?;
                let slot = outcomes.get_mut(at).ok_or(StoreError::Corrupt("ordinal"))?;
                *slot = Outcome::Known {
                    metric: row.get(1),
                    value: Decimal(row.get(2)),
                    occurred_given: row.get::<_, Option<PgTime>>(3).map(|t| t.0),
                };
            }
        }
        Ok((past, outcomes))
    }

    async fn dead_letters_kept(&mut self, tenant: &str, limit: u64) -> Result<u64, StoreError> {
        let sql = include_str!("sql/dead_letters_kept.sql");
        let row = self.client.query_one(sql, &[&tenant, &to_sql_count(limit)]).await?;
        narrow(row.get::<_, i64>(0), "dead letters")
    }

    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError> {
        raw::slice(&self.client, first, last, limit).await
    }

    async fn moments(
        &mut self,
        partition: Partition,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError> {
        let version: i32 = narrow(plan_version, "plan version")?;
        let sql = include_str!("sql/view/moments.sql");
        let rows = self.client.query(sql, &[&experiment.0, &version, &sql_partition(partition)?]).await?;
        rows.iter().map(rows::arm).collect()
    }

    fn is_viewed(&self) -> bool {
        self.viewed.is_some()
    }

    async fn purge(&mut self, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError> {
        purges::step(&self.client, step).await
    }

    async fn write(&mut self, a: &Advance, changes: &Changes<'_>) -> Result<(), StoreError> {
        let partition = sql_partition(a.partition)?;
        if self.viewed.is_some() {
            view::keep_units(&self.client, changes, partition).await?;
        }
        changes::write(&self.client, &self.sql, changes, partition, PgDay(a.day)).await?;
        match changes.erased {
            Some(erasure) => erasures::erase(&self.client, erasure, partition).await,
            None => Ok(()),
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }

    async fn rebuilding(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ExperimentId)>, StoreError> {
        let partitions = partitions.iter().map(|p| sql_partition(*p)).collect::<Result<Vec<_>, _>>()?;
        rebuilds::pending(&self.client, &partitions).await
    }

    async fn erasures(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ErasureRow)>, StoreError> {
        let partitions = partitions.iter().map(|p| sql_partition(*p)).collect::<Result<Vec<_>, _>>()?;
        erasures::pending(&self.client, &partitions).await
    }

    async fn purges(&mut self, partitions: &[Partition]) -> Result<Vec<PurgeRow>, StoreError> {
        let partitions = partitions.iter().map(|p| sql_partition(*p)).collect::<Result<Vec<_>, _>>()?;
        purges::pending(&self.client, &partitions).await
    }

    async fn serve_rebuilt(&mut self) -> Result<Vec<ExperimentId>, StoreError> {
        rebuilds::serve(&mut self.client).await
    }

    async fn expire_receipts(&mut self, limit: i64) -> Result<u64, StoreError> {
        Ok(self.client.execute(include_str!("sql/expire_receipts.sql"), &[&limit]).await?)
    }
}

/// Conversions as arrays, a column each.
struct Columns<'a> {
    unit: Vec<Uuid>,
    experiment: Vec<i64>,
    value: Vec<i64>,
    occurred_at: Vec<PgTime>,
    received_at: Vec<PgTime>,
    batch: Vec<Uuid>,
    occurred_given: Vec<Option<PgTime>>,
    tenant: Vec<&'a str>,
    metric: Vec<&'a str>,
    key: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a [NewConversion<'a>]) -> Columns<'a> {
        Columns {
            unit: rows.iter().map(|r| uuid(r.unit)).collect(),
            experiment: rows.iter().map(|r| r.experiment.0).collect(),
            value: rows.iter().map(|r| r.value.0).collect(),
            occurred_at: rows.iter().map(|r| PgTime(r.occurred_at)).collect(),
            received_at: rows.iter().map(|r| PgTime(r.received_at)).collect(),
            batch: rows.iter().map(|r| r.batch.0).collect(),
            occurred_given: rows.iter().map(|r| r.occurred_given.map(PgTime)).collect(),
            tenant: rows.iter().map(|r| r.tenant).collect(),
            metric: rows.iter().map(|r| r.metric).collect(),
            key: rows.iter().map(|r| r.key.as_ref()).collect(),
        }
    }

    async fn insert(&self, c: &Client, sql: &Statements, day: PgDay) -> Result<u64, tokio_postgres::Error> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
            &self.unit,
            &self.experiment,
            &self.value,
            &self.occurred_at,
            &self.received_at,
            &self.batch,
            &self.occurred_given,
            &self.tenant,
            &self.metric,
            &self.key,
            &day,
        ];
        c.execute(&sql.insert_conversions, &params).await
    }

    async fn known(&self, c: &Client, sql: &Statements) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        Ok(c.query(&sql.known_conversions, &[&self.unit, &self.experiment, &self.key]).await?)
    }
}

fn sql_partition(p: Partition) -> Result<i16, StoreError> {
    narrow(p.0, "partition")
}
