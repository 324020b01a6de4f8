//! What must come out, from the rules as the contract states them. Shares no code with the system's own fold:
//! each user's short list of sent events is looked at directly.

use super::script::{Author, DAY, Event, Key, User, What};
use super::world::{Experiment, Kind};
use std::collections::HashMap;

/// Everything expected of the events sent.
#[derive(Debug, Default, Clone)]
pub struct Oracle {
    /// Per experiment; the last one is the tenant's (conversions that name no experiment).
    pub counts: Vec<Counts>,
    /// Per experiment, per arm.
    pub arms: Vec<Vec<ArmTruth>>,
    /// Every row, when asked for: memory grows with the events then.
    pub rows: Option<Rows>,
}

/// Outcomes of the events that name one experiment (or none).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    /// First exposures of a user.
    pub exposures: u64,
    /// Conversions not seen before.
    pub conversions: u64,
    pub deduplicated: u64,
    /// Part of `deduplicated`.
    pub conflicts: u64,
    /// Part of `conversions`.
    pub keyless: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ArmTruth {
    pub enrolled: i64,
    pub crossovers: i64,
    pub earlier_seen: i64,
    pub excluded: i64,
    pub before: i64,
    pub after_window: i64,
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
    /// (user, experiment) -> (arm, unix milliseconds).
    pub enrollments: HashMap<(String, u8), (u8, i64)>,
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
    let first = before.iter().find(|earlier| same_event(earlier, event));
    match first {
        None => Outcome::Recorded,
        Some(first) => Outcome::Duplicate { conflict: differ(first, event) },
    }
}

fn same_event(a: &Event, b: &Event) -> bool {
    a.experiment == b.experiment
        && match (a.what, b.what) {
            (What::Exposure { .. }, What::Exposure { .. }) => true,
            (What::Conversion { key: Some(x), .. }, What::Conversion { key: Some(y), .. }) => x == y,
            _ => false,
        }
}

/// Metric, value, or a time given both times.
fn differ(a: &Event, b: &Event) -> bool {
    match (a.what, b.what) {
        (
            What::Conversion { event: e1, millionths: m1, .. },
            What::Conversion { event: e2, millionths: m2, .. },
        ) => (e1, m1) != (e2, m2) || (a.at.is_some() && b.at.is_some() && a.at != b.at),
        _ => false,
    }
}

impl Counts {
    pub fn count(&mut self, event: &Event, outcome: Outcome) {
        self.sent += 1;
        match (outcome, event.what) {
            (Outcome::Recorded, What::Exposure { .. }) => self.exposures += 1,
            (Outcome::Recorded, What::Conversion { .. }) => self.conversions += 1,
            (Outcome::Duplicate { conflict }, _) => {
                self.deduplicated += 1;
                self.conflicts += u64::from(conflict);
            }
        }
        self.keyless += u64::from(matches!(event.what, What::Conversion { key: None, .. }));
    }

    /// The same events once more: nothing is recorded again, and what conflicted conflicts again.
    pub fn again(self) -> Counts {
        Counts { exposures: 0, conversions: 0, keyless: 0, deduplicated: self.sent, ..self }
    }

    pub fn add(&mut self, more: Counts) {
        self.sent += more.sent;
        self.exposures += more.exposures;
        self.conversions += more.conversions;
        self.deduplicated += more.deduplicated;
        self.conflicts += more.conflicts;
        self.keyless += more.keyless;
    }

    pub fn recorded(&self) -> u64 {
        self.exposures + self.conversions
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
            let mut exposures = sent.iter().filter_map(|e| match e.what {
                What::Exposure { arm } if e.experiment == Some(index) => {
                    Some((arm, e.at.unwrap_or(author.now)))
                }
                _ => None,
            });
            let Some((arm, exposed)) = exposures.next() else { continue };
            let (mut crossed, mut earlier) = (false, false);
            for (other, at) in exposures {
                crossed |= other != arm;
                earlier |= at < exposed;
            }
            if let Some(rows) = &mut self.rows {
                rows.enrollments.insert((user.id.clone(), index), (arm, exposed));
            }
            let truth = self.arms.get_mut(usize::from(index)).and_then(|a| a.get_mut(usize::from(arm)));
            let Some(truth) = truth else { continue };
            truth.enrolled += 1;
            truth.crossovers += i64::from(crossed);
            truth.earlier_seen += i64::from(earlier);
            truth.add(experiment, index, &kept, exposed, author.now, crossed);
        }
    }

    pub fn merge(&mut self, other: Oracle) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.arms.iter_mut().flatten().zip(other.arms.into_iter().flatten()) {
            mine.merge(&theirs);
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

impl ArmTruth {
    fn add(
        &mut self,
        experiment: &Experiment,
        index: u8,
        kept: &[&Event],
        exposed: i64,
        now: i64,
        crossed: bool,
    ) {
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
        if crossed && experiment.exclude_crossovers {
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
