//! One treatment against the control, read by every method that applies.

use domain::definition::Mode;
use serde::Serialize;

use super::adjusted::Cuped;
use super::contrast::{Contrast, Treatment};
use super::guardrail::{Guarded, guarded};
use super::looks::PlannedLooks;
use super::methods::Methods;
use super::reading::{Reading, Readings};
use super::sums::Sums;
use super::verdict::Verdict;
use crate::stats::beta_binomial::{BetaBinomial, beta_binomial};
use crate::stats::effect::{Measure, effect};
use crate::stats::fieller::fieller;
use crate::stats::small_counts::{SmallCounts, small_counts};
use crate::stats::special::StudentT;
use crate::stats::{Alpha, Flag, Undefined};

#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    #[serde(flatten)]
    pub readings: Readings,
    /// Interval of the relative effect: to be preferred where `unstable_baseline` is flagged.
    pub fieller: Reading<Fieller>,
    /// Of proportions, where Welch's test has too few conversions or no variance to go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small_counts: Option<Reading<SmallCounts>>,
    /// Of proportions: chances and losses without a normal approximation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_binomial: Option<Reading<BetaBinomial>>,
    pub cuped: Cuped,
    /// Where there are several strata or phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_stratified: Option<Readings>,
    /// In the mode of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_sequential: Option<Reading<PlannedLooks>>,
    /// Of primary and secondary metrics: what the mode makes of it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Reading<Verdict>>,
    /// Of guardrails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<Reading<Guarded>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Fieller {
    pub ci: [f64; 2],
}

impl<'a> Comparison<'a> {
    /// `verdict`: of metrics that are to be improved; guardrails are checked instead.
    pub fn of(
        treatment: &Treatment<'a>,
        verdict: Option<Reading<Verdict>>,
        methods: &Methods,
    ) -> Comparison<'a> {
        let (contrast, alpha) = (&treatment.now, methods.alpha);
        let effects = contrast.unadjusted();
        let few = match &effects.absolute {
            Ok(effect) => effect.flags.contains(&Flag::LowData),
            Err(reason) => *reason == Undefined::ZeroVariance,
        };
        let proportions = match contrast.sums() {
            Ok([Sums::Proportion(a), Sums::Proportion(b)]) => Some((a, b)),
            _ => None,
        };
        let better = contrast.better();
        Comparison {
            variation_index: treatment.variation_index,
            key: treatment.key,
            readings: effects.read(better, methods),
            fieller: ratio_interval(contrast, alpha).into(),
            small_counts: proportions.filter(|_| few).map(|(a, b)| small_counts(&a, &b, alpha).into()),
            beta_binomial: proportions.map(|(a, b)| beta_binomial(&a, &b, better).into()),
            cuped: contrast.cuped(methods),
            post_stratified: contrast.stratified().map(|effects| effects.read(better, methods)),
            group_sequential: (methods.mode == Mode::GroupSequential)
                .then(|| PlannedLooks::taken(&treatment.looks, methods).into()),
            guardrail: verdict.is_none().then(|| guarded(treatment, methods)),
            verdict,
        }
    }
}

fn ratio_interval(contrast: &Contrast<'_>, alpha: Alpha) -> Result<Fieller, Undefined> {
    let pair = contrast.pair()?;
    let dof = effect(&pair, Measure::Absolute)?.dof;
    Ok(Fieller { ci: fieller(&pair, StudentT::new(dof)?.upper_quantile(alpha.get() / 2.0))? })
}
