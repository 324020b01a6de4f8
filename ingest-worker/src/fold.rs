//! The fold over a chunk: every unit touched, as it was and as it becomes.

use crate::cache::{PartitionCache, UnitCache};
use crate::chunk::{Chunk, Event, Kind};
use crate::sort::{Fate, Sorted, distinct, is_new};
use crate::strata::Strata;
use crate::tally::{Discard, NO_VARIATION, Tally, conflicts};
use domain::attributes::{Attribute, COVARIATES_MAX, Told};
use domain::codec::encode_unit;
use domain::event::{Conversion, Exposure};
use domain::fold::{self, Exposed, Fact, Seen};
use domain::ladder::{self, Dated};
use domain::{Day, Enrollment, ExperimentId, Moments, Overflow, Partition, Unit, UnitId};
use foldhash::{HashMap, HashMapExt};
use store::MomentsKey;
use store::apply::{Changes, HistoryOf, MomentsRow, NewUnit, Outcome, Past};

pub struct Folding<'c, 'a> {
    chunk: &'c Chunk<'a>,
    day: Day,
    units: HashMap<UnitId, Work<'a>>,
    strata: Strata,
}

struct Work<'a> {
    unit: Unit,
    /// As it was before the chunk; `None` = not changed.
    before: Option<Unit>,
    /// Has a row.
    stored: bool,
    tenant: &'a str,
    user_id: &'a str,
    /// New conversions folded so far: they are history for an exposure behind them.
    fresh: Vec<usize>,
}

/// The rows of the day that a chunk changes.
pub type Touched = HashMap<MomentsKey, Moments>;

impl<'c, 'a> Folding<'c, 'a> {
    pub fn new(chunk: &'c Chunk<'a>, day: Day) -> Folding<'c, 'a> {
        let mut units = HashMap::with_capacity(chunk.events.len() / 2);
        for event in &chunk.events {
            units.entry(event.unit).or_insert_with(|| Work {
                unit: Unit::default(),
                before: None,
                stored: false,
                tenant: chunk.frame(event).tenant,
                user_id: event.kind.user_id(),
                fresh: Vec::new(),
            });
        }
        Folding { chunk, day, units, strata: Strata::default() }
    }

    /// Takes what the cache has; returns the units it has not.
    pub fn take_from(&mut self, cache: &mut UnitCache) -> Vec<UnitId> {
        let mut missing = Vec::new();
        for (id, work) in &mut self.units {
            match cache.take(*id) {
                Some(unit) => (work.unit, work.stored) = (unit, true),
                None => missing.push(*id),
            }
        }
        missing.sort_unstable();
        missing
    }

    pub fn loaded(&mut self, rows: Vec<(UnitId, Unit)>) {
        for (id, unit) in rows {
            if let Some(work) = self.units.get_mut(&id) {
                (work.unit, work.stored) = (unit, true);
            }
        }
    }

    pub fn enrolled_experiments(&self) -> impl Iterator<Item = ExperimentId> {
        self.units.values().flat_map(|w| w.unit.enrollments.iter().map(|e| e.experiment))
    }

    /// Leaves out what the units just loaded have of plan versions that are not kept any more. Those from the cache are
    /// without it: another version empties the cache.
    pub fn prune(&mut self, cache: &PartitionCache, loaded: &[UnitId]) {
        for id in loaded {
            if let Some(work) = self.units.get_mut(id) {
                cache.prune(&mut work.unit);
            }
        }
    }

    pub fn is_erased(&self, unit: UnitId) -> bool {
        self.units.get(&unit).is_some_and(|work| work.unit.erased)
    }

