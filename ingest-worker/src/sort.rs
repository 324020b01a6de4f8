//! What to do with each event of a chunk, before the database has told which conversions are new.

use crate::cache::{Catalogued, PartitionCache};
use crate::chunk::{Chunk, Event, Kind};
use crate::tally::{Discard, Tally};
use domain::event::{Conversion, Key};
use domain::{ExperimentId, Overflow, UnitId};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use std::borrow::Cow;
use store::apply::{NewConversion, Outcome};

/// Events that cannot be applied, by index in the chunk.
pub type Culprits = HashMap<usize, Culprit>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// A sum would leave its range.
    Overflow(Overflow),
    /// The database refuses a value; in the words of [`store::StoreError`], which hold none.
    Refused(String),
}

/// The events of a chunk, each with its fate.
pub struct Sorted<'a> {
    /// One per event of the chunk.
    pub fates: Vec<Fate>,
    /// To be stored; distinct.
    pub conversions: Vec<NewConversion<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Already counted, as dead-lettered or discarded, or left out of this try.
    Settled,
    Exposure,
    Told,
    /// Index into [`Sorted::conversions`]; `first` of its key in this chunk.
    Conversion {
        row: usize,
        first: bool,
    },
}

impl Culprit {
    /// Reason and detail of its dead letter.
    fn told(&self) -> (&'static str, String) {
        match self {
            Culprit::Overflow(overflow) => ("overflow", overflow.to_string()),
            Culprit::Refused(error) => ("refused", error.clone()),
        }
    }
}

/// Events from `before` on are left out.
pub fn sort_out<'a>(
    cache: &PartitionCache,
    chunk: &Chunk<'a>,
    culprits: &Culprits,
    before: usize,
    erased: impl Fn(UnitId) -> bool,
    tally: &mut Tally<'a>,
) -> Sorted<'a> {
    let mut fates = Vec::with_capacity(chunk.events.len());
    let mut conversions: Vec<NewConversion<'a>> = Vec::new();
    let mut rows: HashMap<(UnitId, ExperimentId, Cow<'a, str>), usize> = HashMap::new();
    for (i, event) in chunk.events.iter().enumerate() {
        if i >= before {
            fates.push(Fate::Settled);
            continue;
        }
        if let Some(culprit) = culprits.get(&i) {
            let (reason, detail) = culprit.told();
            tally.dead(chunk, event, reason, detail);
            fates.push(Fate::Settled);
            continue;
        }
        if erased(event.unit) {
            tally.discarded(chunk, event, Discard::Erased);
            fates.push(Fate::Settled);
            continue;
        }
        if !belongs(cache, chunk, event, tally) {
            fates.push(Fate::Settled);
            continue;
        }
        fates.push(match &event.kind {
            Kind::Exposure(_) => Fate::Exposure,
            Kind::Told(_) => Fate::Told,
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
        if matches!(event.kind, Kind::Told(_)) {
            tally.dead(chunk, event, "no_experiment", "the event names no experiment".into());
            return false;
        }
        return true;
    }
    let known = cache.experiment(event.experiment).filter(|known| !known.deleted);
    let Some(Catalogued { tenant, plan, .. }) = known else {
        tally.discarded(chunk, event, Discard::DeletedExperiment);
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

/// Whether a conversion was new; of one whose key came before in the same chunk, never.
pub fn is_new(fate: Fate, outcomes: &[Outcome]) -> bool {
    matches!(fate, Fate::Conversion { row, first: true } if outcomes.get(row) == Some(&Outcome::New))
}

/// Distinct values in order of first appearance.
pub fn distinct<T: Copy + Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.filter(|item| seen.insert(*item)).collect()
}
