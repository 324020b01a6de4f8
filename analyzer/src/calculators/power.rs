//! How many users an experiment needs for what it is to find, how long that takes, and what it finds with those it has.

use domain::definition::{Correction, MetricKind, Mode};
use serde::{Deserialize, Serialize};

use super::{Invalid, invalid};
use crate::stats::power::{
    Alternative, Design, Difference, control_users_by_arcsine, mid_experiment_power, power_by_t,
    power_of_pooled_proportions, users_by_t,
};
use crate::stats::sequential::widths_at_tuning;
use crate::stats::{Alpha, normal};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// The control's rate, mean or ratio.
    pub baseline: f64,
    /// Of one user; not of proportions. Of a ratio the root of the delta method's unit variance.
    #[serde(default)]
    pub stddev: Option<f64>,
    /// Relative difference to be found, either sign.
    #[serde(default)]
    pub mde: Option<f64>,
    #[serde(default = "alpha")]
    pub alpha: f64,
    #[serde(default = "power")]
    pub power: f64,
    #[serde(default)]
    pub alternative: Alternative,
    /// Shares of the arms, the control's first.
    #[serde(default = "two_equal")]
    pub weights: Vec<f64>,
    /// Whether the level is divided by the number of treatments: by anything but `none`.
    #[serde(default)]
    pub correction: Correction,
    /// `fixed` or `sequential`.
    #[serde(default)]
    pub mode: Mode,
    /// Share of the variance that CUPED is expected to remove.
    #[serde(default)]
    pub variance_reduction: f64,
    /// New users a day, all arms together; those who come again add nothing.
    #[serde(default)]
    pub users_per_day: Option<f64>,
    /// All arms together: what can be found with so many?
    #[serde(default)]
    pub users: Option<u64>,
    /// Of the relative effect, of an experiment under way.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// How many times the data there is will be added to it.
    #[serde(default)]
    pub more_data: f64,
}

fn alpha() -> f64 {
    0.05
}

fn power() -> f64 {
    0.8
}

fn two_equal() -> Vec<f64> {
    vec![1.0, 1.0]
}

#[derive(Debug, Serialize)]
pub struct Answer {
    /// Level of each comparison.
    pub alpha: f64,
    pub power: f64,
    pub mode: Mode,
    /// For `mde`.
    pub sample_size: Option<SampleSize>,
    /// For `users`.
    pub with_users: Option<WithUsers>,
    /// For `standard_error` and `mde`.
    pub under_way: Option<UnderWay>,
}

#[derive(Debug, Serialize)]
pub struct SampleSize {
    pub total: u64,
    /// In the order of the weights.
    pub arms: Vec<u64>,
    /// Of the control, before rounding up.
    pub control: f64,
    /// By Cohen's h (proportions) or Student's t (means in equal arms), for comparison with other calculators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_by_arcsine: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_by_t: Option<f64>,
    /// Whole weeks, so that every weekday is in it equally often; for `users_per_day`.
    pub duration_days: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct WithUsers {
    /// To find `mde`.
    pub power: Option<f64>,
    /// With the variance pooled under "no difference" (proportions in equal arms), or by Student's t (means).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_pooled: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_by_t: Option<f64>,
    /// Smallest relative effect found with the power asked for; null: none that is possible.
    pub mde: Option<f64>,
}

#[derive(Debug, Serialize)]
pub struct UnderWay {
    /// Of a single test at the present size.
    pub power_now: f64,
    pub power_with_more: f64,
}

/// The question, checked.
struct Plan<'q> {
    question: &'q Question,
    design: Design,
    /// Standard errors between zero and an effect that is found with the power asked for.
    distance: f64,
    /// Standard errors between zero and an estimate that is significant.
    critical: f64,
    /// Users of the smallest treatment, and of all arms, per user of the control.
    ratio: f64,
    whole: f64,
}

