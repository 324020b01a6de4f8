//! What must come out, from the rules as the contract states them. Shares no code with the system's own fold:
//! each user's short list of sent events is looked at directly.

use super::enrolled::{Enrolled, excluded_by};
use super::script::{Author, DAY, Event, Key, User, What};
use super::world::{Experiment, Kind};
use std::collections::{BTreeMap, HashMap};

/// Everything expected of the events sent.
#[derive(Debug, Default, Clone)]
pub struct Oracle {
    /// Per experiment; the last one is the tenant's (conversions that name no experiment).
    pub counts: Vec<Counts>,
    /// Per experiment, per arm.
    pub arms: Vec<Vec<ArmTruth>>,
    /// Per experiment: users kept out of every arm.
    pub holdouts: Vec<ArmTruth>,
    /// Per experiment: conversions that name it, of users who are not in it.
    pub never_exposed: Vec<u64>,
    /// Every row, when asked for: memory grows with the events then.
    pub rows: Option<Rows>,
}

/// Outcomes of the events that name one experiment (or none).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    /// First exposures of a user, to the holdout too.
    pub exposures: u64,
    /// Conversions not seen before.
    pub conversions: u64,
    pub deduplicated: u64,
    /// Part of `deduplicated`.
    pub conflicts: u64,
    /// Part of `conversions`.
    pub keyless: u64,
    /// Told for the first time, or lifted.
    pub strata: u64,
    pub pre_period: u64,
    pub exclusions: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ArmTruth {
    pub enrolled: i64,
    pub crossovers: i64,
    pub earlier_seen: i64,
    pub excluded: i64,
    pub before: i64,
    pub after_window: i64,
    /// Users of whom a stratum or a value was told behind their exposure, or of a time not before it.
    pub told_late: i64,
    /// Users by stratum; empty = none was told.
    pub strata: BTreeMap<&'static str, i64>,
    /// Users that contribute to metrics.
    pub users: i64,
    pub metrics: Vec<MetricTruth>,
}

/// Sums over the contributing users; y is what the metric's kind says (1 or 0, sum in millionths, count).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MetricTruth {
    pub converters: i64,
    pub events: i64,
    pub y: i128,
    pub y_squared: i128,
    /// The same before the exposure (0 for ratios, which keep none), and its product with y.
    pub pre: i128,
    pub y_pre: i128,
}

#[derive(Debug, Default, Clone)]
pub struct Rows {
    /// (user, experiment, key as stored) -> what was sent first under the key.
    pub conversions: HashMap<(String, Option<u8>, String), Booking>,
    /// (user, experiment) -> (arm or -1, unix milliseconds or when it was received).
    pub enrollments: HashMap<(String, u8), (i16, Option<i64>)>,
}

/// What a stored conversion says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booking {
    /// Index into [`super::world::EVENTS`].
    pub event: u8,
    pub millionths: i64,
    /// Unix milliseconds; `None`: when it was received.
    pub at: Option<i64>,
}

/// What happens to one event when it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Recorded,
    Duplicate { conflict: bool },
}

/// The outcome of a user's next event, from those sent before it.
pub fn outcome(user: &User) -> Outcome {
    let (before, rest) = user.events.split_at(user.sent);
    let Some(event) = rest.first() else { return Outcome::Recorded };
    if let What::Exclusion { excluded } = event.what {
        // It says something new, or it says what holds.
        let holds = excluded_by(before.iter().filter(|earlier| earlier.experiment == event.experiment));
        return if holds == excluded { Outcome::Duplicate { conflict: false } } else { Outcome::Recorded };
    }
    let first = before.iter().find(|earlier| same_event(earlier, event));
    match first {
        None => Outcome::Recorded,
        Some(first) => Outcome::Duplicate { conflict: differ(first, event) },
    }
}

fn same_event(a: &Event, b: &Event) -> bool {
    a.experiment == b.experiment
        && match (a.what, b.what) {
            (What::Exposure { .. } | What::Holdout, What::Exposure { .. } | What::Holdout)
            | (What::Stratum { .. }, What::Stratum { .. }) => true,
            (What::Covariate { name: x, .. }, What::Covariate { name: y, .. }) => x == y,
            (What::Conversion { key: Some(x), .. }, What::Conversion { key: Some(y), .. }) => x == y,
            _ => false,
        }
}

