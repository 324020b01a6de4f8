//! What is known of an experiment at a time: the sums of each arm, from the stored rows.

use std::collections::BTreeMap;

use domain::definition::{Mode, Role};
use domain::{Day, Moments, Overflow, Plan, Timestamp};
use service::http::Problem;
use store::{ArmRow, Counter, Experiment, MomentsKey, Rows, Snapshot};

use crate::metric::methods::Methods;
use crate::quality::Quality;

/// The stored rows do not fit the stored experiment.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error("the experiment has rows of a variation {0} it does not have")]
    Variation(i16),
    #[error("the experiment's error levels are not between 0 and 1")]
    Alpha,
}

/// Planned looks are taken at the ends of days.
pub fn rows_needed(experiment: &Experiment) -> Rows {
    match experiment.definition.analysis.mode {
        Mode::GroupSequential => Rows::EveryDay,
        Mode::Sequential | Mode::Fixed | Mode::Bayesian => Rows::Last,
    }
}

/// One snapshot of an experiment. All answers are made from one of these.
pub struct Known<'a> {
    pub experiment: &'a Experiment,
    pub plan: Plan,
    pub methods: Methods,
    /// The end of this UTC day; none = now.
    pub as_of: Option<Day>,
    /// What was counted beside the sums; none: not asked for.
    pub counters: Option<&'a [Counter]>,
    pub arms: Arms,
    /// Users kept out of every arm, if there are any.
    pub holdout: Option<Moments>,
    /// Looks that were planned and taken, ascending.
    pub looks: Vec<Look>,
}

/// The sums of each arm at one time.
#[derive(Debug, Clone, Default)]
pub struct Arms {
    pub all: Vec<Moments>,
    /// The same, kept apart by what effects are stratified by.
    pub cells: BTreeMap<Cell, Vec<Moments>>,
}

impl Arms {
    pub fn none(variations: usize) -> Arms {
        Arms { all: vec![Moments::default(); variations], cells: BTreeMap::new() }
    }

    pub fn add(&mut self, variation: i16, cell: Cell, moments: &Moments) -> Result<(), Unanswerable> {
        let none = || vec![Moments::default(); self.all.len()];
        arm_of(self.cells.entry(cell).or_insert_with(none), variation)?.add(moments)?;
        Ok(arm_of(&mut self.all, variation)?.add(moments)?)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub phase: u16,
    pub stratum: String,
}

/// The arms as they stood when a planned look at one treatment was taken.
pub struct Look {
    pub day: Day,
    /// Index of the treatment whose pair had reached the size.
    pub treatment: usize,
    pub arms: Arms,
}

impl<'a> Known<'a> {
    pub fn from(snapshot: &'a Snapshot, as_of: Option<Day>, now: Timestamp) -> Result<Known<'a>, Problem> {
        let known = Known::of(&snapshot.experiment, &snapshot.moments, as_of, now);
        let known = known.map_err(|error| unanswerable(&error))?;
        Ok(Known { counters: Some(&snapshot.counters), ..known })
    }

    /// From the rows that [`rows_needed`] asks for.
    pub fn of(
        experiment: &'a Experiment,
        rows: &[ArmRow],
        as_of: Option<Day>,
        now: Timestamp,
    ) -> Result<Known<'a>, Unanswerable> {
        let methods = Methods::of(&experiment.definition)?;
        let plan = experiment.plan();
        let mut days = Days::of(experiment, rows);
        let mut looks = Vec::new();
        if methods.mode == Mode::GroupSequential {
            // A day that is not over is no look: it would not be the same tomorrow.
            while let Some(day) = days.next_day(|day| day < now.day()) {
                take_looks(&mut looks, day, days.arms()?, &plan, &methods.looks);
            }
        }
        while days.next_day(|_| true).is_some() {}
        let (arms, holdout) = (days.arms()?, days.holdout()?);
        Ok(Known { experiment, methods, as_of, counters: None, arms, holdout, looks, plan })
    }

    /// Enrolled users of all arms.
    pub fn users(&self) -> i64 {
        self.arms.all.iter().map(|arm| arm.heads.enrolled).sum()
    }

