//! An apply connection that can be left before and after every step: what PostgreSQL's does by itself, and SQLite's,
//! which answers at once, does not.

use async_trait::async_trait;
use domain::{Day, ExperimentId, Partition, Unit, UnitId};
use store::StoreError;
use store::apply::{
    Advance, ApplyStore, Changes, HistoryOf, Known, NewConversion, Outcome, PartitionState, Past, Session,
    Taken,
};
use tokio::task::yield_now;
use uuid::Uuid;

pub struct Yielding(pub Box<dyn ApplyStore>);

#[async_trait]
impl ApplyStore for Yielding {
    async fn acquire(&mut self, wanted: &[Partition]) -> Result<Vec<Partition>, StoreError> {
        yield_now().await;
        self.0.acquire(wanted).await
    }

    async fn release(&mut self, partition: Partition) -> Result<(), StoreError> {
        yield_now().await;
        self.0.release(partition).await
    }

    fn session(&self) -> Option<Session> {
        self.0.session()
    }

    async fn take(&mut self, partition: Partition, me: Uuid) -> Result<Taken, StoreError> {
        yield_now().await;
        self.0.take(partition, me).await
    }

    async fn suspect(&mut self, partition: Partition, me: Uuid, entry: &str) -> Result<u32, StoreError> {
        yield_now().await;
        self.0.suspect(partition, me, entry).await
    }

    async fn load(&mut self, partition: Partition) -> Result<PartitionState, StoreError> {
        yield_now().await;
        self.0.load(partition).await
    }

    async fn begin(
        &mut self,
        advance: &Advance,
        units: &[UnitId],
    ) -> Result<Option<Vec<(UnitId, Unit)>>, StoreError> {
        yield_now().await;
        self.0.begin(advance, units).await
    }

    async fn experiments(&mut self, partition: Partition, ids: &[ExperimentId]) -> Result<Known, StoreError> {
        yield_now().await;
        self.0.experiments(partition, ids).await
    }

    async fn record(
        &mut self,
        day: Day,
        history: &HistoryOf<'_>,
        conversions: &[NewConversion<'_>],
    ) -> Result<(Vec<Past>, Vec<Outcome>), StoreError> {
        yield_now().await;
        self.0.record(day, history, conversions).await
    }

    async fn write(&mut self, advance: &Advance, changes: &Changes<'_>) -> Result<(), StoreError> {
        yield_now().await;
        self.0.write(advance, changes).await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        yield_now().await;
        let committed = self.0.commit().await;
        yield_now().await;
        committed
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        yield_now().await;
        self.0.rollback().await
    }

    async fn expire_receipts(&mut self, limit: i64) -> Result<u64, StoreError> {
        yield_now().await;
        self.0.expire_receipts(limit).await
    }
}
