//! One metric of an answer: each arm's sums, and each treatment against the control.

use domain::definition::{Direction, Metric, MetricKind, Role, Variation};
use domain::plan::{Feature, MetricFeatures};
use domain::{Moments, Plan};
use ethnum::I256;
use serde::Serialize;

use crate::stats::arms::{ArmMoments, Pair, ProportionArm, Scale};
use crate::stats::effect::Measure;
use crate::stats::ratio::RatioArm;
use crate::stats::welch::{TTest, welch};
use crate::stats::{Alpha, Undefined};

#[derive(Debug, Serialize)]
pub struct MetricView<'a> {
    pub key: &'a str,
    #[serde(rename = "type")]
    pub kind: MetricKind,
    pub role: Option<Role>,
    pub direction: Direction,
    pub arms: Vec<MetricArm>,
    /// Each treatment against the first variation.
    pub comparisons: Vec<Comparison<'a>>,
}

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

#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub absolute: Tested,
    pub relative: Tested,
}

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Tested {
    Ok(TTest),
    Undefined { reason: Undefined },
}

/// An arm's exact sums in the form its metric's statistics take.
enum Sums {
    Proportion(ProportionArm),
    Mean(ArmMoments),
    Ratio(RatioArm),
}

impl<'a> MetricView<'a> {
    /// `arms`: one per variation, of the same plan.
    pub fn of(
        metric: &'a Metric,
        variations: &'a [Variation],
        plan: &Plan,
        arms: &[Moments],
        alpha: Alpha,
    ) -> MetricView<'a> {
        let features = plan.metric(metric);
        let sums: Vec<_> = arms.iter().map(|arm| Sums::of(metric.kind, &features, plan, arm)).collect();
        let shown = arms.iter().zip(&sums).enumerate();
        let comparisons = variations.iter().zip(&sums).enumerate().skip(1);
        MetricView {
            key: &metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            arms: shown.map(|(i, (arm, sums))| MetricArm::of(i, &features, plan, arm, sums)).collect(),
            comparisons: comparisons
                .map(|(variation_index, (variation, treatment))| {
                    let pair = pair(sums.first(), treatment);
                    Comparison {
                        variation_index,
                        key: &variation.key,
                        absolute: Tested::of(pair, Measure::Absolute, alpha),
                        relative: Tested::of(pair, Measure::Relative, alpha),
                    }
                })
                .collect(),
        }
    }
}

impl MetricArm {
    fn of(
        variation_index: usize,
        features: &MetricFeatures,
        plan: &Plan,
        arm: &Moments,
        sums: &Result<Sums, Undefined>,
    ) -> MetricArm {
        let sum_of = |f| arm.product(plan, Feature::One, f);
        let count = |value: I256| u64::try_from(value).ok();
        let text = |f| decimal(sum_of(f), scale(f));
        let mean = sums.as_ref().map_err(|e| *e).and_then(Sums::mean);
        let variance = sums.as_ref().map_err(|e| *e).and_then(Sums::variance);
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

impl Sums {
    fn of(kind: MetricKind, f: &MetricFeatures, plan: &Plan, arm: &Moments) -> Result<Sums, Undefined> {
        let product = |a, b| arm.product(plan, a, b);
        let count = |value: I256| u64::try_from(value).map_err(|_| Undefined::Inconsistent);
        let (y, n) = (f.outcome, count(arm.contributing(plan))?);
        Ok(match (kind, f.denominator) {
            (MetricKind::Proportion, _) => {
                Sums::Proportion(ProportionArm { n, converters: count(product(Feature::One, y))? })
            }
            (_, Some(d)) => Sums::Ratio(RatioArm {
                n,
                numerator: product(Feature::One, y),
                numerator_sq: product(y, y),
                denominator: product(Feature::One, d),
                denominator_sq: product(d, d),
                product: product(y, d),
                numerator_scale: scale(y),
                denominator_scale: scale(d),
            }),
            (_, None) => Sums::Mean(ArmMoments {
                n,
                sum: product(Feature::One, y),
                sum_sq: product(y, y),
                scale: scale(y),
            }),
        })
    }

    fn mean(&self) -> Result<f64, Undefined> {
        match self {
            Sums::Proportion(arm) => arm.rate(),
            Sums::Mean(arm) => arm.mean(),
            Sums::Ratio(arm) => arm.ratio(),
        }
    }

    fn variance(&self) -> Result<f64, Undefined> {
        match self {
            Sums::Proportion(arm) => arm.variance(),
            Sums::Mean(arm) => arm.variance(),
            Sums::Ratio(arm) => arm.variance(),
        }
    }
}

fn pair(
    control: Option<&Result<Sums, Undefined>>,
    treatment: &Result<Sums, Undefined>,
) -> Result<Pair, Undefined> {
    let control = control.ok_or(Undefined::TooFewArms)?.as_ref().map_err(|e| *e)?;
    match (control, treatment.as_ref().map_err(|e| *e)?) {
        (Sums::Proportion(a), Sums::Proportion(b)) => Pair::of_proportions(a, b),
        (Sums::Mean(a), Sums::Mean(b)) => Pair::of_means(a, b),
        (Sums::Ratio(a), Sums::Ratio(b)) => Pair::of_ratios(a, b),
        _ => Err(Undefined::Inconsistent),
    }
}

impl Tested {
    fn of(pair: Result<Pair, Undefined>, measure: Measure, alpha: Alpha) -> Tested {
        match pair.and_then(|pair| welch(&pair, measure, alpha)) {
            Ok(test) => Tested::Ok(test),
            Err(reason) => Tested::Undefined { reason },
        }
    }
}

fn scale(feature: Feature) -> Scale {
    match feature {
        Feature::Sum(_) | Feature::CappedSum(..) | Feature::PreSum(_) => Scale::Millionths,
        Feature::One
        | Feature::Converted(_)
        | Feature::Count(_)
        | Feature::CappedCount(..)
        | Feature::PreConverted(_)
        | Feature::PreCount(_) => Scale::Ones,
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
