//! One metric of an answer: each arm's sums, and each treatment against the control.

pub mod arm;
pub mod comparison;
pub mod sums;

use domain::definition::{Direction, Metric, MetricKind, Role, Variation};
use domain::{Moments, Plan};
use serde::Serialize;

use crate::stats::{Alpha, Undefined};
use arm::MetricArm;
use comparison::Comparison;
use sums::Sums;

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
        let control = sums.first().copied().unwrap_or(Err(Undefined::TooFewArms));
        let shown = arms.iter().zip(&sums).enumerate();
        let comparisons = variations.iter().zip(&sums).enumerate().skip(1);
        MetricView {
            key: &metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            arms: shown.map(|(i, (arm, sums))| MetricArm::of(i, &features, plan, arm, sums)).collect(),
            comparisons: comparisons
                .map(|(i, (variation, sums))| Comparison::of((i, &variation.key), control, *sums, alpha))
                .collect(),
        }
    }
}
