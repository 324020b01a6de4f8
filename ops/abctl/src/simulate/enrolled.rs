//! The oracle's view of a user in an experiment: which exposure stuck, and what was told.

use super::script::{COVARIATES, Event, STRATA, What};
use super::world::{EVENTS, Experiment};

/// A user in an experiment, by what was sent of it.
pub struct Enrolled {
    /// -1: the holdout.
    pub variation: i16,
    /// Unix milliseconds; `None`: when it was received.
    pub given: Option<i64>,
    pub exposed: i64,
    pub crossed: bool,
    pub earlier: bool,
    pub stratum: &'static str,
    /// By name, those told first; with whether they are of a time before the exposure.
    values: Vec<(Option<&'static str>, i64, bool)>,
    pub late: bool,
    pub excluded: bool,
}

impl Enrolled {
    /// From everything sent that names the experiment, in order.
    pub fn of(named: &[&Event], now: i64) -> Option<Enrolled> {
        let seen = |e: &&Event| match e.what {
            What::Exposure { arm } => Some((i16::from(arm), e.at)),
            What::Holdout => Some((-1, e.at)),
            _ => None,
        };
        let first = named.iter().position(|e| seen(e).is_some())?;
        let mut exposures = named.iter().filter_map(seen);
        let (variation, given) = exposures.next()?;
        let exposed = given.unwrap_or(now);
        let (mut crossed, mut earlier) = (false, false);
        for (other, at) in exposures {
            crossed |= other != variation;
            earlier |= at.unwrap_or(now) < exposed;
        }
        let excluded = excluded_by(named.iter().copied());
        let mut enrolled = Enrolled {
            variation,
            given,
            exposed,
            crossed,
            earlier,
            stratum: "",
            values: Vec::new(),
            late: false,
            excluded,
        };
        for (i, event) in named.iter().enumerate() {
            let after = event.at.is_some_and(|at| at >= exposed);
            match event.what {
                What::Stratum { stratum } if enrolled.stratum.is_empty() => {
                    enrolled.stratum = STRATA.get(usize::from(stratum)).copied().unwrap_or_default();
                }
                What::Covariate { name, millionths } => {
                    let name = COVARIATES.get(usize::from(name)).copied().flatten();
                    if enrolled.values.iter().any(|known| known.0 == name) {
                        continue;
                    }
                    enrolled.values.push((name, millionths, !after));
                }
                _ => continue,
            }
            enrolled.late |= after || i > first;
        }
        Some(enrolled)
    }

    /// What was told in place of what the user did of a metric's event before the exposure: by the event's name, or, of
    /// the primary metric's event, without one.
    pub fn told(&self, experiment: &Experiment, event: u8) -> Option<i128> {
        let by = |name: Option<&str>| self.values.iter().find(|value| value.0 == name);
        let own = experiment.metrics.first().is_some_and(|primary| primary.event == event);
        let named = by(EVENTS.get(usize::from(event)).copied());
        let (_, millionths, before) = named.or_else(|| by(None).filter(|_| own))?;
        before.then_some(i128::from(*millionths))
    }
}

/// What was said last; before, nobody is excluded.
pub fn excluded_by<'e>(events: impl Iterator<Item = &'e Event>) -> bool {
    let said = events.filter_map(|e| match e.what {
        What::Exclusion { excluded } => Some(excluded),
        _ => None,
    });
    said.last().unwrap_or(false)
}
