//! The state of one user of one tenant: an enrollment per experiment the user was exposed in.

use crate::attributes::Attributes;
use crate::plan::Placement;
use crate::{Day, ExperimentId, Overflow, Plan, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// The user was erased: nothing is known of them, and nothing more is taken.
    pub erased: bool,
    /// Whether any conversion of this user is stored: if not, enrolling needs no history.
    pub has_conversions: bool,
    /// Ascending by experiment and plan version. One for each experiment, and one more, with the same facts and other
    /// tallies, while its sums are rebuilt; what is left of versions that are not served any more is not looked at.
    pub enrollments: Vec<Enrollment>,
    /// What was told of the user in experiments without an enrollment yet; ascending by experiment, one each, none
    /// empty. It takes effect on the enrollment's day.
    pub waiting: Vec<(ExperimentId, Attributes)>,
}

/// A user in an experiment: fixed by the first exposure accepted, and what the user did since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrollment {
    pub experiment: ExperimentId,
    pub plan_version: u32,
    /// Index into the experiment's variations; -1 is the holdout.
    pub variation: i16,
    /// Period of constant weights the user was enrolled in.
    pub phase: u16,
    pub exposed_at: Timestamp,
    /// When the enrollment was applied.
    pub day: Day,
    /// Further variations seen, each with the day it was first applied; ascending by variation.
    pub crossed: Vec<(i16, Day)>,
    /// Day on which an exposure arrived that claims an earlier time than the one that stuck.
    pub earlier_seen: Option<Day>,
    /// Conversions of the plan's events before the exposure, in the pre-exposure window or not.
    pub before: u32,
    /// Conversions of the plan's events after the attribution window.
    pub after_window: u32,
    pub attributes: Attributes,
    /// One per [`Plan::events`].
    pub tallies: Vec<Tally>,
}

/// What one user did of one event: after the exposure and in the pre-exposure window. Sums in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub count: u32,
    pub sum: i128,
    pub pre_count: u32,
    pub pre_sum: i128,
}

impl Unit {
    /// The facts are the same in every plan version, tallies are not.
    pub fn enrollment(&self, experiment: ExperimentId) -> Option<&Enrollment> {
        self.enrollments.get(self.range(experiment)).and_then(<[_]>::first)
    }

    pub fn enrollment_of(&self, experiment: ExperimentId, version: u32) -> Option<&Enrollment> {
        self.position(experiment, version).ok().and_then(|i| self.enrollments.get(i))
    }

    /// Of every plan version.
    pub fn enrollments_mut(&mut self, experiment: ExperimentId) -> &mut [Enrollment] {
        let range = self.range(experiment);
        self.enrollments.get_mut(range).unwrap_or_default()
    }

    /// What was told of the user in an experiment, enrolled or not.
    pub fn attributes(&self, experiment: ExperimentId) -> Option<&Attributes> {
        let waiting = || self.waiting_at(experiment).ok().and_then(|i| self.waiting.get(i)).map(|w| &w.1);
        self.enrollment(experiment).map(|e| &e.attributes).or_else(waiting)
    }

    pub(crate) fn waiting_at(&self, experiment: ExperimentId) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&experiment, |w| w.0)
    }

    /// Index of the enrollment, or where it would be inserted.
    pub(crate) fn position(&self, experiment: ExperimentId, version: u32) -> Result<usize, usize> {
        self.enrollments.binary_search_by_key(&(experiment, version), |e| (e.experiment, e.plan_version))
    }

    fn range(&self, experiment: ExperimentId) -> std::ops::Range<usize> {
        let first = self.enrollments.partition_point(|e| e.experiment < experiment);
        first..self.enrollments.partition_point(|e| e.experiment <= experiment)
    }
}

impl Enrollment {
    pub fn new(plan: &Plan, variation: i16, phase: u16, exposed_at: Timestamp, day: Day) -> Enrollment {
        Enrollment {
            experiment: plan.experiment,
            plan_version: plan.version,
            variation,
            phase,
            exposed_at,
            day,
            crossed: Vec::new(),
            earlier_seen: None,
            before: 0,
            after_window: 0,
            attributes: Attributes::default(),
            tallies: vec![Tally::default(); plan.events.len()],
        }
    }

    /// What its moments are keyed by; empty = none was told.
    pub fn stratum(&self) -> &str {
        self.attributes.stratum.as_ref().map_or("", |said| &said.value)
    }

    /// Whether a stratum or covariate was accepted behind the exposure, or is of a time not before it.
    pub fn told_late(&self) -> bool {
        let at = self.exposed_at;
        self.attributes.stratum.as_ref().is_some_and(|said| said.is_late(at))
            || self.attributes.covariates.iter().any(|(_, said)| said.is_late(at))
    }

    /// Adds one conversion of the plan's event `event` (index into [`Plan::events`]). On overflow nothing changes.
    pub fn add(
        &mut self,
        plan: &Plan,
        event: usize,
        value: crate::Decimal,
        at: Timestamp,
    ) -> Result<(), Overflow> {
        let Some(tally) = self.tallies.get_mut(event) else { return Ok(()) };
        let placement = plan.place(self.exposed_at, at);
        let bump = |n: u32| n.checked_add(1).ok_or(Overflow { what: "a user's number of conversions" });
        let grow = |sum: i128| {
            sum.checked_add(i128::from(value.0)).ok_or(Overflow { what: "a user's sum of values" })
        };
        match placement {
            Placement::Counted => {
                (tally.count, tally.sum) = (bump(tally.count)?, grow(tally.sum)?);
            }
            Placement::Pre => {
                let before = bump(self.before)?;
                (tally.pre_count, tally.pre_sum) = (bump(tally.pre_count)?, grow(tally.pre_sum)?);
                self.before = before;
            }
            Placement::Before => self.before = bump(self.before)?,
            Placement::AfterWindow => self.after_window = bump(self.after_window)?,
        }
        Ok(())
    }
}
