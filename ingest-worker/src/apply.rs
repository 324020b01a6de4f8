//! The apply transaction: position, units, conversions, fold, moments, receipts, all or nothing.
//!
//! Everything an entry does happens here, in the one transaction that also moves the position past it: so it
//! happens once, in stream order, whoever else is alive.

use crate::cache::{Catalogued, PartitionCache};
use crate::chunk::{Chunk, Event, Kind};
use crate::fold::Folding;
use crate::tally::Tally;
use domain::event::{Conversion, Key};
use domain::{Day, ExperimentId, Overflow, UnitId};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use queue::reader::{Entry, EntryId};
use queue::receipts::ReceiptMessage;
use std::borrow::Cow;
use store::apply::{Advance, ApplyStore, NewConversion, Outcome, Past};
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

/// Events that cannot be folded, by index in the chunk, with what overflowed.
type Culprits = HashMap<usize, Overflow>;

/// Applies `entries` (of one day: `day`) in one transaction. After an error the cache must be dropped.
pub async fn apply<S: ApplyStore>(
    store: &mut S,
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
async fn attempt<'a, S: ApplyStore>(
    store: &mut S,
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
        rewinds: last.id < crate::source::position(&cache.position),
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
async fn learn<S: ApplyStore>(
    store: &mut S,
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

/// What to do with each event, before the database has told which conversions are new.
pub struct Sorted<'a> {
    /// One per event of the chunk.
    pub fates: Vec<Fate>,
    /// To be stored; distinct.
    pub conversions: Vec<NewConversion<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Already counted: dead-lettered or discarded.
    Settled,
    Exposure,
    /// Index into [`Sorted::conversions`]; `first` of its key in this chunk.
    Conversion {
        row: usize,
        first: bool,
    },
}

fn sort_out<'a>(
    cache: &PartitionCache,
    chunk: &Chunk<'a>,
    culprits: &Culprits,
    tally: &mut Tally<'a>,
) -> Sorted<'a> {
    let mut fates = Vec::with_capacity(chunk.events.len());
    let mut conversions: Vec<NewConversion<'a>> = Vec::new();
    let mut rows: HashMap<(UnitId, ExperimentId, Cow<'a, str>), usize> = HashMap::new();
    for (i, event) in chunk.events.iter().enumerate() {
        if let Some(overflow) = culprits.get(&i) {
            tally.dead(chunk, event, "overflow", overflow.to_string());
            fates.push(Fate::Settled);
            continue;
        }
        if !belongs(cache, chunk, event, tally) {
            fates.push(Fate::Settled);
            continue;
        }
        fates.push(match &event.kind {
            Kind::Exposure(_) => Fate::Exposure,
            Kind::Conversion(c) => {
                let row = new_conversion(chunk, event, c);
                let next = conversions.len();
                let at = *rows.entry((event.unit, event.experiment, row.key.clone())).or_insert(next);
                if at == next {
                    conversions.push(row);
                }
                Fate::Conversion { row: at, first: at == next }
            }
        });
    }
    Sorted { fates, conversions }
}

/// Whether the event's experiment exists, is its tenant's, and has its variation; counts the event if not.
fn belongs<'a>(cache: &PartitionCache, chunk: &Chunk<'a>, event: &Event<'a>, tally: &mut Tally<'a>) -> bool {
    if event.experiment.is_none() {
        return true;
    }
    let Some(Catalogued { tenant, plan }) = cache.experiment(event.experiment) else {
        tally.discarded(chunk, event);
        return false;
    };
    if tenant != chunk.frame(event).tenant {
        tally.dead(chunk, event, "wrong_tenant", "the experiment belongs to another tenant".into());
        return false;
    }
    if let Kind::Exposure(e) = &event.kind
        && !(-1..i32::from(plan.variations)).contains(&i32::from(e.variation))
    {
        let detail = format!("variation {} of {}", e.variation, plan.variations);
        tally.dead(chunk, event, "unknown_variation", detail);
        return false;
    }
    true
}

fn new_conversion<'a>(chunk: &Chunk<'a>, event: &Event<'a>, c: &Conversion<'a>) -> NewConversion<'a> {
    let frame = chunk.frame(event);
    NewConversion {
        unit: event.unit,
        tenant: frame.tenant,
        experiment: event.experiment,
        key: match c.key {
            Key::Client(key) => Cow::Borrowed(key),
            Key::Index(index) => Cow::Owned(frame.batch.key_of(index)),
        },
        metric: c.metric,
        value: c.value,
        occurred_at: chunk.occurred_at(event),
        occurred_given: c.occurred_given,
        received_at: frame.received_at,
        batch: frame.batch,
    }
}

fn by_unit(past: Vec<Past>) -> HashMap<UnitId, Vec<Past>> {
    let mut map: HashMap<UnitId, Vec<Past>> = HashMap::new();
    for p in past {
        map.entry(p.unit).or_default().push(p);
    }
    map
}

/// Whether a conversion was new; of one whose key came before in the same chunk, never.
pub fn is_new(fate: Fate, outcomes: &[Outcome]) -> bool {
    matches!(fate, Fate::Conversion { row, first: true } if outcomes.get(row) == Some(&Outcome::New))
}

/// Distinct values in order of first appearance.
pub fn distinct<T: Copy + Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.filter(|item| seen.insert(*item)).collect()
}