/// Metric, value, or a time given both times; what is told without a key, by its value alone.
fn differ(a: &Event, b: &Event) -> bool {
    match (a.what, b.what) {
        (
            What::Conversion { event: e1, millionths: m1, .. },
            What::Conversion { event: e2, millionths: m2, .. },
        ) => (e1, m1) != (e2, m2) || (a.at.is_some() && b.at.is_some() && a.at != b.at),
        (What::Stratum { stratum: s1 }, What::Stratum { stratum: s2 }) => s1 != s2,
        (What::Covariate { millionths: m1, .. }, What::Covariate { millionths: m2, .. }) => m1 != m2,
        _ => false,
    }
}

impl Counts {
    pub fn count(&mut self, event: &Event, outcome: Outcome) {
        self.sent += 1;
        match (outcome, event.what) {
            (Outcome::Recorded, What::Exposure { .. } | What::Holdout) => self.exposures += 1,
            (Outcome::Recorded, What::Conversion { .. }) => self.conversions += 1,
            (Outcome::Recorded, What::Stratum { .. }) => self.strata += 1,
            (Outcome::Recorded, What::Covariate { .. }) => self.pre_period += 1,
            (Outcome::Recorded, What::Exclusion { .. }) => self.exclusions += 1,
            (Outcome::Duplicate { conflict }, _) => {
                self.deduplicated += 1;
                self.conflicts += u64::from(conflict);
            }
        }
        self.keyless += u64::from(matches!(event.what, What::Conversion { key: None, .. }));
    }

    /// The same events once more: nothing is recorded again, and what conflicted conflicts again.
    pub fn again(self) -> Counts {
        Counts { sent: self.sent, deduplicated: self.sent, conflicts: self.conflicts, ..Counts::default() }
    }

    pub fn add(&mut self, more: Counts) {
        self.sent += more.sent;
        self.exposures += more.exposures;
        self.conversions += more.conversions;
        self.deduplicated += more.deduplicated;
        self.conflicts += more.conflicts;
        self.keyless += more.keyless;
        self.strata += more.strata;
        self.pre_period += more.pre_period;
        self.exclusions += more.exclusions;
    }

    pub fn recorded(&self) -> u64 {
        self.exposures + self.conversions + self.told()
    }

    /// Recorded of what is told of users.
    pub fn told(&self) -> u64 {
        self.strata + self.pre_period + self.exclusions
    }
}

impl Oracle {
    pub fn new(experiments: &[Experiment], keep_rows: bool) -> Oracle {
        let arm = |e: &Experiment| ArmTruth {
            metrics: vec![MetricTruth::default(); e.metrics.len()],
            ..ArmTruth::default()
        };
        Oracle {
            counts: vec![Counts::default(); experiments.len() + 1],
            arms: experiments.iter().map(|e| vec![arm(e); e.arms.len()]).collect(),
            holdouts: experiments.iter().map(arm).collect(),
            never_exposed: vec![0; experiments.len()],
            rows: keep_rows.then(Rows::default),
        }
    }

    /// Where the events of `experiment` are counted.
    pub fn slot(experiment: Option<u8>, slots: usize) -> usize {
        experiment.map_or(slots.saturating_sub(1), usize::from)
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.iter().for_each(|c| total.add(*c));
        total
    }

    /// Adds a user of whom nothing more will be sent.
    pub fn settle(&mut self, author: &Author<'_>, user: &User) {
        let sent = user.events.get(..user.sent).unwrap_or_default();
        let kept: Vec<&Event> = sent
            .iter()
            .enumerate()
            .filter(|(i, e)| !sent.iter().take(*i).any(|earlier| same_event(earlier, e)))
            .map(|(_, e)| e)
            .collect();
        for (index, experiment) in (0u8..).zip(&author.world.experiments) {
            let slot = usize::from(index);
            let named: Vec<&Event> = sent.iter().filter(|e| e.experiment == Some(index)).collect();
            let Some(enrolled) = Enrolled::of(&named, author.now) else {
                let waiting = kept.iter().filter(|e| e.experiment == Some(index));
                let waiting = waiting.filter(|e| matches!(e.what, What::Conversion { .. })).count();
                if let Some(never) = self.never_exposed.get_mut(slot) {
                    *never += waiting as u64;
                }
                continue;
            };
            if let Some(rows) = &mut self.rows {
                rows.enrollments.insert((user.id.clone(), index), (enrolled.variation, enrolled.given));
            }
            let truth = match usize::try_from(enrolled.variation) {
                Ok(arm) => self.arms.get_mut(slot).and_then(|arms| arms.get_mut(arm)),
                Err(_) => self.holdouts.get_mut(slot),
            };
            let Some(truth) = truth else { continue };
            truth.add(experiment, index, &kept, &enrolled, author.now);
        }
    }

