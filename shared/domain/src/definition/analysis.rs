//! How an experiment is analysed and when it may be called decided.

use super::{Definition, Direction, Invalid, Role, check_name, ensure};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// Whose verdict counts; the others are shown beside it.
    pub mode: Mode,
    /// Two-sided error level of intervals and verdicts.
    pub alpha: f64,
    /// Probability to find an effect of `mde`, for planned sizes.
    pub power: f64,
    /// Smallest effect on the primary metric that is worth shipping, relative to the control; nothing ships without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mde: Option<f64>,
    /// p below which the sample ratio is called a mismatch.
    pub srm_alpha: f64,
    /// Over the treatments of a metric.
    pub correction: Correction,
    pub cuped: Cuped,
    /// Users of a treatment and its control together at which looks are planned, ascending; the last is the planned
    /// size of the pair. `group_sequential` needs them, `fixed` and `sequential` take the planned size alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<u64>,
    /// On the relative effect; none = flat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// Full days before which nothing ships: a week has days that differ.
    pub min_days: u32,
}

impl Default for Analysis {
    fn default() -> Self {
        Analysis {
            mode: Mode::default(),
            alpha: 0.05,
            power: 0.8,
            mde: None,
            srm_alpha: 0.001,
            correction: Correction::default(),
            cuped: Cuped::default(),
            looks: Vec::new(),
            prior: None,
            min_days: 7,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Always valid, however often one looks: results pages refresh.
    #[default]
    Sequential,
    /// One test, at the planned size.
    Fixed,
    /// One test at each planned look.
    GroupSequential,
    /// By the posterior of the effect.
    Bayesian,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Bounds the probability of any false positive.
    #[default]
    Holm,
    /// Bounds the expected share of false ones among the positives.
    BenjaminiHochberg,
    None,
}

/// The pre-exposure window `[exposed - lookback, exposed - gap)`, CUPED's covariate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cuped {
    /// 0 = no window, no CUPED.
    pub lookback_days: u32,
    /// Keeps clock skew from leaking the treatment into the covariate.
    pub gap_minutes: u32,
    /// Events whose values in the same window, or the pre-period values told under the same name, are further covariates
    /// of every metric.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub covariates: Vec<String>,
}

impl Default for Cuped {
    fn default() -> Self {
        Cuped { lookback_days: 14, gap_minutes: 60, covariates: Vec::new() }
    }
}

/// Normal, on the relative effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    #[serde(default)]
    pub mean: f64,
    pub stddev: f64,
}

impl Analysis {
    /// Users of a treatment and its control together at which the analysis is planned to end.
    pub fn planned_size(&self) -> Option<u64> {
        self.looks.last().copied()
    }
}

pub(super) fn check(definition: &Definition) -> Result<(), Invalid> {
    let analysis = &definition.analysis;
    let open = |x: f64| x > 0.0 && x < 1.0;
    ensure("/analysis/alpha", open(analysis.alpha), "must lie between 0 and 1")?;
    ensure("/analysis/srm_alpha", open(analysis.srm_alpha), "must lie between 0 and 1")?;
    let power = analysis.power > analysis.alpha && analysis.power < 1.0;
    ensure("/analysis/power", power, "must lie between alpha and 1")?;
    let mde = analysis.mde.unwrap_or(1.0);
    ensure("/analysis/mde", mde > 0.0 && mde <= 10.0, "must be above 0 and at most 10 (1 = 100 percent)")?;
    let primary = definition.metrics.iter().find(|m| m.role == Some(Role::Primary));
    let down = primary.is_some_and(|m| m.direction == Direction::Down);
    let possible = !down || analysis.mde.is_none_or(|mde| mde < 1.0);
    ensure("/analysis/mde", possible, "must be below 1: the primary metric is to go down")?;
    ensure("/analysis/min_days", analysis.min_days <= 366, "must be at most 366")?;
    if let Some(prior) = &analysis.prior {
        ensure("/analysis/prior/mean", prior.mean.abs() <= 10.0, "must lie between -10 and 10")?;
        let proper = prior.stddev > 0.0 && prior.stddev <= 10.0;
        ensure("/analysis/prior/stddev", proper, "must be above 0 and at most 10")?;
    }
    check_looks(analysis)?;
    check_cuped(&analysis.cuped)
}

fn check_looks(analysis: &Analysis) -> Result<(), Invalid> {
    let looks = &analysis.looks;
    let at = "/analysis/looks";
    ensure(at, looks.len() <= 20, "must have at most 20 entries")?;
    let ascending = looks.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let positive = looks.first().is_none_or(|n| *n >= 2);
    let bounded = looks.last().is_none_or(|n| *n <= 1_000_000_000_000);
    ensure(at, ascending && positive && bounded, "must be numbers of users, ascending, from 2 to 1e12")?;
    match analysis.mode {
        Mode::GroupSequential => ensure(at, !looks.is_empty(), "is needed by the mode group_sequential"),
        Mode::Sequential | Mode::Fixed => {
            ensure(at, looks.len() <= 1, "must be the planned size alone: only group_sequential has looks")
        }
        Mode::Bayesian => ensure(at, looks.is_empty(), "means nothing to the mode bayesian"),
    }
}

fn check_cuped(cuped: &Cuped) -> Result<(), Invalid> {
    let at = |field: &str| format!("/analysis/cuped/{field}");
    ensure(&at("lookback_days"), cuped.lookback_days <= 366, "must be at most 366")?;
    ensure(&at("gap_minutes"), cuped.gap_minutes <= 7 * 24 * 60, "must be at most 10080")?;
    let off = cuped.lookback_days == 0;
    let window = off || cuped.gap_minutes < cuped.lookback_days * 24 * 60;
    ensure(&at("gap_minutes"), window, "leaves nothing of the window before the exposure")?;
    let covariates = &cuped.covariates;
    ensure(&at("covariates"), covariates.len() <= 5, "must have at most 5 entries")?;
    for (i, name) in covariates.iter().enumerate() {
        let at = at(&format!("covariates/{i}"));
        check_name(&at, name)?;
        ensure(&at, !covariates.iter().take(i).any(|other| other == name), "is used twice")?;
    }
    Ok(())
}