    pub fn quality(&self) -> Option<Quality> {
        self.counters.map(|counters| Quality::of(&self.experiment.definition, counters))
    }

    /// The metric that decides.
    pub fn primary(&self) -> Option<usize> {
        self.experiment.definition.metrics.iter().position(|m| m.role == Some(Role::Primary))
    }
}

pub fn unanswerable(error: &Unanswerable) -> Problem {
    tracing::error!(%error, "the stored moments cannot be answered from");
    Problem::internal().retryable(false)
}

/// The sums of each arm from the last row of every key.
pub fn arms_of(experiment: &Experiment, rows: &[ArmRow]) -> Result<Vec<Moments>, Unanswerable> {
    let mut days = Days::of(experiment, rows);
    while days.next_day(|_| true).is_some() {}
    Ok(days.arms()?.all)
}

/// Each pair takes a look at the end of the first day on which it has the users the next look is planned for.
fn take_looks(taken: &mut Vec<Look>, day: Day, arms: Arms, plan: &Plan, planned: &[u64]) {
    let users = |arm: &Moments| u64::try_from(arm.contributing(plan)).unwrap_or_default();
    let pair = |arms: &Arms, treatment: usize| match (arms.all.first(), arms.all.get(treatment)) {
        (Some(control), Some(arm)) => users(control) + users(arm),
        _ => 0,
    };
    for treatment in 1..arms.all.len() {
        let earlier = taken.iter().rev().find(|look| look.treatment == treatment);
        let before = earlier.map_or(0, |look| pair(&look.arms, treatment));
        let next = planned.iter().find(|size| **size > before);
        if next.is_some_and(|size| pair(&arms, treatment) >= *size) {
            taken.push(Look { day, treatment, arms: arms.clone() });
        }
    }
}

/// Rows walked through day by day.
pub struct Days<'r> {
    variations: usize,
    rows: std::iter::Peekable<std::vec::IntoIter<&'r ArmRow>>,
    last: BTreeMap<&'r MomentsKey, &'r Moments>,
}

impl<'r> Days<'r> {
    pub fn of(experiment: &Experiment, rows: &'r [ArmRow]) -> Days<'r> {
        let mut sorted: Vec<&ArmRow> = rows.iter().collect();
        sorted.sort_by_key(|row| row.day);
        let variations = experiment.definition.variations.len();
        Days { variations, rows: sorted.into_iter().peekable(), last: BTreeMap::new() }
    }

    /// Goes to the end of the next day that has rows, if that is `wanted`.
    pub fn next_day(&mut self, wanted: impl Fn(Day) -> bool) -> Option<Day> {
        let day = self.rows.peek().map(|row| row.day).filter(|day| wanted(*day))?;
        while let Some(row) = self.rows.next_if(|row| row.day == day) {
            self.last.insert(&row.key, &row.moments);
        }
        Some(day)
    }

    /// Over partitions. The holdout (variation -1) is no arm.
    pub fn arms(&self) -> Result<Arms, Unanswerable> {
        let mut arms = Arms::none(self.variations);
        // A row that everybody has left (for the stratum they were told to be in) makes no cell.
        let peopled = |(key, row): &(&&MomentsKey, &&Moments)| key.variation >= 0 && row.heads.enrolled != 0;
        for (key, moments) in self.last.iter().filter(peopled) {
            arms.add(key.variation, Cell { phase: key.phase, stratum: key.stratum.clone() }, moments)?;
        }
        Ok(arms)
    }

    fn holdout(&self) -> Result<Option<Moments>, Unanswerable> {
        let mut sum: Option<Moments> = None;
        for (_, moments) in self.last.iter().filter(|(key, _)| key.variation == HOLDOUT) {
            sum.get_or_insert_default().add(moments)?;
        }
        Ok(sum)
    }
}

fn arm_of(arms: &mut [Moments], variation: i16) -> Result<&mut Moments, Unanswerable> {
    let arm = usize::try_from(variation).ok().and_then(|v| arms.get_mut(v));
    arm.ok_or(Unanswerable::Variation(variation))
}

const HOLDOUT: i16 = -1;
