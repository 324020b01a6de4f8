//! The apply transaction: position, units, conversions, fold, moments, receipts, all or nothing.
//!
//! Everything an entry does happens here, in the one transaction that also moves the position past it: so it
//! happens once, in stream order, whoever else is alive.

use crate::cache::PartitionCache;
use crate::chunk::{Chunk, Event};
use crate::fold::Folding;
use crate::sort::{Culprits, sort_out};
use crate::tally::Tally;
use domain::{Day, ExperimentId, Overflow, UnitId};
use foldhash::{HashMap, HashMapExt};
use queue::reader::{Entry, EntryId};
use queue::receipts::ReceiptMessage;
use store::apply::{Advance, ApplyStore, Past};
use store::{StoreError, WriterRow};

/// What a committed transaction did.
#[derive(Debug, Default)]
pub struct Applied {
    pub position: EntryId,
    pub events: u64,
    pub totals: crate::tally::Totals,
    pub resent: u64,
    pub lost: u64,
    /// The applied totals of the writers seen.
    pub writers: Vec<(uuid::Uuid, u64)>,
    /// Writers not remembered any more.
    pub forgotten: Vec<uuid::Uuid>,
    pub receipts: Vec<ReceiptMessage>,
}

impl Applied {
    /// Nothing new: what the writers' rows say is applied.
    pub fn totals_of<'w>(writers: impl Iterator<Item = &'w WriterRow>) -> Applied {
        Applied { writers: writers.map(|w| (w.writer, w.total)).collect(), ..Applied::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else moved the position, or the database went back in time: nothing was written.
    #[error("the position of partition {0} is not where this worker left it")]
    Moved(domain::Partition),
}

/// Applies `entries` (of one day: `day`) in one transaction. After an error the cache must be dropped.
pub async fn apply(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    entries: &[Entry],
    day: Day,
) -> Result<Applied, ApplyError> {
    let chunk = Chunk::read(entries, &cache.writers);
    let mut culprits = Culprits::new();
    loop {
        match attempt(store, cache, entries, &chunk, day, &culprits).await? {
            Ok(applied) => return Ok(applied),
            Err((event, overflow)) => {
                store.rollback().await?;
                let state = store.load(cache.partition).await?;
                if (&state.position, state.epoch) != (&cache.position, cache.epoch) {
                    return Err(ApplyError::Moved(cache.partition));
                }
                *cache = PartitionCache::new(cache.partition, state);
                culprits.insert(event, overflow);
            }
        }
    }
}

/// One try. The inner error names an event that cannot be folded: the transaction is still open.
async fn attempt<'a>(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    entries: &'a [Entry],
    chunk: &Chunk<'a>,
    day: Day,
    culprits: &Culprits,
) -> Result<Result<Applied, (usize, Overflow)>, ApplyError> {
    let Some(last) = entries.last() else { return Ok(Ok(Applied::default())) };
    let advance = Advance {
        partition: cache.partition,
        epoch: cache.epoch,
        from: cache.position.clone(),
        to: last.id.to_string(),
        day,
        accepted: chunk.accepted,
        lost: chunk.lost,
        rewinds: last.id <= crate::source::position(&cache.position),
    };
    cache.bound_experiments();
    let mut folding = Folding::new(chunk, day);
    let missing = folding.take_from(&mut cache.units);
    let loaded = store.begin(&advance, &missing).await?.ok_or(ApplyError::Moved(cache.partition))?;
    folding.loaded(loaded);
    learn(store, cache, chunk, &folding).await?;

    let mut tally = Tally::new(chunk);
    let plan = sort_out(cache, chunk, culprits, &mut tally);
    let history_of = folding.history_needed(cache, &plan.fates);
    let (past, outcomes) = store.record(day, &history_of, &plan.conversions).await?;
    drop(history_of);
    let past = by_unit(past);
    if let Err(culprit) = folding.run(cache, &plan, &outcomes, &past, &mut tally) {
        return Ok(Err(culprit));
    }
    let moments = match folding.moments(cache) {
        Ok(moments) => moments,
        Err((unit, overflow)) => {
            let of_unit = |(i, e): &(usize, &Event<'_>)| e.unit == unit && !culprits.contains_key(i);
            let last = chunk.events.iter().enumerate().rfind(of_unit);
            return Ok(Err((last.map_or(0, |(i, _)| i), overflow)));
        }
    };
    let mut changes = folding.changes(cache, &moments);
    changes.counters = tally.counters();
    changes.receipts = tally.receipts(chunk);
    changes.dead_letters = std::mem::take(&mut tally.dead_letters);
    changes.writers = chunk.writers.values().copied().collect();
    changes.forgotten = cache.silent_writers(last.id.ms);
    changes.forgotten.retain(|w| !chunk.writers.contains_key(w));
    store.finish(&advance, &changes).await?;

    let forgotten = changes.forgotten;
    folding.keep(cache);
    for (key, moments) in moments {
        cache.moments.insert(key, crate::cache::Kept { moments, stored: true });
    }
    cache.position = advance.to;
    cache.epoch += i64::from(advance.rewinds);
    cache.day = day;
    cache.writers.retain(|id, _| !forgotten.contains(id));
    cache.writers.extend(chunk.writers.iter().map(|(id, row)| (*id, *row)));
    Ok(Ok(Applied {
        position: last.id,
        events: chunk.accepted - chunk.lost,
        totals: tally.totals,
        resent: chunk.resent,
        lost: chunk.lost,
        writers: chunk.writers.values().map(|w| (w.writer, w.total)).collect(),
        forgotten,
        receipts: tally.messages(chunk),
    }))
}

/// Reads the plans and last moments of experiments met for the first time.
async fn learn(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    chunk: &Chunk<'_>,
    folding: &Folding<'_, '_>,
) -> Result<(), StoreError> {
    let named = chunk.events.iter().map(|e| e.experiment).filter(|id| !id.is_none());
    let mut unknown: Vec<ExperimentId> =
        named.chain(folding.enrolled_experiments()).filter(|id| !cache.knows(*id)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        let known = store.experiments(cache.partition, &unknown).await?;
        cache.learn(&unknown, known);
    }
    Ok(())
}

fn by_unit(past: Vec<Past>) -> HashMap<UnitId, Vec<Past>> {
    let mut map: HashMap<UnitId, Vec<Past>> = HashMap::new();
    for p in past {
        map.entry(p.unit).or_default().push(p);
    }
    map
}
