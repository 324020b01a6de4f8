//! History by day of occurrence, from the raw rows: when users were exposed and did what counts, by all that is known.

use std::collections::BTreeMap;

use domain::fold::Fact;
use domain::ladder::{Dated, ladder};
use domain::{Day, Moments, Overflow, Plan, UnitId};
use service::http::Problem;
use store::{ConversionRow, Experiment, Store, UnitRow};

use super::History;
use crate::answer::storage;
use crate::known::{Arms, Cell, Unanswerable, unanswerable};

/// Users read with one query.
const CHUNK: i64 = 2_000;

/// Reads users some at a time, each time in a snapshot of its own: what is applied meanwhile may be half in it, unless
/// `as_of` names a day that is over.
pub async fn history(
    store: &dyn Store,
    experiment: &Experiment,
    plan: &Plan,
    as_of: Option<Day>,
) -> Result<History, Problem> {
    let all = (UnitId([0; 16]), UnitId([u8::MAX; 16]));
    let mut changes = Changes { plan, as_of, days: BTreeMap::new() };
    let mut after = None;
    loop {
        let units = store.units(all, after, CHUNK).await.map_err(storage)?;
        let (Some(first), Some(last)) = (units.first(), units.last()) else { break };
        let conversions = store.conversions(first.id, last.id).await.map_err(storage)?;
        for unit in units.iter().filter(|unit| unit.tenant == experiment.tenant) {
            changes.add(unit, &conversions).map_err(|error| unanswerable(&error.into()))?;
        }
        after = Some(last.id);
    }
    changes.history(experiment.definition.variations.len()).map_err(|error| unanswerable(&error))
}

/// What changed on each day, by variation and cell.
struct Changes<'p> {
    plan: &'p Plan,
    as_of: Option<Day>,
    days: BTreeMap<Day, BTreeMap<(i16, Cell), Moments>>,
}

impl Changes<'_> {
    fn add(&mut self, row: &UnitRow, conversions: &[ConversionRow]) -> Result<(), Overflow> {
        let known = |day: Day| self.as_of.is_none_or(|as_of| day <= as_of);
        let enrollment = row.unit.enrollment(self.plan.experiment).filter(|e| known(e.day));
        let Some(mut enrollment) = enrollment.cloned() else { return Ok(()) };
        let born = enrollment.exposed_at.day();
        // What is told of the user beside conversions has no time of its own: it counts from the exposure on.
        enrollment.day = born;
        enrollment.crossed.retain(|(_, day)| known(*day));
        enrollment.crossed.iter_mut().for_each(|(_, day)| *day = born);
        enrollment.earlier_seen = enrollment.earlier_seen.filter(|day| known(*day)).map(|_| born);
        if let Some(day) = self.as_of {
            enrollment.attributes = enrollment.attributes.as_of(day);
        }
        enrollment.attributes.all_from(born);
        let first = conversions.partition_point(|c| c.unit < row.id);
        let own = conversions.iter().skip(first).take_while(|c| c.unit == row.id);
        let facts: Vec<Dated<'_>> = own.filter(|c| known(c.day)).map(occurring).collect();
        let cell = Cell { phase: enrollment.phase, stratum: enrollment.stratum().to_owned() };
        let mut before = None;
        for (day, step) in ladder(self.plan, &enrollment, &facts)? {
            let sums = self.days.entry(day).or_default().entry((step.variation, cell.clone())).or_default();
            sums.shift(self.plan, before.as_ref(), Some(&step))?;
            before = Some(step);
        }
        Ok(())
    }

    fn history(self, variations: usize) -> Result<History, Unanswerable> {
        let mut now = Arms::none(variations);
        let mut history = History::new();
        for (day, changes) in self.days {
            for ((variation, cell), change) in changes.into_iter().filter(|((v, _), _)| *v >= 0) {
                now.add(variation, cell, &change)?;
            }
            history.push((day, now.clone()));
        }
        Ok(history)
    }
}

fn occurring(row: &ConversionRow) -> Dated<'_> {
    let fact = Fact { experiment: row.experiment, event: &row.metric, value: row.value, at: row.occurred_at };
    Dated { day: row.occurred_at.day(), fact }
}
