//! An apply connection that can be left before and after every step: what PostgreSQL's does by itself, and SQLite's,
//! which answers at once, does not.

use async_trait::async_trait;
use domain::{Day, ExperimentId, Partition, Unit, UnitId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use store::apply::{
    Advance, ApplyStore, Changes, ErasureRow, HistoryOf, Known, NewConversion, Outcome, PartitionState, Past,
    PurgeRow, PurgeStep, Session, Taken,
};
use store::{ArmRow, PurgeCounts, Slice, StoreError};
use tokio::task::yield_now;
use uuid::Uuid;

pub struct Yielding {
    store: Box<dyn ApplyStore>,
    commits: Commits,
}

/// How the next commits end; past them, well.
pub type Commits = Arc<Mutex<VecDeque<Commit>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Done,
    /// Done, and nobody is told.
    Unknown,
    /// Not done.
    Failed,
}

impl Yielding {
    pub fn new(store: Box<dyn ApplyStore>) -> Yielding {
        Yielding::with(store, Commits::default())
    }

    pub fn with(store: Box<dyn ApplyStore>, commits: Commits) -> Yielding {
        Yielding { store, commits }
    }
}

#[async_trait]
impl ApplyStore for Yielding {
    async fn acquire(&mut self, wanted: &[Partition]) -> Result<Vec<Partition>, StoreError> {
        yield_now().await;
        self.store.acquire(wanted).await
    }

    async fn release(&mut self, partition: Partition) -> Result<(), StoreError> {
        yield_now().await;
        self.store.release(partition).await
    }

    fn session(&self) -> Option<Session> {
        self.store.session()
    }

    async fn take(&mut self, partition: Partition, me: Uuid) -> Result<Taken, StoreError> {
        yield_now().await;
        self.store.take(partition, me).await
    }

    async fn suspect(&mut self, partition: Partition, me: Uuid, entry: &str) -> Result<u32, StoreError> {
        yield_now().await;
        self.store.suspect(partition, me, entry).await
    }

    async fn load(&mut self, partition: Partition) -> Result<PartitionState, StoreError> {
        yield_now().await;
        self.store.load(partition).await
    }

    async fn begin(
        &mut self,
        advance: &Advance,
        units: &[UnitId],
    ) -> Result<Option<Vec<(UnitId, Unit)>>, StoreError> {
        yield_now().await;
        self.store.begin(advance, units).await
    }

    async fn experiments(&mut self, partition: Partition, ids: &[ExperimentId]) -> Result<Known, StoreError> {
        yield_now().await;
        self.store.experiments(partition, ids).await
    }

    async fn record(
        &mut self,
        day: Day,
        history: &HistoryOf<'_>,
        conversions: &[NewConversion<'_>],
    ) -> Result<(Vec<Past>, Vec<Outcome>), StoreError> {
        yield_now().await;
        self.store.record(day, history, conversions).await
    }

    async fn dead_letters_kept(&mut self, tenant: &str, limit: u64) -> Result<u64, StoreError> {
        yield_now().await;
        self.store.dead_letters_kept(tenant, limit).await
    }

    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError> {
        yield_now().await;
        self.store.slice(first, last, limit).await
    }

    async fn rebuilding(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ExperimentId)>, StoreError> {
        yield_now().await;
        self.store.rebuilding(partitions).await
    }

    async fn moments(
        &mut self,
        partition: Partition,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError> {
        yield_now().await;
        self.store.moments(partition, experiment, plan_version).await
    }

    async fn erasures(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ErasureRow)>, StoreError> {
        yield_now().await;
        self.store.erasures(partitions).await
    }

    async fn serve_rebuilt(&mut self) -> Result<Vec<ExperimentId>, StoreError> {
        yield_now().await;
        self.store.serve_rebuilt().await
    }

    fn is_viewed(&self) -> bool {
        self.store.is_viewed()
    }

    async fn purge(&mut self, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError> {
        yield_now().await;
        self.store.purge(step).await
    }

    async fn purges(&mut self, partitions: &[Partition]) -> Result<Vec<PurgeRow>, StoreError> {
        yield_now().await;
        self.store.purges(partitions).await
    }

    async fn write(&mut self, advance: &Advance, changes: &Changes<'_>) -> Result<(), StoreError> {
        yield_now().await;
        self.store.write(advance, changes).await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        yield_now().await;
        let next = self.commits.lock().unwrap().pop_front().unwrap_or(Commit::Done);
        let committed = match next {
            Commit::Done => self.store.commit().await,
            Commit::Unknown => self.store.commit().await.and(Err(StoreError::NoTransaction)),
            Commit::Failed => self.store.rollback().await.and(Err(StoreError::NoTransaction)),
        };
        yield_now().await;
        committed
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        yield_now().await;
        self.store.rollback().await
    }

    async fn expire_receipts(&mut self, limit: i64) -> Result<u64, StoreError> {
        yield_now().await;
        self.store.expire_receipts(limit).await
    }
}
