//! What the owner of a partition remembers between transactions. Valid exactly while its compare-and-set succeeds;
//! dropped whole when anything fails.

use crate::chunk::Writers;
use domain::{Day, Enrollment, ExperimentId, Moments, Partition, Plan, Timestamp, Unit, UnitId};
use foldhash::{HashMap, HashMapExt, HashSet};
use queue::numbering::is_forgotten;
use std::collections::BTreeMap;
use store::apply::{Known, PartitionState, RebuildRow};
use store::{Experiment, MomentsKey};
use uuid::Uuid;

/// Weight kept per partition and generation. A unit weighs 1, and 1 for each enrollment, tally and attribute, some 100
/// bytes apiece, and what the allocator adds: two generations of 20,000, times 16 partitions. Twelve million events on
/// end took a worker to 243 MiB, where 30,000 took it to 297.
const WEIGHT_PER_GENERATION: usize = 20_000;
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
    experiments: HashMap<ExperimentId, Option<Catalogued>>,
    pub moments: HashMap<MomentsKey, Kept>,
    /// Of versions being built: what changed on each day.
    pub building: HashMap<MomentsKey, BTreeMap<Day, Moments>>,
    /// Counters of metrics without a plan that this owner has written.
    pub unused: HashMap<ExperimentId, HashSet<String>>,
}

/// An experiment whose sums are kept up, ready to be folded with.
pub struct Catalogued {
    pub tenant: String,
    /// What names it is discarded; what is the tenant's goes on counting in it, for it may be restored.
    pub deleted: bool,
    pub plan: Plan,
    /// In which users enroll.
    pub phase: u16,
    pub stopped_at: Option<Timestamp>,
    pub next: Option<Next>,
}

/// A plan version that is being built.
pub struct Next {
    pub plan: Plan,
    /// Units up to here have tallies of it.
    pub cursor: Option<UnitId>,
    /// All units have.
    pub done: bool,
}

impl Catalogued {
    /// The plan of one of its versions that are kept.
    pub fn plan_of(&self, version: u32) -> Option<&Plan> {
        let next = self.next.as_ref().map(|next| &next.plan);
        std::iter::once(&self.plan).chain(next).find(|plan| plan.version == version)
    }

    /// Whether a metric of any version counts conversions of this name.
    pub fn uses(&self, metric: &str) -> bool {
        let next = self.next.as_ref().map(|next| &next.plan);
        std::iter::once(&self.plan).chain(next).any(|plan| plan.event_index(metric).is_some())
    }

    /// What is being built, if the unit has tallies of it.
    pub fn next_of(&self, unit: UnitId) -> Option<&Plan> {
        let reached = |next: &&Next| next.done || next.cursor.is_some_and(|cursor| unit <= cursor);
        self.next.as_ref().filter(reached).map(|next| &next.plan)
    }
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
            building: HashMap::new(),
            unused: HashMap::new(),
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

    /// `None`: it does not exist, its raw rows are purged, or it is not remembered.
    pub fn experiment(&self, id: ExperimentId) -> Option<&Catalogued> {
        self.experiments.get(&id).and_then(Option::as_ref)
    }

    pub fn experiment_mut(&mut self, id: ExperimentId) -> Option<&mut Catalogued> {
        self.experiments.get_mut(&id).and_then(Option::as_mut)
    }

    /// The plan of an enrollment; `None`: its experiment does not exist, or its version is not kept any more.
    pub fn plan(&self, of: &Enrollment) -> Option<&Plan> {
        self.experiment(of.experiment)?.plan_of(of.plan_version)
    }

    /// Leaves out what is left of plan versions that are not kept any more.
    pub fn prune(&self, unit: &mut Unit) {
        let known = |e: &Enrollment| self.experiment(e.experiment);
        unit.enrollments.retain(|e| known(e).is_none_or(|known| known.plan_of(e.plan_version).is_some()));
    }

    /// Whether the rows of a key are what changed on each day, not what it came to.
    pub fn is_building(&self, key: &MomentsKey) -> bool {
        let next = self.experiment(key.experiment).and_then(|e| e.next.as_ref());
        next.is_some_and(|next| !next.done && next.plan.version == key.plan_version)
    }

    /// What a change on `day` is added to.
    pub fn sums(&self, key: &MomentsKey, day: Day) -> Moments {
        let sums = if self.is_building(key) {
            self.building.get(key).and_then(|days| days.get(&day))
        } else {
            self.moments.get(key).map(|kept| &kept.moments)
        };
        sums.cloned().unwrap_or_default()
    }

    /// Whether the key has no row of any day.
    pub fn is_new(&self, key: &MomentsKey) -> bool {
        if self.is_building(key) {
            !self.building.contains_key(key)
        } else {
            !self.moments.get(key).is_some_and(|kept| kept.stored)
        }
    }

    /// After the commit: the row of `day`.
    pub fn remember(&mut self, key: MomentsKey, day: Day, moments: Moments) {
        if self.is_building(&key) {
            self.building.entry(key).or_default().insert(day, moments);
        } else {
            self.moments.insert(key, Kept { moments, stored: true });
        }
    }

    /// Forgets all experiments when too many are remembered. Between transactions only: a chunk relies on what it has
    /// learnt.
    pub fn bound_experiments(&mut self) {
        if self.experiments.len() > EXPERIMENTS {
            self.experiments.clear();
            self.moments.clear();
            self.building.clear();
            self.unused.clear();
        }
    }

    /// Remembers what the store said of `asked`; those it does not know do not exist.
    pub fn learn(&mut self, asked: &[ExperimentId], known: Known) {
        self.experiments.extend(asked.iter().map(|id| (*id, None)));
        // Nothing changes the sums of one whose raw rows are purged: what came a second time would count again.
        for e in known.experiments.into_iter().filter(|e| e.purged_at.is_none()) {
            let row = known.rebuilds.iter().find(|row| row.experiment == e.id);
            let deleted = known.deleted.contains(&e.id);
            self.experiments.insert(e.id, Some(catalogued(e, deleted, row)));
        }
        for row in known.moments {
            if !self.is_building(&row.key) {
                self.moments.insert(row.key, Kept { moments: row.moments, stored: true });
            }
        }
        for row in known.days {
            self.building.entry(row.key).or_default().insert(row.day, row.moments);
        }
    }
}

fn catalogued(e: Experiment, deleted: bool, row: Option<&RebuildRow>) -> Catalogued {
    let plan = e.next_plan();
    let next = plan.map(|plan| {
        let row = row.filter(|row| row.version == plan.version);
        Next { plan, cursor: row.and_then(|row| row.cursor), done: row.is_some_and(|row| row.done) }
    });
    Catalogued { plan: e.plan(), phase: e.phase(), stopped_at: e.stopped_at, next, deleted, tenant: e.tenant }
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
