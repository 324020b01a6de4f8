//! The apply transaction: position, units, conversions, fold, moments, receipts, all or nothing.
//!
//! Everything an entry does happens here, in the one transaction that also moves the position past it: so it
//! happens once, in stream order, whoever else is alive.

use crate::cache::PartitionCache;
use crate::chunk::{Chunk, Event};
use crate::fold::{Folding, Touched};
use crate::letters::{self, LetterCounts};
use crate::poison;
use crate::sort::{Culprit, Culprits, distinct, sort_out};
use crate::tally::Tally;
use domain::{Day, ExperimentId, Overflow, UnitId};
use foldhash::{HashMap, HashMapExt};
use queue::reader::{Entry, EntryId};
use queue::receipts::ReceiptMessage;
use service::traces::AppliedRequest;
use std::collections::BTreeMap;
use store::apply::{Advance, ApplyStore, NewLoss, Past};
use store::{ErrorKind, StoreError, WriterRow};

/// What a committed transaction did.
#[derive(Debug, Default)]
pub struct Applied {
    pub position: EntryId,
    pub events: u64,
    pub totals: crate::tally::Totals,
    pub letters: LetterCounts,
    /// Events discarded, by reason.
    pub discards: BTreeMap<&'static str, u64>,
    pub resent: u64,
    pub lost: u64,
    /// The applied totals of the writers seen.
    pub writers: Vec<(uuid::Uuid, u64)>,
    /// Writers not remembered any more.
    pub forgotten: Vec<uuid::Uuid>,
    pub receipts: Vec<ReceiptMessage>,
    /// Requests that are traced.
    pub traced: Vec<AppliedRequest>,
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
    /// The database refuses something in one of several entries: to be applied one by one.
    #[error("the database refuses something of these entries")]
    Refused(#[source] StoreError),
}

/// Applies `entries` (of one day: `day`) in one transaction. After an error the cache must be dropped.
///
/// Events that cannot be applied, because a sum would overflow or because the database refuses them, are
/// dead-lettered in the transaction of all others. A refusal is believed the second time, with an empty cache, and
/// then looked into only if `entries` is a single one: otherwise [`ApplyError::Refused`]. A tenant with `max_letters`
/// dead letters gets no more with a payload.
pub async fn apply(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    entries: &[Entry],
    day: Day,
    max_letters: u64,
) -> Result<Applied, ApplyError> {
    let chunk = Chunk::read(entries, &cache.writers);
    apply_chunk(store, cache, entries, &chunk, day, max_letters).await
}

/// Dead-letters an entry unread: it kills whoever applies it.
pub async fn bury(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    entry: &Entry,
    day: Day,
    max_letters: u64,
) -> Result<Applied, ApplyError> {
    let chunk = Chunk::unread(entry, &cache.writers);
    apply_chunk(store, cache, std::slice::from_ref(entry), &chunk, day, max_letters).await
}

async fn apply_chunk(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    entries: &[Entry],
    chunk: &Chunk<'_>,
    day: Day,
    max_letters: u64,
) -> Result<Applied, ApplyError> {
    let Some(last) = entries.last() else { return Ok(Applied::default()) };
    let mut culprits = Culprits::new();
    let mut fresh = false;
    loop {
        let (last, before) = (last.id, chunk.events.len());
        let trial = Trial { chunk, last, day, max_letters, culprits: &culprits, before };
        let refused = match trial.run(store, cache).await {
            Ok(Ok(written)) => {
                store.commit().await?;
                return Ok(written.keep(chunk, cache));
            }
            Ok(Err((event, overflow))) => {
                culprits.insert(event, Culprit::Overflow(overflow));
                restart(store, cache).await?;
                fresh = true;
                continue;
            }
            Err(ApplyError::Store(error)) if error.kind() == ErrorKind::Data => error,
            Err(error) => return Err(error),
        };
        restart(store, cache).await?;
        if !fresh {
            fresh = true;
            continue;
        }
        if entries.len() > 1 {
            return Err(ApplyError::Refused(refused));
        }
        let search = poison::first_refused(store, cache, chunk, last, day, max_letters, &mut culprits);
        let found = search.await?;
        // Not an event's fault: for whoever operates the database.
        let Some(event) = found else { return Err(refused.into()) };
        poison::condemn(chunk, event, &refused, &mut culprits);
    }
}

/// Gives the transaction up and begins anew with an empty cache, if the partition still stands where we left it.
pub(crate) async fn restart(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
) -> Result<(), ApplyError> {
    store.rollback().await?;
    let state = store.load(cache.partition).await?;
    if (&state.position, state.epoch) != (&cache.position, cache.epoch) {
        return Err(ApplyError::Moved(cache.partition));
    }
    let replaced = cache.replaced;
    *cache = PartitionCache::new(cache.partition, state);
    cache.replaced = replaced;
    Ok(())
}

/// One try of a chunk: everything but the commit.
#[derive(Clone, Copy)]
pub(crate) struct Trial<'t, 'a> {
    pub chunk: &'t Chunk<'a>,
    /// The last entry.
    pub last: EntryId,
    pub day: Day,
    pub max_letters: u64,
    pub culprits: &'t Culprits,
    /// Only events before this one are applied; fewer than all to find out who is refused.
    pub before: usize,
}

/// A chunk that is written and not committed.
pub(crate) struct Written<'t, 'a> {
    advance: Advance,
    folding: Folding<'t, 'a>,
    moments: Touched,
    tally: Tally<'a>,
    letters: LetterCounts,
    forgotten: Vec<uuid::Uuid>,
}

impl<'t, 'a> Trial<'t, 'a> {
    /// The inner error names an event that cannot be folded: the transaction is still open.
    pub async fn run(
        self,
        store: &mut dyn ApplyStore,
        cache: &mut PartitionCache,
    ) -> Result<Result<Written<'t, 'a>, (usize, Overflow)>, ApplyError> {
        let Trial { chunk, last, day, max_letters, culprits, before } = self;
        let advance = Advance {
            partition: cache.partition,
            epoch: cache.epoch,
            from: cache.position.clone(),
            to: last.to_string(),
            day,
            accepted: chunk.accepted,
            lost: chunk.lost,
            rewinds: last <= crate::source::position(&cache.position),
        };
        cache.bound_experiments();
        let mut folding = Folding::new(chunk, day);
        let missing = folding.take_from(&mut cache.units);
        let loaded = store.begin(&advance, &missing).await?.ok_or(ApplyError::Moved(cache.partition))?;
        folding.loaded(loaded);
        let named = chunk.events.iter().map(|e| e.experiment).filter(|id| !id.is_none());
        learn(store, cache, named.chain(folding.enrolled_experiments())).await?;
        folding.prune(cache, &missing);

        let mut tally = Tally::new(chunk);
        let plan = sort_out(cache, chunk, culprits, before, |unit| folding.is_erased(unit), &mut tally);
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
                let last = chunk.events.iter().enumerate().take(before).rfind(of_unit);
                return Ok(Err((last.map_or(0, |(i, _)| i), overflow)));
            }
        };
        let mut changes = folding.changes(cache, &moments);
        let letters;
        (changes.dead_letters, letters) = letters::bounded(store, &mut tally, max_letters).await?;
        changes.counters = tally.counters();
        changes.receipts = tally.receipts(chunk);
        changes.losses = losses(cache.replaced, chunk, last);
        changes.writers = chunk.writers.values().copied().collect();
        changes.forgotten = cache.silent_writers(last.ms);
        changes.forgotten.retain(|w| !chunk.writers.contains_key(w));
        store.write(&advance, &changes).await?;
        let forgotten = std::mem::take(&mut changes.forgotten);
        drop(changes);
        Ok(Ok(Written { advance, folding, moments, tally, letters, forgotten }))
    }
}

