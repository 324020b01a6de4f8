//! Which arm of a metric is best.

use domain::definition::Metric;
use domain::plan::MetricFeatures;
use domain::{Moments, Plan};
use serde::Serialize;

use super::methods::better;
use super::sums::Sums;
use crate::stats::Undefined;
use crate::stats::best::{Candidate, Chance, best};

/// Every arm's chance to be the best of all, by normal beliefs without a prior.
#[derive(Debug, Serialize)]
pub struct Best {
    pub arms: Vec<BestArm>,
}

#[derive(Debug, Serialize)]
pub struct BestArm {
    pub variation_index: usize,
    #[serde(flatten)]
    pub chance: Chance,
}

impl Best {
    pub fn of(
        metric: &Metric,
        features: &MetricFeatures,
        plan: &Plan,
        arms: &[Moments],
    ) -> Result<Best, Undefined> {
        let candidate = |arm: &Moments| {
            let sums = Sums::of(metric.kind, features, plan, arm)?;
            let stddev = (sums.variance()? / sums.users() as f64).sqrt();
            Ok::<_, Undefined>(Candidate { mean: sums.mean()?, stddev })
        };
        let candidates = arms.iter().map(candidate).collect::<Result<Vec<_>, _>>()?;
        let chances = best(&candidates, better(metric.direction))?.into_iter().enumerate();
        Ok(Best {
            arms: chances.map(|(variation_index, chance)| BestArm { variation_index, chance }).collect(),
        })
    }
}
