//! One metric of an answer: each arm's sums, and each treatment against the control.

pub mod adjusted;
pub mod arm;
pub mod comparison;
pub mod contrast;
pub mod reading;
pub mod sums;

use domain::definition::{Direction, Metric, MetricKind, Role, Variation};
use domain::{Moments, Plan};
use serde::Serialize;

use crate::stats::Alpha;
use arm::MetricArm;
use comparison::Comparison;
use contrast::Contrast;

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
        let features = &plan.metric(metric);
        let comparisons = arms.split_first().map_or_else(Vec::new, |(control, treatments)| {
            let pairs = variations.iter().enumerate().skip(1).zip(treatments);
            pairs
                .map(|((i, variation), treatment)| {
                    let contrast = Contrast { metric, features, plan, control, treatment };
                    Comparison::of((i, &variation.key), contrast, alpha)
                })
                .collect()
        });
        let shown = arms.iter().enumerate();
        MetricView {
            key: &metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            arms: shown.map(|(i, arm)| MetricArm::of(i, metric, features, plan, arm)).collect(),
            comparisons,
        }
    }
}
