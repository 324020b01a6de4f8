//! Forgetting a user, by the owner of the partition, in a transaction between those that apply: the unit's ladder is
//! taken out of every row of moments from its first day on, raw rows and name are deleted, and what is left of the unit
//! says that nothing more is to be taken.

use crate::apply::learn;
use crate::cache::PartitionCache;
use crate::fold::key_of;
use crate::rebuild::{StepError, dated, standing};
use crate::tally::NO_VARIATION;
use crate::tally::name::NEVER_EXPOSED;
use domain::codec::encode_unit;
use domain::ladder::{self, Dated};
use domain::{Day, Enrollment, ExperimentId, Moments, Unit};
use std::collections::{BTreeMap, BTreeSet};
use store::apply::{ApplyStore, Changes, Count, ErasureRow, MomentsRow, NewUnit};
use store::{ConversionRow, MomentsKey};

/// After an error the cache must be dropped.
pub async fn erase(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    erasure: &ErasureRow,
) -> Result<(), StepError> {
    let advance = standing(cache);
    store.begin(&advance, &[]).await?.ok_or(StepError::Moved(cache.partition))?;
    let slice = store.slice(erasure.unit, erasure.unit, 2).await?;
    let mut known = slice.units.first().map(|row| row.unit.clone());
    let mut rows = BTreeMap::new();
    if let Some(unit) = &mut known {
        learn(store, cache, unit.enrollments.iter().map(|e| e.experiment)).await?;
        cache.prune(unit);
        let conversions: Vec<Dated<'_>> = slice.conversions.iter().map(dated).collect();
        for enrollment in &unit.enrollments {
            rows.extend(without(store, cache, enrollment, &conversions).await?);
        }
    }
    let left = Unit { erased: true, ..Unit::default() };
    let mut changes = Changes { erased: Some(erasure), ..Changes::default() };
    if let Some(unit) = &known {
        changes.counters = never_exposed(erasure, unit, &slice.conversions);
    }
    match known {
        Some(_) => changes.changed_units.push((erasure.unit, encode_unit(&left))),
        None => changes.new_units.push(NewUnit {
            id: erasure.unit,
            tenant: &erasure.tenant,
            user_id: "",
            state: encode_unit(&left),
        }),
    }
    let row = |((key, day), moments): (&(MomentsKey, Day), _)| MomentsRow {
        key: key.clone(),
        day: *day,
        moments,
        is_new: false,
    };
    changes.moments = rows.iter().map(row).collect();
    store.write(&advance, &changes).await?;
    store.commit().await?;
    drop(changes);
    cache.epoch += 1;
    cache.units.take(erasure.unit);
    // In order of days: of running totals the last is remembered.
    for ((key, day), moments) in rows {
        cache.remember(key, day, moments);
    }
    Ok(())
}

/// What the user did in experiments they never were in is not waiting for them any more.
fn never_exposed<'e>(erasure: &'e ErasureRow, unit: &Unit, conversions: &[ConversionRow]) -> Vec<Count<'e>> {
    let named = conversions.iter().map(|c| c.experiment).filter(|id| !id.is_none());
    let mut waiting: BTreeMap<ExperimentId, i64> = BTreeMap::new();
    for experiment in named.filter(|id| unit.enrollment(*id).is_none()) {
        *waiting.entry(experiment).or_default() -= 1;
    }
    let (tenant, variation, name) = (erasure.tenant.as_str(), NO_VARIATION, NEVER_EXPOSED);
    let count = |(experiment, n)| Count { tenant, experiment, variation, name, n };
    waiting.into_iter().map(count).collect()
}

/// The rows that an enrollment has a part in, without it.
async fn without(
    store: &mut dyn ApplyStore,
    cache: &PartitionCache,
    enrollment: &Enrollment,
    conversions: &[Dated<'_>],
) -> Result<BTreeMap<(MomentsKey, Day), Moments>, StepError> {
    let mut rows = BTreeMap::new();
    let Some(plan) = cache.plan(enrollment) else { return Ok(rows) };
    let steps = ladder::ladder(plan, enrollment, conversions)?;
    if cache.is_building(&key_of(cache.partition, enrollment)) {
        for (day, from, to) in ladder::changes(&steps) {
            let Some(of) = to.or(from) else { continue };
            let at = (key_of(cache.partition, of), day);
            rows.entry(at).or_insert_with_key(|(key, day)| cache.sums(key, *day)).shift(plan, to, from)?;
        }
        return Ok(rows);
    }
    let keys: BTreeSet<MomentsKey> = steps.iter().map(|(_, e)| key_of(cache.partition, e)).collect();
    let all = store.moments(cache.partition, plan.experiment, plan.version).await?;
    for key in keys {
        let of_key = all.iter().filter(|row| row.key == key && row.day >= enrollment.day);
        let before: Vec<(Day, Moments)> = of_key.map(|row| (row.day, row.moments.clone())).collect();
        let after = ladder::erase(plan, &key.stratum, &before, &steps)?;
        rows.extend(after.into_iter().map(|(day, moments)| ((key.clone(), day), moments)));
    }
    Ok(rows)
}
