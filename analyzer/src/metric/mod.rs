//! One metric of an answer: each arm's sums, and each treatment against the control.

pub mod adjusted;
pub mod arm;
pub mod best;
pub mod comparison;
pub mod contrast;
pub mod guardrail;
pub mod holdout;
pub mod looks;
pub mod methods;
pub mod reading;
pub mod sums;
pub mod verdict;

use domain::definition::{Direction, Metric, MetricKind, Role};
use serde::Serialize;

use crate::known::Known;
use arm::MetricArm;
use best::Best;
use comparison::Comparison;
use contrast::Treatment;
use reading::Reading;
use verdict::verdicts;

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
        let (plan, methods) = (&known.plan, &known.methods);
        let features = &plan.metric(metric);
        let treatments = Treatment::all(known, metric);
        let comparisons = if metric.role == Some(Role::Guardrail) {
            treatments.iter().map(|treatment| Comparison::of(treatment, None, methods)).collect()
        } else {
            let judged = treatments.iter().zip(verdicts(&treatments, methods));
            judged.map(|(treatment, verdict)| Comparison::of(treatment, Some(verdict), methods)).collect()
        };
        let shown = known.arms.all.iter().enumerate();
        MetricView {
            key: &metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            arms: shown.map(|(i, arm)| MetricArm::of(i, metric, features, plan, arm)).collect(),
            comparisons,
            best: Best::of(metric, features, plan, &known.arms.all).into(),
        }
    }
}
