//! A treatment against the control on one metric, before any method is chosen.

use domain::definition::Metric;
use domain::plan::MetricFeatures;
use domain::{Day, Moments, Plan};

use super::methods::better;
use super::reading::Effects;
use super::sums::{Cell, Sums};
use crate::known::{Arms, Known};
use crate::stats::Undefined;
use crate::stats::arms::Pair;
use crate::stats::bayes::Better;
use crate::stats::effect::{Measure, effect};
use crate::stats::strata::post_stratified;

#[derive(Clone)]
pub struct Contrast<'a> {
    pub metric: &'a Metric,
    pub features: MetricFeatures,
    pub plan: &'a Plan,
    pub control: &'a Moments,
    pub treatment: &'a Moments,
    /// Control and treatment of each stratum and phase.
    pub cells: Vec<(&'a Moments, &'a Moments)>,
}

/// A treatment with its looks.
pub struct Treatment<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub now: Contrast<'a>,
    /// As it stood at the planned looks taken, ascending.
    pub looks: Vec<(Day, Contrast<'a>)>,
}

/// How the effect is estimated that verdicts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    PostStratified,
    Cuped,
    Unadjusted,
}

impl<'a> Treatment<'a> {
    /// Each against the first variation.
    pub fn all(known: &'a Known<'_>, metric: &'a Metric) -> Vec<Treatment<'a>> {
        let variations = known.experiment.definition.variations.iter().enumerate().skip(1);
        let contrast = |arms: &'a Arms, i: usize| Contrast::of(metric, &known.plan, arms, i);
        variations
            .filter_map(|(i, variation)| {
                let looks = known.looks.iter().filter(|look| look.treatment == i);
                Some(Treatment {
                    variation_index: i,
                    key: &variation.key,
                    now: contrast(&known.arms, i)?,
                    looks: looks.filter_map(|look| Some((look.day, contrast(&look.arms, i)?))).collect(),
                })
            })
            .collect()
    }
}

impl<'a> Contrast<'a> {
    /// None: there is no such arm.
    pub fn of(metric: &'a Metric, plan: &'a Plan, arms: &'a Arms, treatment: usize) -> Option<Contrast<'a>> {
        let both = |arms: &'a [Moments]| Some((arms.first()?, arms.get(treatment)?));
        let (control, of_treatment) = both(&arms.all)?;
        Some(Contrast {
            metric,
            features: plan.metric(metric),
            plan,
            control,
            treatment: of_treatment,
            cells: arms.cells.values().filter_map(|arms| both(arms)).collect(),
        })
    }

    /// Control and treatment.
    pub fn sums(&self) -> Result<[Sums; 2], Undefined> {
        Ok([self.sums_of(self.control)?, self.sums_of(self.treatment)?])
    }

    fn sums_of(&self, arm: &Moments) -> Result<Sums, Undefined> {
        Sums::of(self.metric.kind, &self.features, self.plan, arm)
    }

    pub fn pair(&self) -> Result<Pair, Undefined> {
        let [control, treatment] = self.sums()?;
        Sums::pair(&control, &treatment)
    }

    pub fn better(&self) -> Better {
        better(self.metric.direction)
    }

    /// The effects that verdicts are made of. Arms whose shares differ between cells are not comparable as a whole, so
    /// cells come first; else what is known from before the exposure is used where it can be.
    pub fn decisive(&self) -> (Estimator, Effects) {
        if let Some(effects) = self.stratified() {
            return (Estimator::PostStratified, effects);
        }
        match self.adjusted() {
            Ok(adjusted) => (Estimator::Cuped, Effects::of(|measure| adjusted.effect(measure))),
            Err(_) => (Estimator::Unadjusted, self.unadjusted()),
        }
    }

    pub fn unadjusted(&self) -> Effects {
        let pair = self.pair();
        Effects::of(|measure| effect(&pair?, measure))
    }

    /// Averaged over strata and phases; none where there is but one, and for ratios.
    pub fn stratified(&self) -> Option<Effects> {
        if self.cells.len() < 2 || self.features.denominator.is_some() {
            return None;
        }
        let cell = |(control, treatment): &(&Moments, &Moments)| {
            Ok(Cell { control: self.sums_of(control)?, treatment: self.sums_of(treatment)? })
        };
        let cells: Result<Vec<Cell>, Undefined> = self.cells.iter().map(cell).collect();
        let estimate = |measure: Measure| post_stratified(cells.clone()?, &self.pair()?, measure);
        Some(Effects::of(estimate))
    }
}
