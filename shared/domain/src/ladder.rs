//! The same answer from the raw rows alone: one user's enrollment as it stood at the end of every UTC day.
//!
//! Verify and rebuild add these steps up and must find every moments row, digit for digit.

use crate::fold::{self, Fact};
use crate::{Day, Enrollment, Moments, Overflow, Plan};

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
