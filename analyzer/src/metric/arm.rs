//! What one arm did, as shown.

use domain::definition::Metric;
use domain::plan::{Feature, MetricFeatures};
use domain::{Moments, Plan};
use ethnum::I256;
use serde::Serialize;

use super::sums::{Sums, scale};
use crate::stats::Undefined;
use crate::stats::arms::Scale;

#[derive(Debug, Serialize)]
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
        let text = |f| decimal(sum_of(f), scale(f));
        let mean = sums.and_then(|sums| sums.mean());
        let variance = sums.and_then(|sums| sums.variance());
        MetricArm {
            variation_index,
            users: count(arm.contributing(plan)),
            converters: count(sum_of(features.converted)),
            conversions: count(sum_of(features.count)),
            sum: text(features.outcome),
            denominator: features.denominator.map(text),
            mean: mean.ok(),
            standard_deviation: variance.ok().map(f64::sqrt),
            reason: mean.err(),
        }
    }
}

/// The exact sum as decimal text, without trailing zeros.
fn decimal(sum: I256, scale: Scale) -> String {
    if scale == Scale::Ones {
        return sum.to_string();
    }
    let sign = if sum < 0 { "-" } else { "" };
    let digits = format!("{:0>7}", sum.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 6);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}
