//! The pure half: moments added up from raw rows, and compared with the stored ones.

use domain::ladder::{Dated, changes, ladder};
use domain::{Day, Enrollment, Moments, Overflow, Partition, Plan, Unit};
use std::collections::{BTreeMap, BTreeSet};
use store::{ArmRow, MomentsKey};

/// Whose moments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub partition: Partition,
    pub variation: i16,
    pub stratum: String,
    pub phase: u16,
}

/// Moments per key and day: what changed on that day while adding up, running totals when stored.
pub type Days = BTreeMap<Key, BTreeMap<Day, Moments>>;

/// Adds up one experiment from its users.
pub struct Recomputation<'p> {
    plan: &'p Plan,
    days: Days,
    pub units: u64,
    /// Conversions this experiment's plan looks at.
    pub conversions: u64,
    pub differences: Vec<Difference>,
}

/// One thing that is not as it should be; both sides as text for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The row: a unit, or a key of moments and a day.
    pub at: String,
    pub stored: String,
    pub recomputed: String,
}

impl<'p> Recomputation<'p> {
    pub fn new(plan: &'p Plan) -> Recomputation<'p> {
        Recomputation { plan, days: Days::new(), units: 0, conversions: 0, differences: Vec::new() }
    }

    /// Adds a user with all stored conversions of theirs, in any order. `name` is used in differences.
    pub fn add(
        &mut self,
        partition: Partition,
        name: &dyn std::fmt::Display,
        unit: &Unit,
        conversions: &[Dated<'_>],
    ) -> Result<(), Overflow> {
        if unit.has_conversions == conversions.is_empty() {
            self.differ(
                format!("unit {name}, has_conversions"),
                &unit.has_conversions,
                &!conversions.is_empty(),
            );
        }
        let (id, version) = (self.plan.experiment, self.plan.version);
        let Some(enrollment) = unit.enrollment(id) else { return Ok(()) };
        self.units += 1;
        self.conversions += conversions.iter().filter(|c| self.concerns(c)).count() as u64;
        let steps = ladder(self.plan, enrollment, conversions)?;
        let kept = unit.enrollment_of(id, version);
        if kept != steps.last().map(|(_, last)| last) {
            self.differ(format!("unit {name}"), &kept, &steps.last());
        }
        for (day, before, after) in changes(&steps) {
            self.shift(partition, day, before, after)?;
        }
        Ok(())
    }

    fn shift(
        &mut self,
        partition: Partition,
        day: Day,
        before: Option<&Enrollment>,
        after: Option<&Enrollment>,
    ) -> Result<(), Overflow> {
        let Some(of) = after.or(before) else { return Ok(()) };
        let key =
            Key { partition, variation: of.variation, stratum: of.stratum().to_owned(), phase: of.phase };
        let days = self.days.entry(key).or_default();
        days.entry(day).or_default().shift(self.plan, before, after)
    }

    fn concerns(&self, c: &Dated<'_>) -> bool {
        let ours = c.fact.experiment.is_none() || c.fact.experiment == self.plan.experiment;
        ours && self.plan.event_index(c.fact.event).is_some()
    }

    /// The rows that must be stored, in key order, and what was found wrong with the users on the way.
    pub fn rows(self) -> Result<(Vec<ArmRow>, Vec<Difference>), Overflow> {
        let mut rows = Vec::new();
        for (key, changes) in self.days {
            let key = MomentsKey {
                experiment: self.plan.experiment,
                plan_version: self.plan.version,
                partition: key.partition,
                variation: key.variation,
                stratum: key.stratum,
                phase: key.phase,
            };
            let mut total = Moments::default();
            for (day, change) in changes {
                total.add(&change)?;
                rows.push(ArmRow { key: key.clone(), day, moments: total.clone() });
            }
        }
        Ok((rows, self.differences))
    }

    /// Compares each key's running total at the end of every day that either side knows. A day without a stored
    /// row has the value of the row before it, else zero.
    pub fn compare(mut self, stored: &Days) -> Result<Vec<Difference>, Overflow> {
        let none = BTreeMap::new();
        let recomputed = std::mem::take(&mut self.days);
        let keys: BTreeSet<&Key> = recomputed.keys().chain(stored.keys()).collect();
        for key in keys {
            let changes = recomputed.get(key).unwrap_or(&none);
            let rows = stored.get(key).unwrap_or(&none);
            let mut total = Moments::default();
            for day in changes.keys().chain(rows.keys()).collect::<BTreeSet<_>>() {
                if let Some(change) = changes.get(day) {
                    total.add(change)?;
                }
                let row = rows.range(..=*day).next_back().map(|(_, m)| m.clone()).unwrap_or_default();
                if !row.same(&total) {
                    let at = format!(
                        "partition {} variation {} stratum {:?} phase {} day {day}",
                        key.partition, key.variation, key.stratum, key.phase
                    );
                    self.differ(at, &row, &total);
                }
            }
        }
        Ok(self.differences)
    }

    fn differ(&mut self, at: String, stored: &dyn std::fmt::Debug, recomputed: &dyn std::fmt::Debug) {
        self.differences.push(Difference {
            at,
            stored: format!("{stored:?}"),
            recomputed: format!("{recomputed:?}"),
        });
    }
}
