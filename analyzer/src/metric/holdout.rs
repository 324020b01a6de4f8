//! What all treatments together have done: every arm pooled against the users who were kept out of all of them.

use domain::{Moments, Overflow};
use serde::Serialize;

use super::contrast::Contrast;
use super::reading::Readings;
use crate::known::Known;

#[derive(Debug, Serialize)]
pub struct Holdout<'a> {
    /// Enrolled.
    pub users: i64,
    pub metrics: Vec<HeldOut<'a>>,
}

/// The effect of the arms on the metric, the holdout as control.
#[derive(Debug, Serialize)]
pub struct HeldOut<'a> {
    pub key: &'a str,
    #[serde(flatten)]
    pub readings: Readings,
}

impl<'a> Holdout<'a> {
    /// None: nobody is held out.
    pub fn of(known: &'a Known<'_>) -> Option<Holdout<'a>> {
        let control = known.holdout.as_ref()?;
        let treatment = pooled(&known.arms.all).ok()?;
        let read = |metric| {
            let features = known.plan.metric(metric);
            let plan = &known.plan;
            let contrast =
                Contrast { metric, features, plan, control, treatment: &treatment, cells: Vec::new() };
            let readings = contrast.unadjusted().read(contrast.better(), &known.methods);
            HeldOut { key: &metric.key, readings }
        };
        let metrics = known.experiment.definition.metrics.iter().map(read).collect();
        Some(Holdout { users: control.heads.enrolled, metrics })
    }
}

fn pooled(arms: &[Moments]) -> Result<Moments, Overflow> {
    let mut sum = Moments::default();
    for arm in arms {
        sum.add(arm)?;
    }
    Ok(sum)
}
