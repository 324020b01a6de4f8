//! How effects are read, from the analysis of the definition.

use domain::definition::{Correction, Definition, Direction, Mode};

use crate::known::Unanswerable;
use crate::stats::Alpha;
use crate::stats::bayes::{Better, Prior};

#[derive(Debug, Clone)]
pub struct Methods {
    /// Whose verdict counts.
    pub mode: Mode,
    pub alpha: Alpha,
    pub srm_alpha: Alpha,
    pub correction: Correction,
    /// Treatments whose verdicts are corrected for each other.
    pub family: usize,
    /// alpha divided by their number: of the intervals that verdicts are made of.
    pub family_alpha: Alpha,
    pub power: f64,
    /// Smallest relative effect worth shipping.
    pub mde: Option<f64>,
    /// Users of a pair at which the confidence sequence is narrowest.
    pub tuning: f64,
    /// Users of a pair at which looks are planned.
    pub looks: Vec<u64>,
    /// On the relative effect; none = flat.
    pub prior: Option<Prior>,
}

/// Where no size is planned.
const TUNING: f64 = 5_000.0;

impl Methods {
    pub fn of(definition: &Definition) -> Result<Methods, Unanswerable> {
        let analysis = &definition.analysis;
        // Beliefs are not corrected: the prior is where their caution is.
        let corrects = analysis.correction != Correction::None && analysis.mode != Mode::Bayesian;
        let family = if corrects { definition.variations.len().saturating_sub(1).max(1) } else { 1 };
        let level = |value| Alpha::new(value).ok_or(Unanswerable::Alpha);
        Ok(Methods {
            mode: analysis.mode,
            alpha: level(analysis.alpha)?,
            srm_alpha: level(analysis.srm_alpha)?,
            correction: analysis.correction,
            family,
            family_alpha: level(analysis.alpha / family as f64)?,
            power: analysis.power,
            mde: analysis.mde,
            tuning: analysis.planned_size().map_or(TUNING, |users| users as f64),
            looks: analysis.looks.clone(),
            prior: analysis.prior.map(|prior| Prior { mean: prior.mean, stddev: prior.stddev }),
        })
    }
}

pub fn better(direction: Direction) -> Better {
    match direction {
        Direction::Up => Better::Higher,
        Direction::Down => Better::Lower,
    }
}
