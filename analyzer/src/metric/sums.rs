//! From an arm's moments to the exact sums its metric's statistics take.

use domain::definition::MetricKind;
use domain::plan::{Feature, MetricFeatures};
use domain::{Moments, Plan};
use ethnum::I256;

use crate::stats::Undefined;
use crate::stats::arms::{ArmMoments, Pair, ProportionArm, Scale};
use crate::stats::cuped::Columns;
use crate::stats::ratio::RatioArm;
use crate::stats::strata::Merge;

/// One arm, as one metric sees it.
#[derive(Debug, Clone, Copy)]
pub enum Sums {
    Proportion(ProportionArm),
    Mean(ArmMoments),
    Ratio(RatioArm),
}

impl Sums {
    pub fn of(kind: MetricKind, f: &MetricFeatures, plan: &Plan, arm: &Moments) -> Result<Sums, Undefined> {
        let product = |a, b| arm.product(plan, a, b);
        let (y, n) = (f.outcome, whole(arm.contributing(plan))?);
        Ok(match (kind, f.denominator) {
            (MetricKind::Proportion, _) => {
                Sums::Proportion(ProportionArm { n, converters: whole(product(Feature::One, y))? })
            }
            (_, Some(d)) => Sums::Ratio(RatioArm {
                n,
                numerator: product(Feature::One, y),
                numerator_sq: product(y, y),
                denominator: product(Feature::One, d),
                denominator_sq: product(d, d),
                product: product(y, d),
                numerator_scale: scale(y),
                denominator_scale: scale(d),
            }),
            (_, None) => Sums::Mean(ArmMoments {
                n,
                sum: product(Feature::One, y),
                sum_sq: product(y, y),
                scale: scale(y),
            }),
        })
    }

    pub fn users(&self) -> u64 {
        match self {
            Sums::Proportion(arm) => arm.n,
            Sums::Mean(arm) => arm.n,
            Sums::Ratio(arm) => arm.n,
        }
    }

    /// Of the per-user outcome; of a ratio the ratio.
    pub fn mean(&self) -> Result<f64, Undefined> {
        match self {
            Sums::Proportion(arm) => arm.rate(),
            Sums::Mean(arm) => arm.mean(),
            Sums::Ratio(arm) => arm.ratio(),
        }
    }

    /// Of one user.
    pub fn variance(&self) -> Result<f64, Undefined> {
        match self {
            Sums::Proportion(arm) => arm.variance(),
            Sums::Mean(arm) => arm.variance(),
            Sums::Ratio(arm) => arm.variance(),
        }
    }

    /// The users of both. Ratios are not stratified.
    fn plus(&self, other: &Sums) -> Result<Sums, Undefined> {
        let add = |a: I256, b: I256| a.checked_add(b).ok_or(Undefined::OutOfRange);
        let users = |a: u64, b: u64| a.checked_add(b).ok_or(Undefined::OutOfRange);
        Ok(match (self, other) {
            (Sums::Proportion(a), Sums::Proportion(b)) => Sums::Proportion(ProportionArm {
                n: users(a.n, b.n)?,
                converters: users(a.converters, b.converters)?,
            }),
            (Sums::Mean(a), Sums::Mean(b)) => Sums::Mean(ArmMoments {
                n: users(a.n, b.n)?,
                sum: add(a.sum, b.sum)?,
                sum_sq: add(a.sum_sq, b.sum_sq)?,
                scale: a.scale,
            }),
            _ => return Err(Undefined::Inconsistent),
        })
    }

    pub fn pair(control: &Sums, treatment: &Sums) -> Result<Pair, Undefined> {
        match (control, treatment) {
            (Sums::Proportion(a), Sums::Proportion(b)) => Pair::of_proportions(a, b),
            (Sums::Mean(a), Sums::Mean(b)) => Pair::of_means(a, b),
            (Sums::Ratio(a), Sums::Ratio(b)) => Pair::of_ratios(a, b),
            _ => Err(Undefined::Inconsistent),
        }
    }
}

/// Both arms of a comparison within one stratum and phase.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub control: Sums,
    pub treatment: Sums,
}

impl Merge for Cell {
    fn merge(&self, other: &Cell) -> Result<Cell, Undefined> {
        Ok(Cell {
            control: self.control.plus(&other.control)?,
            treatment: self.treatment.plus(&other.treatment)?,
        })
    }

    fn pair(&self) -> Result<Pair, Undefined> {
        Sums::pair(&self.control, &self.treatment)
    }

    fn users(&self) -> u64 {
        self.control.users().saturating_add(self.treatment.users())
    }
}

/// The outcome and what it is adjusted by, of one arm.
pub fn columns(f: &MetricFeatures, plan: &Plan, arm: &Moments) -> Result<Columns, Undefined> {
    let all: Vec<Feature> = std::iter::once(f.outcome).chain(f.covariates.iter().copied()).collect();
    let row = |i: usize| all.iter().take(i + 1).map(|other| arm.product(plan, all[i], *other)).collect();
    Ok(Columns {
        n: whole(arm.contributing(plan))?,
        scales: all.iter().map(|feature| scale(*feature)).collect(),
        sums: all.iter().map(|feature| arm.product(plan, Feature::One, *feature)).collect(),
        products: (0..all.len()).map(row).collect(),
    })
}

/// Sums that count something are not negative.
pub fn whole(value: I256) -> Result<u64, Undefined> {
    u64::try_from(value).map_err(|_| Undefined::Inconsistent)
}

pub fn scale(feature: Feature) -> Scale {
    match feature {
        Feature::Sum(_) | Feature::CappedSum(..) | Feature::PreSum(_) => Scale::Millionths,
        Feature::One
        | Feature::Converted(_)
        | Feature::Count(_)
        | Feature::CappedCount(..)
        | Feature::PreConverted(_)
        | Feature::PreCount(_) => Scale::Ones,
    }
}
