//! Whether the arms are comparable at all: as many users as their weights promise, and as many of them filtered.

use std::collections::BTreeMap;

use domain::contribution::Heads;
use serde::Serialize;
use store::Experiment;

use crate::known::{Arms, Known};
use crate::metric::reading::Reading;
use crate::stats::imbalance::{Befallen, imbalance};
use crate::stats::srm::{ChiSquare, Srm, SrmArm, srm};
use crate::stats::srm_anytime::{AnytimeSrm, srm_anytime};
use crate::stats::{Alpha, Undefined};

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SampleRatio {
    Ok(Tested),
    MismatchCertain { mismatch: bool },
    Undefined { reason: Undefined },
}

#[derive(Debug, Serialize)]
pub struct Tested {
    #[serde(flatten)]
    pub chi_square: ChiSquare,
    /// Holds however often one looks.
    pub always_valid: AnytimeSrm,
}

/// Differences between the arms in what keeps users out of metrics, or in who saw several variations.
#[derive(Debug, Serialize)]
pub struct FilterImbalance {
    pub mismatch: bool,
    pub filtered: Reading<ChiSquare>,
    pub excluded: Reading<ChiSquare>,
    pub crossovers: Reading<ChiSquare>,
}

impl SampleRatio {
    pub fn of(known: &Known<'_>) -> SampleRatio {
        match periods(known.experiment, &known.arms) {
            Ok(periods) => SampleRatio::of_periods(&periods, known.methods.srm_alpha),
            Err(reason) => SampleRatio::Undefined { reason },
        }
    }

    pub fn of_periods(periods: &[Vec<SrmArm>], alpha: Alpha) -> SampleRatio {
        Self::tested(periods, alpha).unwrap_or_else(|reason| SampleRatio::Undefined { reason })
    }

    fn tested(periods: &[Vec<SrmArm>], alpha: Alpha) -> Result<SampleRatio, Undefined> {
        let chi_square = match srm(periods, alpha)? {
            Srm::Tested(test) => test,
            Srm::CertainMismatch => return Ok(SampleRatio::MismatchCertain { mismatch: true }),
        };
        let look = srm_anytime(&[periods.to_vec()], alpha)?;
        let always_valid = look.first().copied().ok_or(Undefined::NoUnits)?;
        Ok(SampleRatio::Ok(Tested { chi_square, always_valid }))
    }

    /// By the test that may be looked at again and again.
    pub fn mismatch_at_any_look(&self) -> bool {
        match self {
            SampleRatio::Ok(tested) => tested.always_valid.mismatch,
            SampleRatio::MismatchCertain { mismatch } => *mismatch,
            SampleRatio::Undefined { .. } => false,
        }
    }

    /// By either test.
    pub fn mismatch(&self) -> bool {
        match self {
            SampleRatio::Ok(tested) => tested.chi_square.mismatch || tested.always_valid.mismatch,
            SampleRatio::MismatchCertain { mismatch } => *mismatch,
            SampleRatio::Undefined { .. } => false,
        }
    }
}

/// Enrolled users, whatever was filtered or excluded since, by period of constant weights.
pub fn periods(experiment: &Experiment, arms: &Arms) -> Result<Vec<Vec<SrmArm>>, Undefined> {
    let mut phases: BTreeMap<u16, Vec<SrmArm>> = BTreeMap::new();
    for (cell, arms) in &arms.cells {
        let empty = |weight| SrmArm { observed: 0, weight };
        let weights = || weights(experiment, cell.phase).into_iter().map(empty).collect();
        let phase = phases.entry(cell.phase).or_insert_with(weights);
        for (sum, arm) in phase.iter_mut().zip(arms) {
            sum.observed += users(arm.heads.enrolled)?;
        }
    }
    Ok(phases.into_values().collect())
}

/// Those of the definition before they change for the first time.
fn weights(experiment: &Experiment, phase: u16) -> Vec<f64> {
    match experiment.phases.get(usize::from(phase)) {
        Some(phase) => phase.weights.clone(),
        None => experiment.definition.variations.iter().map(|variation| variation.weight).collect(),
    }
}

impl FilterImbalance {
    pub fn of(known: &Known<'_>) -> FilterImbalance {
        let of = |affected: fn(&Heads) -> i64| -> Reading<ChiSquare> {
            let arms = known.arms.all.iter().map(|arm| {
                Ok(Befallen { users: users(arm.heads.enrolled)?, affected: users(affected(&arm.heads))? })
            });
            arms.collect::<Result<Vec<_>, _>>()
                .and_then(|arms| imbalance(&arms, known.methods.srm_alpha))
                .into()
        };
        let [filtered, excluded, crossovers] =
            [of(|heads| heads.filtered), of(|heads| heads.excluded), of(|heads| heads.crossovers)];
        let mismatch =
            [&filtered, &excluded, &crossovers].iter().any(|test| test.ok().is_some_and(|t| t.mismatch));
        FilterImbalance { mismatch, filtered, excluded, crossovers }
    }
}

fn users(count: i64) -> Result<u64, Undefined> {
    u64::try_from(count).map_err(|_| Undefined::Inconsistent)
}
