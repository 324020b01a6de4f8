//! The same comparison adjusted by what users did before their exposure.

use domain::definition::MetricKind;
use domain::plan::Feature;
use serde::Serialize;

use super::contrast::Contrast;
use super::methods::Methods;
use super::reading::{Effects, Readings};
use super::sums::{columns, whole};
use crate::stats::Undefined;
use crate::stats::cuped::{Adjusted, Columns, Divisor, adjust};

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Cuped {
    Ok(Box<Adjustment>),
    Unavailable { reason: Unavailable },
}

#[derive(Debug, Serialize)]
pub struct Adjustment {
    /// Each an event, by what users did of it in the window before the exposure; the metric's own comes first.
    pub covariates: Vec<Covariate>,
    /// Share of the users of both arms who have any event of the metric in the window.
    pub coverage: Option<f64>,
    /// 1 - adjusted / unadjusted variance of the absolute effect.
    pub variance_reduction: f64,
    #[serde(flatten)]
    pub readings: Readings,
}

#[derive(Debug, Serialize)]
pub struct Covariate {
    pub event: String,
    /// 0 where it does not vary or says nothing that those before it do not.
    pub theta: f64,
}

/// Why there is no adjusted answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// The definition has no window before the exposure, and no pre-period values were told.
    Off,
    /// Ratios keep no covariates.
    Ratio,
    /// Nobody in either arm did anything in the window.
    NoHistory,
    #[serde(untagged)]
    Undefined(Undefined),
}

impl From<Undefined> for Unavailable {
    fn from(reason: Undefined) -> Unavailable {
        Unavailable::Undefined(reason)
    }
}

impl Contrast<'_> {
    pub fn adjusted(&self) -> Result<Adjusted, Unavailable> {
        let off = self.plan.lookback == 0;
        if self.features.covariates.is_empty() {
            return Err(if off { Unavailable::Off } else { Unavailable::Ratio });
        }
        let of = |arm| columns(&self.features, self.plan, arm);
        let (control, treatment) = (of(self.control)?, of(self.treatment)?);
        // The squares of every covariate: zero for all of them if nobody did anything.
        let idle = |arm: &Columns| (1..arm.sums.len()).all(|i| arm.products[i][i] == 0);
        let idle = idle(&control) && idle(&treatment);
        if idle && off {
            return Err(Unavailable::Off);
        }
        let pair = self.pair()?;
        if idle {
            return Err(Unavailable::NoHistory);
        }
        let divisor = match self.metric.kind {
            MetricKind::Proportion => Divisor::Population,
            MetricKind::Mean | MetricKind::Count | MetricKind::Ratio => Divisor::Sample,
        };
        Ok(adjust(&pair, &control, &treatment, divisor)?)
    }

    pub fn cuped(&self, methods: &Methods) -> Cuped {
        let adjusted = match self.adjusted() {
            Ok(adjusted) => adjusted,
            Err(reason) => return Cuped::Unavailable { reason },
        };
        let named = self.features.covariates.iter().zip(&adjusted.theta);
        Cuped::Ok(Box::new(Adjustment {
            covariates: named
                .map(|(feature, theta)| Covariate { event: self.event_before(*feature), theta: *theta })
                .collect(),
            coverage: self.coverage().ok(),
            variance_reduction: adjusted.variance_reduction,
            readings: Effects::of(|measure| adjusted.effect(measure)).read(self.better(), methods),
        }))
    }

    fn coverage(&self) -> Result<f64, Undefined> {
        let had = self.features.pre_converted.ok_or(Undefined::NoUnits)?;
        let (mut with, mut users) = (0.0, 0.0);
        for arm in [self.control, self.treatment] {
            with += whole(arm.product(self.plan, Feature::One, had))? as f64;
            users += whole(arm.contributing(self.plan))? as f64;
        }
        Ok(with / users)
    }

    fn event_before(&self, feature: Feature) -> String {
        let (Feature::PreConverted(e) | Feature::PreCount(e) | Feature::PreSum(e)) = feature else {
            return String::new();
        };
        self.plan.events.get(usize::from(e)).cloned().unwrap_or_default()
    }
}
