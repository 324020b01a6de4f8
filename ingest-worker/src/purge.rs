//! Purging what is older than it is kept, by the owner of the partition, some units at a time, each time in a transaction
//! of its own between those that apply.
//!
//! A conversion goes when no experiment counts it, or can under a plan to come: it belongs to one that is sealed, or
//! to the tenant, and to a user who is enrolled in none that is open and uses its metric, or could use it for
//! something so long before the exposure. So the key of whatever is counted stays, a duplicate finds it however late it
//! is, and the sums of every experiment that is not sealed are those of the raw rows kept. Enrollments are never purged.

use crate::apply::learn;
use crate::cache::PartitionCache;
use crate::rebuild::{StepError, following, standing};
use domain::codec::encode_unit;
use domain::{Day, ExperimentId, Unit, UnitId};
use std::collections::BTreeSet;
use store::apply::{ApplyStore, Changes, PurgeRow, PurgeStep};
use store::{ConversionRow, PurgeCounts, Slice};

/// Units looked at in one transaction; of dead letters and audit entries as many are deleted at most.
pub const STEP: u32 = 500;

/// Where a purge is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purging {
    More {
        counts: PurgeCounts,
        cursor: UnitId,
    },
    Done(PurgeCounts),
    /// Somebody verifies the partition: nothing may go meanwhile.
    Waits,
}

/// Takes the next units. After an error the cache must be dropped.
pub async fn step(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    row: &PurgeRow,
    partitions: u16,
    units: u32,
) -> Result<Purging, StepError> {
    cache.bound_experiments();
    let advance = standing(cache);
    store.begin(&advance, &[]).await?.ok_or(StepError::Moved(cache.partition))?;
    if store.is_viewed() {
        store.rollback().await?;
        return Ok(Purging::Waits);
    }
    let (first, last) = cache.partition.unit_range(partitions);
    let first = row.cursor.map_or(Some(first), following).filter(|first| *first <= last);
    let slice = match first.zip(row.conversions) {
        Some((first, _)) => store.slice(first, last, units).await?,
        None => Slice { units: Vec::new(), conversions: Vec::new(), end: last },
    };
    let enrolled = slice.units.iter().flat_map(|row| row.unit.enrollments.iter().map(|e| e.experiment));
    let named = slice.conversions.iter().map(|c| c.experiment).filter(|id| !id.is_none());
    let experiments: Vec<ExperimentId> = enrolled.chain(named).collect();
    learn(store, cache, experiments.into_iter()).await?;
    let (gone, emptied) = purgeable(cache, row, &slice);
    let step = PurgeStep {
        of: row,
        conversions: gone.iter().map(|c| (c.unit, c.experiment, c.key.as_str())).collect(),
        cursor: slice.end,
        is_last: slice.end == last,
        limit: units,
    };
    let counts = store.purge(&step).await?;
    let mut changes = Changes::default();
    if !row.dry_run {
        changes.changed_units = emptied.iter().map(|(id, unit)| (*id, encode_unit(unit))).collect();
    }
    store.write(&advance, &changes).await?;
    store.commit().await?;
    cache.epoch += 1;
    for (id, unit) in emptied.into_iter().filter(|_| !row.dry_run) {
        if cache.units.take(id).is_some() {
            cache.units.put(id, unit);
        }
    }
    Ok(if counts.done { Purging::Done(counts) } else { Purging::More { counts, cursor: slice.end } })
}

/// The conversions that go, and the units that have none left.
fn purgeable<'s>(
    cache: &PartitionCache,
    row: &PurgeRow,
    slice: &'s Slice,
) -> (Vec<&'s ConversionRow>, Vec<(UnitId, Unit)>) {
    let (mut gone, mut emptied) = (Vec::new(), Vec::new());
    let Some(before) = row.conversions else { return (gone, emptied) };
    for unit in &slice.units {
        let first = slice.conversions.partition_point(|c| c.unit < unit.id);
        let own = || slice.conversions.iter().skip(first).take_while(|c| c.unit == unit.id);
        let kept = own().filter(|c| !goes(cache, row, before, &unit.unit, c)).count();
        gone.extend(own().filter(|c| goes(cache, row, before, &unit.unit, c)));
        if kept == 0 && unit.unit.has_conversions {
            let mut left = unit.unit.clone();
            left.has_conversions = false;
            emptied.push((unit.id, left));
        }
    }
    (gone, emptied)
}

fn goes(cache: &PartitionCache, row: &PurgeRow, before: Day, unit: &Unit, c: &ConversionRow) -> bool {
    let open = |id| cache.experiment(id).filter(|_| !row.sealed.contains(&id));
    if c.day >= before {
        return false;
    }
    if !c.experiment.is_none() {
        return open(c.experiment).is_none();
    }
    let experiments: BTreeSet<_> = unit.enrollments.iter().map(|e| e.experiment).collect();
    experiments.into_iter().all(|id| {
        let Some(known) = open(id) else { return true };
        let plans = || std::iter::once(&known.plan).chain(known.next.as_ref().map(|next| &next.plan));
        // What came before the exposure is counted too, as having come too early.
        let counts = plans().any(|plan| plan.event_index(&c.metric).is_some());
        let reach = plans().map(|plan| plan.lookback.max(plan.tolerance)).max().unwrap_or(0);
        let exposed = unit.enrollments.iter().filter(|e| e.experiment == id).map(|e| e.exposed_at).min();
        !counts && exposed.is_none_or(|exposed| c.occurred_at < exposed.plus(-reach))
    })
}