    pub fn merge(&mut self, other: Oracle) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.arms.iter_mut().flatten().zip(other.arms.into_iter().flatten()) {
            mine.merge(&theirs);
        }
        for (mine, theirs) in self.holdouts.iter_mut().zip(&other.holdouts) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.never_exposed.iter_mut().zip(&other.never_exposed) {
            *mine += theirs;
        }
        if let (Some(mine), Some(theirs)) = (&mut self.rows, other.rows) {
            mine.conversions.extend(theirs.conversions);
            mine.enrollments.extend(theirs.enrollments);
        }
    }
}

/// What one user did of one event, in an experiment.
#[derive(Default, Clone, Copy)]
struct Did {
    count: i64,
    sum: i128,
    pre_count: i64,
    pre_sum: i128,
}

const HOUR: i64 = 3_600_000;
const MILLION: i128 = 1_000_000;

impl ArmTruth {
    fn add(&mut self, experiment: &Experiment, index: u8, kept: &[&Event], enrolled: &Enrolled, now: i64) {
        let exposed = enrolled.exposed;
        self.enrolled += 1;
        self.crossovers += i64::from(enrolled.crossed);
        self.earlier_seen += i64::from(enrolled.earlier);
        self.told_late += i64::from(enrolled.late);
        *self.strata.entry(enrolled.stratum).or_default() += 1;
        let mut did: HashMap<u8, Did> = HashMap::new();
        for e in kept {
            let What::Conversion { event, millionths, .. } = e.what else { continue };
            if e.experiment.is_some_and(|named| named != index) || !experiment.uses(event) {
                continue;
            }
            let at = e.at.unwrap_or(now);
            let end = experiment.window_hours.map_or(i64::MAX, |h| exposed + i64::from(h) * HOUR);
            let did = did.entry(event).or_default();
            if at >= end {
                self.after_window += 1;
            } else if at >= exposed {
                did.count += 1;
                did.sum += i128::from(millionths);
            } else {
                self.before += 1;
                if at >= exposed - 14 * DAY && at < exposed - HOUR {
                    did.pre_count += 1;
                    did.pre_sum += i128::from(millionths);
                }
            }
        }
        if enrolled.excluded || (enrolled.crossed && experiment.exclude_crossovers) {
            self.excluded += 1;
            return;
        }
        self.users += 1;
        for (metric, truth) in experiment.metrics.iter().zip(&mut self.metrics) {
            let did = did.get(&metric.event).copied().unwrap_or_default();
            let cap = metric.cap.map_or(i128::MAX, i128::from);
            let (y, pre) = match metric.kind {
                Kind::Proportion => ((did.count > 0).into(), (did.pre_count > 0).into()),
                Kind::Mean => (did.sum.min(cap), did.pre_sum),
                Kind::Count => (did.count.into(), did.pre_count.into()),
                Kind::Ratio => (did.sum, 0),
            };
            let pre = match (enrolled.told(experiment, metric.event), metric.kind) {
                (Some(told), Kind::Proportion) => i128::from(told != 0),
                (Some(told), Kind::Mean) => told,
                // Whole ones.
                (Some(told), Kind::Count) => told / MILLION,
                (None, _) | (_, Kind::Ratio) => pre,
            };
            truth.converters += i64::from(did.count > 0);
            truth.events += did.count;
            truth.y += y;
            truth.y_squared += y * y;
            truth.pre += pre;
            truth.y_pre += y * pre;
        }
    }

    fn merge(&mut self, other: &ArmTruth) {
        self.enrolled += other.enrolled;
        self.crossovers += other.crossovers;
        self.earlier_seen += other.earlier_seen;
        self.excluded += other.excluded;
        self.before += other.before;
        self.after_window += other.after_window;
        self.told_late += other.told_late;
        for (stratum, users) in &other.strata {
            *self.strata.entry(stratum).or_default() += users;
        }
        self.users += other.users;
        for (mine, theirs) in self.metrics.iter_mut().zip(&other.metrics) {
            mine.converters += theirs.converters;
            mine.events += theirs.events;
            mine.y += theirs.y;
            mine.y_squared += theirs.y_squared;
            mine.pre += theirs.pre;
            mine.y_pre += theirs.y_pre;
        }
    }
}

impl Key {
    /// As it is sent.
    pub fn text(self, user: &str) -> String {
        match self {
            Key::Own(n) => format!("{user}/{n}"),
            Key::Common(n) => format!("daily-bonus-{n}"),
        }
    }
}