    /// What must be read of users whom this chunk enrolls somewhere and who have conversions stored.
    pub fn history_needed<'p>(&self, cache: &'p PartitionCache, fates: &[Fate]) -> HistoryOf<'p> {
        let enrolls = |event: &&Event<'_>| {
            let work = self.units.get(&event.unit);
            work.is_some_and(|w| w.unit.has_conversions && w.unit.enrollment(event.experiment).is_none())
        };
        let exposures = self.chunk.events.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Exposure);
        let enrolled: Vec<&Event<'_>> = exposures.map(|(event, _)| event).filter(enrolls).collect();
        let experiments = distinct(enrolled.iter().map(|e| e.experiment));
        let known = experiments.iter().filter_map(|id| cache.experiment(*id));
        let plans =
            known.flat_map(|e| std::iter::once(&e.plan).chain(e.next.as_ref().map(|next| &next.plan)));
        let metrics = distinct(plans.flat_map(|plan| plan.events.iter().map(String::as_str)));
        HistoryOf { units: distinct(enrolled.iter().map(|e| e.unit)), experiments, metrics }
    }

    /// Folds every event in stream order. On overflow names the event; the units are then of no use any more.
    pub fn run(
        &mut self,
        cache: &PartitionCache,
        plan: &Sorted<'a>,
        outcomes: &[Outcome],
        past: &HashMap<UnitId, Vec<Past>>,
        tally: &mut Tally<'a>,
    ) -> Result<(), (usize, Overflow)> {
        let chunk = self.chunk;
        for (i, (event, fate)) in chunk.events.iter().zip(&plan.fates).enumerate() {
            let Some(work) = self.units.get_mut(&event.unit) else { continue };
            match (&event.kind, *fate) {
                (Kind::Exposure(_), Fate::Exposure) if work.comes_too_late(chunk, cache, event) => {
                    tally.discarded(chunk, event, Discard::AfterStop);
                }
                (Kind::Exposure(e), Fate::Exposure) => {
                    let past = past.get(&event.unit).map_or(&[][..], Vec::as_slice);
                    match work.expose(chunk, cache, event, e, self.day, past).map_err(|o| (i, o))? {
                        Exposed::Enrolled => {
                            tally.recorded(chunk, event, e.variation, self.day);
                            tally.never_exposed(chunk, event, -work.named(chunk, event.experiment, past));
                            if self.strata.bound(cache, &mut work.unit, event.experiment) {
                                tally.merged(chunk, event);
                            }
                        }
                        Exposed::Repeated { .. } => tally.deduplicated(chunk, event, e.variation, false),
                    }
                }
                (Kind::Conversion(c), Fate::Conversion { row, .. }) => {
                    let arm = work.arm(event.experiment);
                    if is_new(*fate, outcomes) {
                        work.convert(cache, &fact(chunk, event, c)).map_err(|o| (i, o))?;
                        work.fresh.push(i);
                        tally.recorded(chunk, event, arm.unwrap_or(NO_VARIATION), self.day);
                        let named = cache.experiment(event.experiment);
                        if named.is_some() && arm.is_none() {
                            tally.never_exposed(chunk, event, 1);
                        }
                        if named.is_some_and(|known| !known.uses(c.metric)) {
                            tally.unused(chunk, event, c.metric, cache);
                        }
                    } else {
                        let conflict = differs(plan, outcomes, row, c);
                        tally.deduplicated(chunk, event, arm.unwrap_or(NO_VARIATION), conflict);
                    }
                }
                (Kind::Told(told), Fate::Told) => {
                    let arm = work.arm(event.experiment).unwrap_or(NO_VARIATION);
                    match work.tell(event.experiment, told.attribute, self.day) {
                        Told::Changed => {
                            tally.recorded(chunk, event, arm, self.day);
                            if self.strata.bound(cache, &mut work.unit, event.experiment) {
                                tally.merged(chunk, event);
                            }
                        }
                        Told::Same => tally.deduplicated(chunk, event, arm, false),
                        Told::Conflict => tally.deduplicated(chunk, event, arm, true),
                        Told::TooMany => {
                            let detail = format!("the user has {COVARIATES_MAX} other covariates");
                            tally.dead(chunk, event, "too_many_covariates", detail);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The sums of every key that the changed units touch. On overflow names the unit.
    pub fn moments(&self, cache: &PartitionCache) -> Result<Touched, (UnitId, Overflow)> {
        let mut touched = Touched::new();
        for (id, work) in &self.units {
            let Some(before) = &work.before else { continue };
            for after in &work.unit.enrollments {
                let earlier = before.enrollment_of(after.experiment, after.plan_version);
                let Some(plan) = cache.plan(after) else { continue };
                if earlier == Some(after) {
                    continue;
                }
                for (from, to) in ladder::shifts(earlier, after) {
                    let Some(of) = to.or(from) else { continue };
                    let key = key_of(cache.partition, of);
                    let sums = touched.entry(key).or_insert_with_key(|key| cache.sums(key, self.day));
                    sums.shift(plan, from, to).map_err(|o| (*id, o))?;
                }
            }
        }
        Ok(touched)
    }

    /// Units and moments to be written.
    pub fn changes<'m>(&self, cache: &PartitionCache, moments: &'m Touched) -> Changes<'m>
    where
        'a: 'm,
    {
        let mut changes = Changes::default();
        for (id, work) in &self.units {
            match (&work.before, work.stored) {
                (None, _) => {}
                (Some(_), false) => changes.new_units.push(NewUnit {
                    id: *id,
                    tenant: work.tenant,
                    user_id: work.user_id,
                    state: encode_unit(&work.unit),
                }),
                (Some(before), true) if *before != work.unit => {
                    changes.changed_units.push((*id, encode_unit(&work.unit)));
                }
                (Some(_), true) => {}
            }
        }
        // Key order: index pages are touched once each.
        changes.new_units.sort_unstable_by_key(|u| u.id);
        changes.changed_units.sort_unstable_by_key(|u| u.0);
        let row = |(key, moments): (&MomentsKey, &'m Moments)| MomentsRow {
            key: key.clone(),
            day: self.day,
            moments,
            is_new: cache.is_new(key),
        };
        changes.moments = moments.iter().map(row).collect();
        changes
    }

    /// Gives the units back to the cache, as the transaction left them.
    pub fn keep(self, cache: &mut PartitionCache) {
        for (id, work) in self.units {
            if work.stored || work.before.is_some() {
                cache.units.put(id, work.unit);
            }
        }
    }
}

impl Work<'_> {
    fn expose(
        &mut self,
        chunk: &Chunk<'_>,
        cache: &PartitionCache,
        event: &Event<'_>,
        exposure: &Exposure<'_>,
        day: Day,
        past: &[Past],
    ) -> Result<Exposed, Overflow> {
        let at = chunk.occurred_at(event);
        let Some(known) = cache.experiment(event.experiment) else {
            return Ok(Exposed::Repeated { changed: false });
        };
        // Real traffic is mostly this: the same variation seen again.
        if let Some(e) = self.unit.enrollment(event.experiment)
            && e.variation == exposure.variation
            && at >= e.exposed_at
        {
            return Ok(Exposed::Repeated { changed: false });
        }
        self.snapshot();
        let seen = Seen { variation: exposure.variation, at, day, phase: known.phase };
        let stored = past.iter().map(|p| Fact {
            experiment: p.experiment,
            event: &p.metric,
            value: p.value,
            at: p.occurred_at,
        });
        let fresh = self.fresh.iter().filter_map(|&i| match &chunk.events[i].kind {
            Kind::Conversion(c) => Some(fact(chunk, &chunk.events[i], c)),
            Kind::Exposure(_) | Kind::Told(_) => None,
        });
        let history: Vec<Fact<'_>> = stored.chain(fresh).collect();
        let exposed = fold::expose(&mut self.unit, &known.plan, seen, history.iter().cloned())?;
        if exposed == Exposed::Enrolled
            && let Some(next) = known.next_of(event.unit)
        {
            let dated: Vec<Dated<'_>> = history.into_iter().map(|fact| Dated { day, fact }).collect();
            ladder::rebuild(&mut self.unit, next, &dated)?;
        }
        Ok(exposed)
    }

    fn convert(&mut self, cache: &PartitionCache, fact: &Fact<'_>) -> Result<(), Overflow> {
        if !self.unit.has_conversions || !self.unit.enrollments.is_empty() {
            self.snapshot();
        }
        fold::convert(&mut self.unit, fact, |e| cache.plan(e))?;
        Ok(())
    }

    /// The variation the user is enrolled in.
    fn arm(&self, experiment: ExperimentId) -> Option<i16> {
        self.unit.enrollment(experiment).map(|e| e.variation)
    }

    /// Conversions stored that name the experiment.
    fn named(&self, chunk: &Chunk<'_>, experiment: ExperimentId, past: &[Past]) -> i64 {
        let stored = past.iter().filter(|p| p.experiment == experiment).count();
        let fresh = self.fresh.iter().filter(|i| chunk.events[**i].experiment == experiment).count();
        i64::try_from(stored + fresh).unwrap_or(i64::MAX)
    }

    /// Whether an exposure that nobody had before occurred when its experiment was already stopped.
    fn comes_too_late(&self, chunk: &Chunk<'_>, cache: &PartitionCache, event: &Event<'_>) -> bool {
        let stopped_at = || cache.experiment(event.experiment).and_then(|known| known.stopped_at);
        event.after_stop
            && stopped_at().is_some_and(|stop| chunk.occurred_at(event) >= stop)
            && self.unit.enrollment(event.experiment).is_none()
    }

    fn tell(&mut self, experiment: ExperimentId, attribute: Attribute<'_>, day: Day) -> Told {
        let before = self.unit.clone();
        let told = fold::tell(&mut self.unit, experiment, attribute, day);
        if self.unit != before {
            self.before.get_or_insert(before);
        }
        told
    }

    fn snapshot(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.unit.clone());
        }
    }
}

pub fn key_of(partition: Partition, of: &Enrollment) -> MomentsKey {
    MomentsKey {
        experiment: of.experiment,
        plan_version: of.plan_version,
        partition,
        variation: of.variation,
        stratum: of.stratum().to_owned(),
        phase: of.phase,
    }
}

fn fact<'a>(chunk: &Chunk<'_>, event: &Event<'_>, c: &Conversion<'a>) -> Fact<'a> {
    Fact { experiment: event.experiment, event: c.metric, value: c.value, at: chunk.occurred_at(event) }
}

/// Whether a repeated conversion says something else than the one that counted.
fn differs(plan: &Sorted<'_>, outcomes: &[Outcome], row: usize, c: &Conversion<'_>) -> bool {
    match (outcomes.get(row), plan.conversions.get(row)) {
        // Stored by this very chunk, under the same key.
        (Some(Outcome::New), Some(first)) => {
            let known = Outcome::Known {
                metric: first.metric.to_owned(),
                value: first.value,
                occurred_given: first.occurred_given,
            };
            conflicts(&known, c.metric, c.value, c.occurred_given)
        }
        (Some(known), _) => conflicts(known, c.metric, c.value, c.occurred_given),
        (None, _) => false,
    }
}
