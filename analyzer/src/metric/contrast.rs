//! A treatment against the control on one metric, before any method is chosen.

use domain::definition::Metric;
use domain::plan::MetricFeatures;
use domain::{Moments, Plan};

use super::methods::better;
use super::reading::Effects;
use super::sums::Sums;
use crate::stats::Undefined;
use crate::stats::arms::Pair;
use crate::stats::bayes::Better;
use crate::stats::effect::effect;

#[derive(Clone, Copy)]
pub struct Contrast<'a> {
    pub metric: &'a Metric,
    pub features: &'a MetricFeatures,
    pub plan: &'a Plan,
    pub control: &'a Moments,
    pub treatment: &'a Moments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    Cuped,
    Unadjusted,
}

impl<'a> Contrast<'a> {
    /// None: there is no such arm.
    pub fn of(
        metric: &'a Metric,
        features: &'a MetricFeatures,
        plan: &'a Plan,
        arms: &'a [Moments],
        treatment: usize,
    ) -> Option<Contrast<'a>> {
        Some(Contrast { metric, features, plan, control: arms.first()?, treatment: arms.get(treatment)? })
    }

    /// Control and treatment.
    pub fn sums(&self) -> Result<[Sums; 2], Undefined> {
        let of = |arm| Sums::of(self.metric.kind, self.features, self.plan, arm);
        Ok([of(self.control)?, of(self.treatment)?])
    }

    pub fn pair(&self) -> Result<Pair, Undefined> {
        let [control, treatment] = self.sums()?;
        Sums::pair(&control, &treatment)
    }

    pub fn better(&self) -> Better {
        better(self.metric.direction)
    }

    /// The effects that verdicts are made of: adjusted where that can be done.
    pub fn decisive(&self) -> (Estimator, Effects) {
        match self.adjusted() {
            Ok(adjusted) => (Estimator::Cuped, Effects::of(|measure| adjusted.effect(measure))),
            Err(_) => (Estimator::Unadjusted, self.unadjusted()),
        }
    }

    pub fn unadjusted(&self) -> Effects {
        let pair = self.pair();
        Effects::of(|measure| effect(&pair?, measure))
    }
}