pub fn answer(question: &Question) -> Result<Answer, Invalid> {
    check(question)?;
    let treatments = question.weights.len() as f64 - 1.0;
    let alpha = match question.correction {
        Correction::None => question.alpha,
        Correction::Holm | Correction::BenjaminiHochberg => question.alpha / treatments,
    };
    let design = Design::new(alpha, question.power, question.alternative);
    let design = design.ok_or(invalid("/power", "must lie between alpha and 1"))?;
    let level = Alpha::new(alpha).ok_or(invalid("/alpha", "must lie between 0 and 1"))?;
    let critical =
        if question.mode == Mode::Sequential { widths_at_tuning(level) } else { design.critical() };
    let smallest = question.weights.iter().skip(1).copied().fold(f64::INFINITY, f64::min);
    let plan = Plan {
        question,
        design,
        distance: critical + normal::upper_quantile(1.0 - question.power),
        critical,
        ratio: smallest / question.weights[0],
        whole: question.weights.iter().sum::<f64>() / question.weights[0],
    };
    Ok(Answer {
        alpha,
        power: question.power,
        mode: question.mode,
        sample_size: question.mde.map(|mde| plan.sample_size(mde)).transpose()?,
        with_users: question.users.map(|users| plan.with_users(users as f64)).transpose()?,
        under_way: question
            .standard_error
            .zip(question.mde)
            .map(|(e, mde)| plan.under_way(e, mde))
            .transpose()?,
    })
}

fn check(q: &Question) -> Result<(), Invalid> {
    let ensure = |pointer, holds: bool, reason| if holds { Ok(()) } else { Err(invalid(pointer, reason)) };
    let within = |x: f64, most: f64| x > 0.0 && x <= most;
    let proportion = q.kind == MetricKind::Proportion;
    if proportion {
        ensure("/baseline", q.baseline > 0.0 && q.baseline < 1.0, "must lie between 0 and 1")?;
        ensure("/stddev", q.stddev.is_none(), "follows from the baseline of a proportion")?;
    } else {
        ensure("/baseline", within(q.baseline.abs(), 1e15), "must not be 0, nor beyond 1e15")?;
        ensure("/stddev", q.stddev.is_some_and(|s| within(s, 1e15)), "must be above 0 and at most 1e15")?;
    }
    let mde = q.mde.is_none_or(|mde| mde != 0.0 && mde > -1.0 && mde <= 10.0);
    ensure("/mde", mde, "must be above -1 and at most 10, and not 0")?;
    let possible = !proportion || q.mde.is_none_or(|mde| q.baseline * (1.0 + mde) < 1.0);
    ensure("/mde", possible, "leads to a rate of 1 or more")?;
    ensure("/mde", q.mde.is_some() || q.users.is_some(), "is needed, or users")?;
    ensure("/weights", (2..=10).contains(&q.weights.len()), "must have 2 to 10 entries")?;
    ensure("/weights", q.weights.iter().all(|w| within(*w, 1e9)), "must be above 0 and at most 1e9")?;
    let modes = matches!(q.mode, Mode::Fixed | Mode::Sequential);
    ensure("/mode", modes, "must be `fixed` or `sequential`")?;
    let sided = q.mode == Mode::Fixed || q.alternative == Alternative::TwoSided;
    ensure("/alternative", sided, "must be `two_sided` in the mode sequential")?;
    let reduction = (0.0..1.0).contains(&q.variance_reduction);
    ensure("/variance_reduction", reduction, "must be at least 0 and below 1")?;
    let daily = q.users_per_day.is_none_or(|n| within(n, 1e12));
    ensure("/users_per_day", daily, "must be above 0 and at most 1e12")?;
    ensure("/users", q.users.is_none_or(|n| n >= 4), "must be at least 4")?;
    ensure("/standard_error", q.standard_error.is_none_or(|s| within(s, 1e6)), "must be above 0")?;
    ensure("/more_data", (0.0..=1e6).contains(&q.more_data), "must be between 0 and 1e6")
}

