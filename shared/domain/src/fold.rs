//! `fold(unit, event, plans, history) -> unit`: the one place that says what an event does to a user.
//!
//! Used unchanged by the worker, rebuild and verify. Order-free by construction for conversions: each adds to
//! integers, and where it falls depends only on its own time and the enrollment's.

use crate::attributes::{Attribute, Told};
use crate::{Attributes, Day, Decimal, Enrollment, ExperimentId, Overflow, Plan, Timestamp, Unit};

/// An exposure ready to be folded: time decided, experiment known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub variation: i16,
    pub at: Timestamp,
    /// The day it is applied.
    pub day: Day,
    pub phase: u16,
}

/// A stored conversion, as far as the fold needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<'a> {
    /// [`ExperimentId::NONE`] = the tenant's: counts in every experiment that uses its event.
    pub experiment: ExperimentId,
    pub event: &'a str,
    pub value: Decimal,
    pub at: Timestamp,
}

/// What an exposure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposed {
    /// The first one: it sticks.
    Enrolled,
    /// The user was enrolled before; `changed` says whether the unit must be stored again (a variation first seen
    /// now, or the flag for an earlier time).
    Repeated { changed: bool },
}

/// Folds an exposure. `history` is every stored conversion of the user that precedes this exposure in the
/// stream; it is read only if the user is enrolled by it.
pub fn expose<'h>(
    unit: &mut Unit,
    plan: &Plan,
    seen: Seen,
    history: impl IntoIterator<Item = Fact<'h>>,
) -> Result<Exposed, Overflow> {
    let enrolled = unit.enrollments_mut(plan.experiment);
    if !enrolled.is_empty() {
        let mut changed = false;
        for enrollment in enrolled {
            changed |= repeat(enrollment, seen);
        }
        return Ok(Exposed::Repeated { changed });
    }
    let mut enrollment = Enrollment::new(plan, seen.variation, seen.phase, seen.at, seen.day);
    for fact in history {
        count(&mut enrollment, plan, &fact)?;
    }
    if let Ok(waiting) = unit.waiting_at(plan.experiment) {
        enrollment.attributes = unit.waiting.remove(waiting).1;
    }
    if let Err(at) = unit.position(plan.experiment, plan.version) {
        // Most users are in one or two experiments, and caches hold many users: no room for four.
        unit.enrollments.reserve_exact(1);
        unit.enrollments.insert(at, enrollment);
    }
    Ok(Exposed::Enrolled)
}

/// Folds a conversion not seen before, under the plans of the enrollments' experiments and versions. Returns whether any enrollment changed. On overflow nothing changes.
pub fn convert<'p>(
    unit: &mut Unit,
    fact: &Fact<'_>,
    plans: impl Fn(&Enrollment) -> Option<&'p Plan>,
) -> Result<bool, Overflow> {
    let mut next = Vec::new();
    for (i, enrollment) in unit.enrollments.iter().enumerate() {
        // No plan: the experiment was deleted or the version is not kept, and what it says no longer matters.
        let Some(plan) = plans(enrollment) else { continue };
        if let Some(event) = counted_event(plan, fact) {
            let mut changed = enrollment.clone();
            changed.add(plan, event, fact.value, fact.at)?;
            next.push((i, changed));
        }
    }
    unit.has_conversions = true;
    let changed = !next.is_empty();
    for (i, enrollment) in next {
        unit.enrollments[i] = enrollment;
    }
    Ok(changed)
}

/// Folds what is told of a user in an experiment: into the enrollment, or to wait for it.
pub fn tell(unit: &mut Unit, experiment: ExperimentId, attribute: Attribute<'_>, day: Day) -> Told {
    let mut told = None;
    for enrollment in unit.enrollments_mut(experiment) {
        told = Some(enrollment.attributes.tell(attribute, day, true));
    }
    if let Some(told) = told {
        return told;
    }
    match unit.waiting_at(experiment) {
        Ok(i) => unit.waiting[i].1.tell(attribute, day, false),
        Err(i) => {
            let mut first = Attributes::default();
            let told = first.tell(attribute, day, false);
            if !first.is_empty() {
                unit.waiting.insert(i, (experiment, first));
            }
            told
        }
    }
}

/// Counts `fact` if it is one that the enrollment's plan counts.
pub(crate) fn count(enrollment: &mut Enrollment, plan: &Plan, fact: &Fact<'_>) -> Result<(), Overflow> {
    counted_event(plan, fact).map_or(Ok(()), |event| enrollment.add(plan, event, fact.value, fact.at))
}

/// Index of the fact's event in the plan; `None` = another experiment's, or used by no metric.
fn counted_event(plan: &Plan, fact: &Fact<'_>) -> Option<usize> {
    let ours = fact.experiment.is_none() || fact.experiment == plan.experiment;
    ours.then(|| plan.event_index(fact.event))?
}

fn repeat(enrollment: &mut Enrollment, seen: Seen) -> bool {
    let mut changed = false;
    if seen.variation != enrollment.variation
        && let Err(at) = enrollment.crossed.binary_search_by_key(&seen.variation, |c| c.0)
    {
        enrollment.crossed.insert(at, (seen.variation, seen.day));
        changed = true;
    }
    if seen.at < enrollment.exposed_at && enrollment.earlier_seen.is_none() {
        enrollment.earlier_seen = Some(seen.day);
        changed = true;
    }
    changed
}
