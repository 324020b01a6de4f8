//! Building a plan version: the owner of a partition takes its units in key order, some at a time, each time in a
//! transaction of its own between those that apply.
//!
//! Units up to the cursor have tallies of both versions and are folded under both; the rows of the version being built
//! hold what changed on each day, for the ladder of a unit reaches into days that have passed. The last step adds them
//! up. A crash loses at most the step under way: cursor, units and rows move in one transaction.

use crate::apply::learn;
use crate::cache::{Next, PartitionCache};
use crate::fold::key_of;
use domain::codec::encode_unit;
use domain::fold::Fact;
use domain::ladder::{self, Dated};
use domain::{Day, ExperimentId, Moments, Overflow, Partition, Plan, Unit, UnitId};
use std::collections::BTreeMap;
use store::apply::{Advance, ApplyStore, Changes, MomentsRow, RebuildRow};
use store::{ConversionRow, MomentsKey, Slice, StoreError};

/// Units taken in one transaction.
pub const STEP: u32 = 500;

/// Where a partition is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    More,
    Done,
}

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing was written.
    #[error("the position of partition {0} is not where this worker left it")]
    Moved(Partition),
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// The rows of the version that is being built.
type Days = BTreeMap<(MomentsKey, Day), Moments>;

/// Takes the next units. After an error the cache must be dropped.
pub async fn step(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    experiment: ExperimentId,
    partitions: u16,
    units: u32,
) -> Result<Stepped, StepError> {
    let partition = cache.partition;
    let advance = standing(cache);
    store.begin(&advance, &[]).await?.ok_or(StepError::Moved(partition))?;
    learn(store, cache, std::iter::once(experiment)).await?;
    let next = cache.experiment(experiment).and_then(|known| known.next.as_ref()).filter(|next| !next.done);
    let Some(Next { plan, cursor, .. }) = next else {
        store.rollback().await?;
        return Ok(Stepped::Done);
    };
    let (first, last) = partition.unit_range(partitions);
    let first = cursor.map_or(Some(first), following).filter(|first| *first <= last);
    let slice = match first {
        Some(first) => store.slice(first, last, units).await?,
        None => Slice { units: Vec::new(), conversions: Vec::new(), end: last },
    };
    let (changed, mut days) = rebuilt(cache, plan, &slice)?;
    let row =
        RebuildRow { experiment, version: plan.version, cursor: Some(slice.end), done: slice.end == last };
    if row.done {
        days = totals(cache, plan, days)?;
    }
    let mut changes = Changes { rebuilds: vec![row], ..Changes::default() };
    changes.changed_units = changed.iter().map(|(id, unit)| (*id, encode_unit(unit))).collect();
    let mut new: Option<&MomentsKey> = None;
    for ((key, day), moments) in &days {
        // In key order: of a new key's rows the first makes it known.
        let is_new = cache.is_new(key) && new != Some(key);
        new = Some(key).filter(|_| is_new).or(new);
        changes.moments.push(MomentsRow { key: key.clone(), day: *day, moments, is_new });
    }
    store.write(&advance, &changes).await?;
    store.commit().await?;
    keep(cache, changed, days, row);
    Ok(if row.done { Stepped::Done } else { Stepped::More })
}

/// The position stays where it is: the epoch tells others who remember this partition that they must look again.
pub(crate) fn standing(cache: &PartitionCache) -> Advance {
    Advance {
        partition: cache.partition,
        epoch: cache.epoch,
        from: cache.position.clone(),
        to: cache.position.clone(),
        day: cache.day,
        accepted: 0,
        lost: 0,
        rewinds: true,
    }
}

pub(crate) fn dated(c: &ConversionRow) -> Dated<'_> {
    let fact = Fact { experiment: c.experiment, event: &c.metric, value: c.value, at: c.occurred_at };
    Dated { day: c.day, fact }
}

/// The slice's units with tallies of the plan, and the rows that they change.
fn rebuilt(
    cache: &PartitionCache,
    plan: &Plan,
    slice: &Slice,
) -> Result<(Vec<(UnitId, Unit)>, Days), Overflow> {
    let (mut changed, mut days) = (Vec::new(), Days::new());
    for row in &slice.units {
        let first = slice.conversions.partition_point(|c| c.unit < row.id);
        let own = slice.conversions.iter().skip(first).take_while(|c| c.unit == row.id);
        let dated: Vec<Dated<'_>> = own.map(dated).collect();
        let mut unit = row.unit.clone();
        cache.prune(&mut unit);
        let steps = ladder::rebuild(&mut unit, plan, &dated)?;
        for (day, from, to) in ladder::changes(&steps) {
            let Some(of) = to.or(from) else { continue };
            let at = (key_of(cache.partition, of), day);
            let sums = days.entry(at).or_insert_with_key(|(key, day)| cache.sums(key, *day));
            sums.shift(plan, from, to)?;
        }
        if unit != row.unit {
            changed.push((row.id, unit));
        }
    }
    Ok((changed, days))
}

/// Every row of the version as a running total.
fn totals(cache: &PartitionCache, plan: &Plan, changed: Days) -> Result<Days, Overflow> {
    let of_version = cache
        .building
        .iter()
        .filter(|(key, _)| key.experiment == plan.experiment && key.plan_version == plan.version);
    let mut all: Days = of_version
        .flat_map(|(key, days)| days.iter().map(|(day, moments)| ((key.clone(), *day), moments.clone())))
        .collect();
    all.extend(changed);
    let mut total: Option<(MomentsKey, Moments)> = None;
    for ((key, _), row) in &mut all {
        let mut sum = total.take().filter(|(of, _)| of == key).map(|(_, sum)| sum).unwrap_or_default();
        sum.add(row)?;
        row.clone_from(&sum);
        total = Some((key.clone(), sum));
    }
    Ok(all)
}

/// After the commit.
fn keep(cache: &mut PartitionCache, changed: Vec<(UnitId, Unit)>, days: Days, row: RebuildRow) {
    cache.epoch += 1;
    for (id, unit) in changed {
        if cache.units.take(id).is_some() {
            cache.units.put(id, unit);
        }
    }
    let next = cache.experiment_mut(row.experiment).and_then(|known| known.next.as_mut());
    if let Some(next) = next {
        (next.cursor, next.done) = (row.cursor, row.done);
    }
    if row.done {
        cache.building.retain(|key, _| key.experiment != row.experiment);
    }
    // In order of days: of running totals the last is remembered.
    for ((key, day), moments) in days {
        cache.remember(key, day, moments);
    }
}

pub(crate) fn following(unit: UnitId) -> Option<UnitId> {
    u128::from_be_bytes(unit.0).checked_add(1).map(|next| UnitId(next.to_be_bytes()))
}