impl Plan<'_> {
    fn difference(&self, mde: f64) -> Result<Difference, Invalid> {
        let q = self.question;
        let left = 1.0 - q.variance_reduction;
        let difference = match q.stddev {
            None => Difference::of_proportions(q.baseline, mde)?,
            Some(stddev) => Difference {
                control_variance: stddev * stddev,
                treatment_variance: stddev * stddev,
                effect: q.baseline * mde,
            },
        };
        Ok(Difference {
            control_variance: difference.control_variance * left,
            treatment_variance: difference.treatment_variance * left,
            ..difference
        })
    }

    fn equal(&self) -> bool {
        self.ratio == 1.0 && self.question.mode == Mode::Fixed
    }

    fn sample_size(&self, mde: f64) -> Result<SampleSize, Invalid> {
        let q = self.question;
        let control = self.difference(mde)?.control_users(self.ratio, self.distance)?;
        let fixed = q.mode == Mode::Fixed && q.variance_reduction == 0.0;
        let arcsine = || control_users_by_arcsine(q.baseline, mde, self.ratio, self.design).ok();
        let by_t = |stddev: f64| users_by_t(q.baseline * mde / stddev, self.design).ok();
        let arms: Vec<u64> =
            q.weights.iter().map(|w| whole(control * w / q.weights[0])).collect::<Result<_, _>>()?;
        let total: u64 = arms.iter().sum();
        let duration = |daily: f64| Ok::<_, Invalid>(whole(total as f64 / daily / 7.0)?.max(1) * 7);
        Ok(SampleSize {
            total,
            arms,
            control,
            control_by_arcsine: if fixed && q.stddev.is_none() { arcsine() } else { None },
            control_by_t: if fixed && self.equal() { q.stddev.and_then(by_t) } else { None },
            duration_days: q.users_per_day.map(duration).transpose()?,
        })
    }

    fn with_users(&self, users: f64) -> Result<WithUsers, Invalid> {
        let (q, control) = (self.question, users / self.whole);
        let power = |mde: f64| {
            let difference = self.difference(mde)?;
            Ok::<_, Invalid>(match q.mode {
                Mode::Sequential => {
                    let away = difference.effect.abs() / difference.variance(control, self.ratio).sqrt();
                    normal::upper_tail(self.critical - away)
                }
                Mode::Fixed | Mode::GroupSequential | Mode::Bayesian => {
                    difference.power(control, self.ratio, self.design)
                }
            })
        };
        let comparable = self.equal() && q.variance_reduction == 0.0;
        let pooled = |mde: f64| {
            power_of_pooled_proportions(q.baseline, q.baseline * (1.0 + mde), control, self.design)
        };
        let by_t = |mde: f64, stddev: f64| power_by_t(q.baseline * mde / stddev, control, self.design).ok();
        Ok(WithUsers {
            power: q.mde.map(power).transpose()?,
            power_pooled: q.mde.filter(|_| comparable && q.stddev.is_none()).map(pooled),
            power_by_t: q.mde.zip(q.stddev).filter(|_| comparable).and_then(|(mde, s)| by_t(mde, s)),
            mde: self.smallest_effect(control),
        })
    }

    /// The relative effect, in the direction asked for, whose sample size is what there is.
    fn smallest_effect(&self, control: f64) -> Option<f64> {
        let q = self.question;
        let sign = q.mde.map_or(1.0, f64::signum);
        let found = |size: f64| {
            let needed = self.difference(sign * size).ok()?.control_users(self.ratio, self.distance).ok()?;
            Some(needed <= control)
        };
        let most = match (q.stddev, sign > 0.0) {
            (None, true) => 1.0 / q.baseline - 1.0,
            (None, false) => 1.0,
            (Some(_), _) => LARGEST_EFFECT,
        };
        let (mut low, mut high) = (LEAST_EFFECT, most * (1.0 - 1e-12));
        if found(high) != Some(true) {
            return None;
        }
        while high > low * (1.0 + 1e-12) {
            let middle = (low * high).sqrt();
            if found(middle) == Some(true) { high = middle } else { low = middle }
        }
        Some(sign * high)
    }

    fn under_way(&self, standard_error: f64, mde: f64) -> Result<UnderWay, Invalid> {
        let power = |more| mid_experiment_power(mde, standard_error, more, self.design);
        Ok(UnderWay { power_now: power(0.0)?, power_with_more: power(self.question.more_data)? })
    }
}

/// Rounded up; refused past the users of any experiment.
fn whole(users: f64) -> Result<u64, Invalid> {
    if (0.0..=MOST).contains(&users) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just above
        return Ok(users.ceil() as u64);
    }
    Err(invalid("/mde", "needs more users than there can be"))
}

const MOST: f64 = 1e15;
/// Between these a smallest effect is looked for, relative.
const LEAST_EFFECT: f64 = 1e-12;
const LARGEST_EFFECT: f64 = 1e12;
