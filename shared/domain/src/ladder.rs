//! The same answer from the raw rows alone: one user's enrollment as it stood at the end of every UTC day.
//!
//! Verify and rebuild add these steps up and must find every moments row, digit for digit.

use crate::fold::{self, Fact};
use crate::{Day, Enrollment, Moments, Overflow, Plan, Unit};

/// A stored conversion with the day it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated<'a> {
    pub day: Day,
    pub fact: Fact<'a>,
}

/// The enrollment at the end of every day on which it changed, ascending. Reads from `enrollment` only what the
/// exposures fixed (variation, phase, times, crossings) and what was told of the user; the tallies are counted anew from `conversions`.
pub fn ladder(
    plan: &Plan,
    enrollment: &Enrollment,
    conversions: &[Dated<'_>],
) -> Result<Vec<(Day, Enrollment)>, Overflow> {
    let born = enrollment.day;
    let mut days = vec![born];
    days.extend(enrollment.crossed.iter().map(|c| c.1));
    days.extend(enrollment.earlier_seen);
    // What arrived before the exposure takes effect on the enrollment's day.
    days.extend(enrollment.attributes.days().map(|day| day.max(born)));
    days.extend(conversions.iter().map(|c| c.day.max(born)));
    days.sort_unstable();
    days.dedup();

    let mut by_day: Vec<&Dated<'_>> = conversions.iter().collect();
    by_day.sort_by_key(|c| c.day.max(born));
    let mut rest = by_day.into_iter().peekable();

    let mut now = Enrollment::new(plan, enrollment.variation, enrollment.phase, enrollment.exposed_at, born);
    let mut steps: Vec<(Day, Enrollment)> = Vec::with_capacity(days.len());
    for day in days {
        while let Some(c) = rest.next_if(|c| c.day.max(born) <= day) {
            fold::count(&mut now, plan, &c.fact)?;
        }
        now.crossed = enrollment.crossed.iter().filter(|c| c.1 <= day).copied().collect();
        now.earlier_seen = enrollment.earlier_seen.filter(|d| *d <= day);
        now.attributes = enrollment.attributes.as_of(day);
        // A conversion of another experiment, or of an event no metric uses, is no step.
        if steps.last().is_none_or(|(_, last)| *last != now) {
            steps.push((day, now.clone()));
        }
    }
    Ok(steps)
}

/// Gives a unit that is enrolled in the plan's experiment tallies of the plan's version, counted from all its
/// `conversions`. Returns the ladder of the new enrollment; empty where the unit is not enrolled or has had them.
pub fn rebuild(
    unit: &mut Unit,
    plan: &Plan,
    conversions: &[Dated<'_>],
) -> Result<Vec<(Day, Enrollment)>, Overflow> {
    let Some(enrolled) = unit.enrollment(plan.experiment) else { return Ok(Vec::new()) };
    let Err(at) = unit.position(plan.experiment, plan.version) else { return Ok(Vec::new()) };
    let steps = ladder(plan, enrolled, conversions)?;
    if let Some((_, last)) = steps.last() {
        unit.enrollments.insert(at, last.clone());
    }
    Ok(steps)
}

/// What the steps of a ladder take out of rows and put into them, day by day.
pub fn changes(
    steps: &[(Day, Enrollment)],
) -> impl Iterator<Item = (Day, Option<&Enrollment>, Option<&Enrollment>)> {
    steps.iter().enumerate().flat_map(move |(i, (day, after))| {
        let before = i.checked_sub(1).and_then(|i| steps.get(i)).map(|step| &step.1);
        shifts(before, after).map(move |(from, to)| (*day, from, to))
    })
}

/// From one state of an enrollment to the next: what is taken out of a row and put into it. A stratum told late moves
/// the user from one row to another.
pub fn shifts<'e>(
    before: Option<&'e Enrollment>,
    after: &'e Enrollment,
) -> impl Iterator<Item = (Option<&'e Enrollment>, Option<&'e Enrollment>)> + use<'e> {
    let moved = before.filter(|before| before.stratum() != after.stratum());
    let out = moved.map(|before| (Some(before), None));
    out.into_iter().chain([(before.filter(|_| moved.is_none()), Some(after))])
}

/// The cumulative `rows` of an arm's `stratum` (each with its day) without the unit whose ladder is `steps`: the exact
/// inverse of everything that unit ever added.
pub fn erase(
    plan: &Plan,
    stratum: &str,
    rows: &[(Day, Moments)],
    steps: &[(Day, Enrollment)],
) -> Result<Vec<(Day, Moments)>, Overflow> {
    let without = |(day, moments): &(Day, Moments)| {
        let mut rest = moments.clone();
        let stood = steps.iter().rev().find(|step| step.0 <= *day).map(|step| &step.1);
        rest.shift(plan, stood.filter(|e| e.stratum() == stratum), None)?;
        Ok((*day, rest))
    };
    rows.iter().map(without).collect()
}