/// That the stream was replaced is told before what that has cost.
fn losses(replaced: bool, chunk: &Chunk<'_>, last: EntryId) -> Vec<NewLoss> {
    let entry = last.to_string();
    let replacement = NewLoss { writer: None, first: 0, last: 0, events: 0, entry, why: "stream_replaced" };
    replaced.then_some(replacement).into_iter().chain(chunk.losses.iter().cloned()).collect()
}

impl<'a> Written<'_, 'a> {
    /// After the commit: what is remembered, and what is told.
    fn keep(self, chunk: &Chunk<'a>, cache: &mut PartitionCache) -> Applied {
        let Written { advance, folding, moments, tally, letters, forgotten } = self;
        tally.log(chunk, cache.partition);
        folding.keep(cache);
        for (key, moments) in moments {
            cache.remember(key, advance.day, moments);
        }
        for (experiment, name) in tally.unused_names() {
            let known = cache.unused.entry(experiment).or_default();
            if !known.contains(name) {
                known.insert(name.clone());
            }
        }
        let position = crate::source::position(&advance.to);
        cache.position = advance.to;
        cache.replaced = false;
        cache.epoch += i64::from(advance.rewinds);
        cache.day = advance.day;
        cache.writers.retain(|id, _| !forgotten.contains(id));
        cache.writers.extend(chunk.writers.iter().map(|(id, row)| (*id, *row)));
        Applied {
            position,
            events: chunk.accepted - chunk.lost,
            totals: tally.totals,
            letters,
            resent: chunk.resent,
            lost: chunk.lost,
            writers: chunk.writers.values().map(|w| (w.writer, w.total)).collect(),
            forgotten,
            receipts: tally.messages(chunk),
            traced: tally.traced(chunk, cache.partition),
            discards: tally.discards,
        }
    }
}

/// Reads the plans and last moments of experiments met for the first time.
pub(crate) async fn learn(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    experiments: impl Iterator<Item = ExperimentId>,
) -> Result<(), StoreError> {
    let unknown = distinct(experiments.filter(|id| !cache.knows(*id)));
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
