//! One metric of an answer: each arm's sums, and each treatment against the control.

pub mod adjusted;
pub mod arm;
pub mod best;
pub mod comparison;
pub mod contrast;
pub mod looks;
pub mod methods;
pub mod reading;
pub mod sums;

use domain::Moments;
use domain::definition::{Direction, Metric, MetricKind, Role};
use serde::Serialize;

use crate::known::Known;
use arm::MetricArm;
use best::Best;
use comparison::Comparison;
use contrast::Contrast;
use reading::Reading;

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
    pub best: Reading<Best>,
}

impl<'a> MetricView<'a> {
    pub fn of(known: &'a Known<'_>, metric: &'a Metric) -> MetricView<'a> {
        let plan = &known.plan;
        let features = &plan.metric(metric);
        let variations = known.experiment.definition.variations.iter().enumerate().skip(1);
        let comparisons = variations
            .filter_map(|(i, variation)| {
                let contrast = |arms: &'a [Moments]| Contrast::of(metric, features, plan, arms, i);
                let looks = known.looks.iter().filter(|look| look.treatment == i);
                let looks: Vec<_> =
                    looks.filter_map(|look| Some((look.day, contrast(&look.arms)?))).collect();
                Some(Comparison::of((i, &variation.key), contrast(&known.arms)?, &looks, &known.methods))
            })
            .collect();
        let shown = known.arms.iter().enumerate();
        MetricView {
            key: &metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            arms: shown.map(|(i, arm)| MetricArm::of(i, metric, features, plan, arm)).collect(),
            comparisons,
            best: Best::of(metric, features, plan, &known.arms).into(),
        }
    }
}
