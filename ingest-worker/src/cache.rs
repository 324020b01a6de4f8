//! What the owner of a partition remembers between transactions. Valid exactly while its compare-and-set succeeds;
//! dropped whole when anything fails.

use crate::chunk::Writers;
use domain::{Day, ExperimentId, Moments, Partition, Plan, Unit, UnitId};
use foldhash::{HashMap, HashMapExt};
use queue::numbering::is_forgotten;
use std::sync::Arc;
use store::apply::{Known, PartitionState};
use store::{Experiment, MomentsKey};
use uuid::Uuid;

/// Weight kept per partition and generation. A unit weighs 1, and 1 for each enrollment, tally and attribute, some 100
/// bytes apiece: two generations of 30,000, times 16 partitions, stay below 100 MiB.
const WEIGHT_PER_GENERATION: usize = 30_000;
/// Most experiments remembered per partition; past it the memory of them is dropped and read again.
const EXPERIMENTS: usize = 10_000;

pub struct PartitionCache {
    pub partition: Partition,
    pub epoch: i64,
    pub position: String,
    /// The stream read from now on is another than that of `position`; not yet in the books.
    pub replaced: bool,
    pub day: Day,
    pub writers: Writers,
    pub units: UnitCache,
    experiments: HashMap<ExperimentId, Option<Arc<Catalogued>>>,
    pub moments: HashMap<MomentsKey, Kept>,
}

/// An experiment that exists, ready to be folded with.
pub struct Catalogued {
    pub tenant: String,
    pub plan: Plan,
}

/// Cumulative sums of a key, and whether it has a row of any day.
#[derive(Clone, Default)]
pub struct Kept {
    pub moments: Moments,
    pub stored: bool,
}

impl PartitionCache {
    pub fn new(partition: Partition, state: PartitionState) -> PartitionCache {
        PartitionCache {
            partition,
            epoch: state.epoch,
            position: state.position,
            replaced: false,
            day: state.day,
            writers: state.writers.into_iter().map(|w| (w.writer, w)).collect(),
            units: UnitCache::default(),
            experiments: HashMap::new(),
            moments: HashMap::new(),
        }
    }

    /// Writers that have been silent for too long at `now_ms` of stream time.
    pub fn silent_writers(&self, now_ms: u64) -> Vec<Uuid> {
        let silent = self.writers.values().filter(|w| is_forgotten(w.seen_ms, now_ms));
        silent.map(|w| w.writer).collect()
    }

    /// Whether the experiment's plan (or its absence) is remembered.
    pub fn knows(&self, id: ExperimentId) -> bool {
        self.experiments.contains_key(&id)
    }

    /// `None`: it does not exist (any more), or is not remembered.
    pub fn experiment(&self, id: ExperimentId) -> Option<&Catalogued> {
        self.experiments.get(&id).and_then(|e| e.as_deref())
    }

    /// Forgets all experiments when too many are remembered. Between transactions only: a chunk relies on what it has
    /// learnt.
    pub fn bound_experiments(&mut self) {
        if self.experiments.len() > EXPERIMENTS {
            self.experiments.clear();
            self.moments.clear();
        }
    }

    /// Remembers what the store said of `asked`; those it does not know do not exist.
    pub fn learn(&mut self, asked: &[ExperimentId], known: Known) {
        self.experiments.extend(asked.iter().map(|id| (*id, None)));
        for e in known.experiments {
            self.experiments.insert(e.id, Some(Arc::new(Catalogued::from(e))));
        }
        for row in known.moments {
            self.moments.insert(row.key, Kept { moments: row.moments, stored: true });
        }
    }
}

impl From<Experiment> for Catalogued {
    fn from(e: Experiment) -> Catalogued {
        Catalogued { plan: e.plan(), tenant: e.tenant }
    }
}

/// Units last touched, in two generations: when the younger is full, the older is forgotten.
#[derive(Default)]
pub struct UnitCache {
    young: HashMap<UnitId, Unit>,
    old: HashMap<UnitId, Unit>,
    /// Of the younger generation.
    weight: usize,
}

impl UnitCache {
    pub fn take(&mut self, id: UnitId) -> Option<Unit> {
        // What is taken out is put back heavier or as heavy, so its weight is left counted: generations turn a little
        // early, never late.
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }

    pub fn put(&mut self, id: UnitId, unit: Unit) {
        if self.weight >= WEIGHT_PER_GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        let enrolled = unit.enrollments.iter().map(|e| 1 + e.tallies.len() + e.attributes.len());
        let waiting = unit.waiting.iter().map(|(_, attributes)| 1 + attributes.len());
        self.weight += 1 + enrolled.chain(waiting).sum::<usize>();
        self.young.insert(id, unit);
    }

    /// Units remembered.
    pub fn size(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
