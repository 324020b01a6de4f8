//! What one enrollment adds to its arm.

use crate::definition::Crossovers;
use crate::plan::Feature;
use crate::{Enrollment, Plan};

/// Head counts of an arm: units by what is true of them, or events by where they fell. Additive like everything
/// else in moments, so verified like everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Heads {
    /// Every enrolled user, untouched by filters or exclusions: SRM reads this one.
    pub enrolled: i64,
    /// Users who saw more than one variation.
    pub crossovers: i64,
    /// Users of whom an exposure with an earlier time arrived later.
    pub earlier_seen: i64,
    /// Users above the spike limit.
    pub filtered: i64,
    /// Users left out of every metric: told to be, or crossovers where the definition excludes them.
    pub excluded: i64,
    /// Conversions before the exposure.
    pub before: i64,
    /// Conversions after the attribution window.
    pub after_window: i64,
    /// Users whose stratum or a covariate was accepted behind the exposure, or is of a time not before it.
    pub after_exposure: i64,
}

impl Heads {
    pub const LEN: usize = 8;

    pub fn to_array(self) -> [i64; Self::LEN] {
        let Heads { enrolled, crossovers, earlier_seen, filtered, excluded, before, .. } = self;
        let Heads { after_window, after_exposure, .. } = self;
        [enrolled, crossovers, earlier_seen, filtered, excluded, before, after_window, after_exposure]
    }

    pub fn from_array(values: [i64; Self::LEN]) -> Heads {
        let [enrolled, crossovers, earlier_seen, filtered, excluded, before, after_window, after_exposure] =
            values;
        Heads { enrolled, crossovers, earlier_seen, filtered, excluded, before, after_window, after_exposure }
    }
}

/// Heads, and a value per [`Plan::features`]; empty features = contributes to no metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contribution {
    pub heads: Heads,
    /// Counts as they are, sums in millionths.
    pub features: Vec<i128>,
}

/// One millionth's inverse: a cap on counts is given in millionths like every decimal.
const MILLION: i128 = 1_000_000;

impl Contribution {
    pub fn of(enrollment: &Enrollment, plan: &Plan) -> Contribution {
        let crossed = !enrollment.crossed.is_empty();
        let excluded =
            enrollment.attributes.excluded() || (crossed && plan.crossovers == Crossovers::Exclude);
        let measured = enrollment.tallies.iter().take(plan.measured);
        let counted: u64 = measured.map(|t| u64::from(t.count)).sum();
        let filtered = !excluded && plan.spike_limit.is_some_and(|limit| counted > u64::from(limit));
        let heads = Heads {
            enrolled: 1,
            crossovers: i64::from(crossed),
            earlier_seen: i64::from(enrollment.earlier_seen.is_some()),
            filtered: i64::from(filtered),
            excluded: i64::from(excluded),
            before: i64::from(enrollment.before),
            after_window: i64::from(enrollment.after_window),
            after_exposure: i64::from(enrollment.told_late()),
        };
        let features = if excluded || filtered {
            Vec::new()
        } else {
            plan.features.iter().map(|f| feature(enrollment, plan, *f)).collect()
        };
        Contribution { heads, features }
    }

    pub fn feature(&self, index: u16) -> i128 {
        self.features.get(usize::from(index)).copied().unwrap_or(0)
    }
}

fn feature(enrollment: &Enrollment, plan: &Plan, f: Feature) -> i128 {
    let tally = |e: u16| enrollment.tallies.get(usize::from(e)).copied().unwrap_or_default();
    match f {
        Feature::One => 1,
        Feature::Converted(e) => i128::from(tally(e).count > 0),
        Feature::Count(e) => tally(e).count.into(),
        Feature::CappedCount(e, cap) => i128::from(tally(e).count).min(i128::from(cap.0) / MILLION),
        Feature::Sum(e) => tally(e).sum,
        Feature::CappedSum(e, cap) => tally(e).sum.min(cap.0.into()),
        Feature::PreConverted(e) => {
            i128::from(given(enrollment, plan, e).map_or(tally(e).pre_count > 0, |v| v != 0))
        }
        Feature::PreCount(e) => given(enrollment, plan, e).map_or(tally(e).pre_count.into(), |v| v / MILLION),
        Feature::PreSum(e) => given(enrollment, plan, e).unwrap_or(tally(e).pre_sum),
    }
}

/// The pre-period value told of an event, in millionths: it stands in for what the pre-exposure window holds. One of a
/// time not before the exposure may hold the treatment's effect and is not used.
fn given(enrollment: &Enrollment, plan: &Plan, event: u16) -> Option<i128> {
    let attributes = &enrollment.attributes;
    if attributes.covariates.is_empty() {
        return None;
    }
    let named = plan.events.get(usize::from(event)).and_then(|name| attributes.covariate(name));
    let own = || attributes.covariate("").filter(|_| plan.own == Some(event));
    let said = named.or_else(own).filter(|said| !said.is_of_after(enrollment.exposed_at))?;
    Some(said.value.0.into())
}
