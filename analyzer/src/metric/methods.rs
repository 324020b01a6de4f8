//! How effects are read, from the analysis of the definition.

use domain::definition::{Analysis, Direction, Mode};

use crate::known::Unanswerable;
use crate::stats::Alpha;
use crate::stats::bayes::{Better, Prior};

#[derive(Debug, Clone)]
pub struct Methods {
    /// Whose verdict counts.
    pub mode: Mode,
    pub alpha: Alpha,
    pub srm_alpha: Alpha,
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
    pub fn of(analysis: &Analysis) -> Result<Methods, Unanswerable> {
        let level = |value| Alpha::new(value).ok_or(Unanswerable::Alpha);
        Ok(Methods {
            mode: analysis.mode,
            alpha: level(analysis.alpha)?,
            srm_alpha: level(analysis.srm_alpha)?,
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
