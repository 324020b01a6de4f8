//! What may bend an answer: of each arm, and of the experiment as a whole.
//!
//! Heads are sums over the users of an arm, so they are the same whatever came first. Events are counted when they are
//! recorded, in the arm their user was in by then: those of users without an arm (not yet exposed, held out) are in the
//! experiment's figures alone, which therefore are no less than the arms' together.

use domain::contribution::Heads;
use domain::definition::Definition;
use serde::Serialize;
use store::{Counter, UNUSED_METRIC};

/// Of an arm.
#[derive(Debug, Serialize)]
pub struct ArmQuality {
    #[serde(flatten)]
    pub heads: HeadQuality,
    /// None: an answer that is not made of what was counted.
    #[serde(flatten)]
    pub events: Option<EventQuality>,
}

/// Users, or conversions where it says so.
#[derive(Debug, Serialize)]
pub struct HeadQuality {
    pub crossovers: i64,
    pub earlier_exposure_seen: i64,
    pub filtered: i64,
    pub excluded: i64,
    /// Conversions.
    pub before_exposure: i64,
    /// Conversions.
    pub after_window: i64,
    /// Users whose stratum or a covariate was told behind their exposure.
    pub after_exposure: i64,
}

/// Events that named the experiment.
#[derive(Debug, Serialize)]
pub struct EventQuality {
    /// Exposures that occurred after the stop: they enrolled nobody. The arm is the one shown.
    pub after_stop: i64,
    /// Exposures and conversions recorded on a later day than they occurred.
    pub late: i64,
    pub clock_corrected: i64,
    pub keyless: i64,
    /// Keys seen before with another payload.
    pub conflicts: i64,
}

/// Of the experiment.
#[derive(Debug, Serialize)]
pub struct Quality {
    /// Conversions whose user was never exposed, so they have no arm.
    pub never_exposed: i64,
    #[serde(flatten)]
    pub events: EventQuality,
    /// Users whose stratum was one more than is kept apart.
    pub strata_merged: i64,
    /// What conversions were called that no metric of the definition counts; the most frequent first.
    pub unused_metrics: Vec<UnusedMetric>,
}

#[derive(Debug, Serialize)]
pub struct UnusedMetric {
    pub metric: String,
    pub conversions: i64,
}

/// Unused metrics listed.
const MOST: usize = 100;

/// Of all arms and of none.
pub fn total(counters: &[Counter], name: &str) -> i64 {
    counters.iter().filter(|c| c.name == name).map(|c| c.n).sum()
}

/// Of one arm.
pub fn of_arm(counters: &[Counter], index: usize, name: &str) -> i64 {
    let of_it = |c: &&Counter| c.name == name && usize::try_from(c.variation) == Ok(index);
    counters.iter().filter(of_it).map(|c| c.n).sum()
}

impl ArmQuality {
    pub fn of(heads: &Heads, counters: Option<&[Counter]>, index: usize) -> ArmQuality {
        let events = counters.map(|counters| EventQuality::of(|name| of_arm(counters, index, name)));
        ArmQuality { heads: HeadQuality::of(heads), events }
    }
}

impl HeadQuality {
    fn of(heads: &Heads) -> HeadQuality {
        HeadQuality {
            crossovers: heads.crossovers,
            earlier_exposure_seen: heads.earlier_seen,
            filtered: heads.filtered,
            excluded: heads.excluded,
            before_exposure: heads.before,
            after_window: heads.after_window,
            after_exposure: heads.after_exposure,
        }
    }
}

impl EventQuality {
    fn of(counted: impl Fn(&str) -> i64) -> EventQuality {
        EventQuality {
            after_stop: counted("discarded:after_stop"),
            late: counted("late"),
            clock_corrected: counted("clock_corrected"),
            keyless: counted("keyless"),
            conflicts: counted("conflicts"),
        }
    }
}

impl Quality {
    pub fn of(definition: &Definition, counters: &[Counter]) -> Quality {
        // A metric added since has counted what came before, too.
        let counts = |event: &str| {
            let mut metrics = definition.metrics.iter();
            metrics.any(|m| m.event() == event || m.denominator.as_deref() == Some(event))
                || definition.analysis.cuped.covariates.iter().any(|name| name == event)
        };
        let unused = counters.iter().filter_map(|c| {
            let metric = c.name.strip_prefix(UNUSED_METRIC).filter(|metric| !counts(metric))?;
            Some(UnusedMetric { metric: metric.to_owned(), conversions: c.n })
        });
        let mut unused_metrics: Vec<UnusedMetric> = unused.collect();
        unused_metrics
            .sort_by(|a, b| b.conversions.cmp(&a.conversions).then_with(|| a.metric.cmp(&b.metric)));
        unused_metrics.truncate(MOST);
        Quality {
            never_exposed: total(counters, "never_exposed"),
            events: EventQuality::of(|name| total(counters, name)),
            strata_merged: total(counters, "strata_merged"),
            unused_metrics,
        }
    }
}
