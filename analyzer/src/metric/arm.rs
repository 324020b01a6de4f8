//! What one arm did, as shown.

use domain::definition::Metric;
use domain::plan::{Feature, MetricFeatures};
use domain::{Moments, Plan};
use ethnum::I256;
use serde::Serialize;

use super::sums::{Sums, scale};
use crate::stats::Undefined;
use crate::stats::arms::Scale;

#[derive(Debug, Clone, Serialize)]
pub struct MetricArm {
    pub variation_index: usize,
    /// Users who contribute: enrolled, not filtered, not excluded.
    pub users: Option<u64>,
    /// Users with at least one counted conversion.
    pub converters: Option<u64>,
    /// Counted conversions.
    pub conversions: Option<u64>,
    /// Exact decimal: the sum of the per-user outcome (converters of a proportion, events of a count).
    pub sum: String,
    /// Exact decimal: the sum of its squares.
    pub sum_squares: String,
    /// Exact decimal, of ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<String>,
    /// Mean of the per-user outcome; of a ratio the ratio. Null with a reason.
    pub mean: Option<f64>,
    /// Of one user's outcome; null while it is undefined.
    pub standard_deviation: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Undefined>,
}

/// Of an arm between two times; negative where users were filtered or excluded meanwhile.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    pub users: Option<i64>,
    pub converters: Option<i64>,
    pub conversions: Option<i64>,
    /// Exact decimal.
    pub sum: String,
}

impl Change {
    pub fn of(features: &MetricFeatures, plan: &Plan, before: &Moments, now: &Moments) -> Change {
        let sum = |arm: &Moments, feature| arm.product(plan, Feature::One, feature);
        let change = |feature| sum(now, feature).wrapping_sub(sum(before, feature));
        let count = |feature| i64::try_from(change(feature)).ok();
        Change {
            users: count(Feature::One),
            converters: count(features.converted),
            conversions: count(features.count),
            sum: decimal(change(features.outcome), decimals(features.outcome)),
        }
    }
}

impl MetricArm {
    pub fn of(
        variation_index: usize,
        metric: &Metric,
        features: &MetricFeatures,
        plan: &Plan,
        arm: &Moments,
    ) -> MetricArm {
        let sums = Sums::of(metric.kind, features, plan, arm);
        let sum_of = |f| arm.product(plan, Feature::One, f);
        let count = |value: I256| u64::try_from(value).ok();
        let text = |f| decimal(sum_of(f), decimals(f));
        let y = features.outcome;
        let mean = sums.and_then(|sums| sums.mean());
        let variance = sums.and_then(|sums| sums.variance());
        MetricArm {
            variation_index,
            users: count(arm.contributing(plan)),
            converters: count(sum_of(features.converted)),
            conversions: count(sum_of(features.count)),
            sum: text(y),
            sum_squares: decimal(arm.product(plan, y, y), 2 * decimals(y)),
            denominator: features.denominator.map(text),
            mean: mean.ok(),
            standard_deviation: variance.ok().map(f64::sqrt),
            reason: mean.err(),
        }
    }
}

pub fn decimals(feature: Feature) -> usize {
    match scale(feature) {
        Scale::Ones => 0,
        Scale::Millionths => 6,
    }
}

/// An integer count of 10^-`decimals` as text, without trailing zeros.
pub fn decimal(sum: I256, decimals: usize) -> String {
    if decimals == 0 {
        return sum.to_string();
    }
    let sign = if sum < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", sum.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}
