//! The owner of a partition, who knows what it last committed: what is written here is made up, and so need not be
//! what a fold would give.

use crate::db::TENANT;
use domain::plan::Feature;
use domain::{
    BatchId, Day, Decimal, Enrollment, ExperimentId, Moments, Partition, Plan, Timestamp, Unit, UnitId,
};
use store::apply::{
    Advance, ApplyStore, Changes, HistoryOf, MomentsRow, NewConversion, Outcome, PartitionState,
};
use store::{Experiment, MomentsKey, Store, StoreError};
use uuid::Uuid;

/// 2024-10-04.
pub const TODAY: Day = Day(20_000);

pub struct Owner {
    pub apply: Box<dyn ApplyStore>,
    pub partition: Partition,
    pub state: PartitionState,
}

impl Owner {
    pub async fn of(db: &dyn Store, partition: u16) -> Owner {
        let mut apply = db.connect().await.unwrap();
        let partition = Partition(partition);
        let state = apply.take(partition, Uuid::new_v4()).await.unwrap().state;
        Owner { apply, partition, state }
    }

    /// The next move, of `accepted` events.
    pub fn advance(&self, to: &str, accepted: u64) -> Advance {
        Advance {
            partition: self.partition,
            epoch: self.state.epoch,
            from: self.state.position.clone(),
            to: to.into(),
            day: self.state.day.max(TODAY),
            accepted,
            lost: 0,
            rewinds: false,
        }
    }

    /// Opens a transaction that moves the position to `to`.
    pub async fn begin(&mut self, to: &str) -> Advance {
        let advance = self.advance(to, 0);
        assert!(self.apply.begin(&advance, &[]).await.unwrap().is_some(), "the position was moved");
        advance
    }

    /// Writes and commits, and remembers.
    pub async fn finish(&mut self, advance: Advance, changes: &Changes<'_>) -> Result<(), StoreError> {
        self.apply.write(&advance, changes).await?;
        self.apply.commit().await?;
        self.state.epoch += i64::from(advance.rewinds);
        self.state.position = advance.to;
        self.state.day = advance.day;
        Ok(())
    }

    /// One transaction that writes `changes`.
    pub async fn write(&mut self, to: &str, changes: &Changes<'_>) {
        let advance = self.begin(to).await;
        self.finish(advance, changes).await.unwrap();
    }

    /// The same on a later day.
    pub async fn write_on(&mut self, day: Day, to: &str, changes: &Changes<'_>) {
        let advance = Advance { day, ..self.advance(to, 0) };
        assert!(self.apply.begin(&advance, &[]).await.unwrap().is_some(), "the position was moved");
        self.finish(advance, changes).await.unwrap();
    }

    /// One transaction that stores conversions.
    pub async fn record(&mut self, to: &str, conversions: &[NewConversion<'_>]) -> Vec<Outcome> {
        let advance = self.begin(to).await;
        let recorded = self.apply.record(advance.day, &HistoryOf::default(), conversions).await.unwrap();
        self.finish(advance, &Changes::default()).await.unwrap();
        recorded.1
    }
}

pub fn unit_of(user: &str) -> UnitId {
    UnitId::of(TENANT, user)
}

pub fn conversion<'a>(user: &str, key: &'a str, value: i64) -> NewConversion<'a> {
    NewConversion {
        unit: unit_of(user),
        tenant: TENANT,
        experiment: ExperimentId::NONE,
        key: key.into(),
        metric: "purchase",
        value: Decimal(value),
        occurred_at: Timestamp(1_000_000),
        occurred_given: None,
        received_at: Timestamp(2_000_000),
        batch: BatchId(Uuid::from_u128(7)),
    }
}

/// A user enrolled on `day`; `days` differ, states do.
pub fn enrolled(experiment: &Experiment, day: Day) -> Unit {
    let enrollment = Enrollment::new(&experiment.plan(), 1, 0, Timestamp(5), day);
    Unit { enrollments: vec![enrollment], ..Unit::default() }
}

/// Sums with `users` enrolled and a product that needs all of its 256 bits.
pub fn moments(plan: &Plan, users: i64) -> Moments {
    let mut moments =
        Moments { products: vec![ethnum::I256::MIN; plan.products.len()], ..Moments::default() };
    moments.heads.enrolled = users;
    if let Some(first) = plan.product_index(Feature::One, Feature::One) {
        moments.products[first] = users.into();
    }
    moments
}

pub fn key(experiment: &Experiment, partition: Partition, variation: i16, stratum: &str) -> MomentsKey {
    MomentsKey {
        experiment: experiment.id,
        plan_version: experiment.plan_version,
        partition,
        variation,
        stratum: stratum.into(),
        phase: 0,
    }
}

/// A row of today whose key has none of any day.
pub fn row(key: MomentsKey, moments: &Moments) -> MomentsRow<'_> {
    MomentsRow { key, day: TODAY, moments, is_new: true }
}
