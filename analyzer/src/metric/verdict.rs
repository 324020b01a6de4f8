//! What the mode of the experiment makes of each treatment of a metric: the one reading that decisions are made of.

use domain::definition::{Correction, Mode};
use serde::Serialize;

use super::contrast::{Estimator, Treatment};
use super::looks::PlannedLooks;
use super::methods::Methods;
use super::reading::Reading;
use crate::stats::Undefined;
use crate::stats::bayes::{Better, posterior};
use crate::stats::effect::Effect;
use crate::stats::multiple::{benjamini_hochberg, holm, rejected};
use crate::stats::power::{Alternative, Design, mid_experiment_power};
use crate::stats::sequential::{half_width, sequential, tuned_to};
use crate::stats::welch::welch;

/// All of the relative effect.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub mode: Mode,
    pub estimator: Estimator,
    pub effect: f64,
    pub standard_error: f64,
    /// At 1 - alpha for the treatments of the metric together: each at alpha divided by their number.
    pub ci: [f64; 2],
    /// Of the mode; null where the mode has none.
    pub p_value: Option<f64>,
    /// The same, corrected over the treatments of the metric.
    pub adjusted_p_value: Option<f64>,
    /// Number of treatments corrected for.
    pub family: usize,
    /// An effect was found at the level alpha, in whichever direction. Of `fixed` from the planned size on.
    pub significant: bool,
    /// The estimate lies in the metric's direction.
    pub improved: bool,
    /// Users of both arms.
    pub users: u64,
    /// Users of both arms needed to find an effect of `mde` with the planned power, by the variance seen so far; null
    /// without an `mde`.
    pub users_needed: Option<u64>,
    /// Probability that a single test at the present size finds an effect of `mde`.
    pub power_now: Option<f64>,
}

/// A mode's answer, before the family is known.
struct Single {
    effect: f64,
    ci: [f64; 2],
    p_value: Option<f64>,
    significant: bool,
}

pub fn verdicts(treatments: &[Treatment<'_>], methods: &Methods) -> Vec<Reading<Verdict>> {
    let answers: Vec<Result<(Verdict, Single), Undefined>> =
        treatments.iter().map(|treatment| verdict(treatment, methods)).collect();
    let p_values: Vec<f64> = answers.iter().flatten().filter_map(|(_, single)| single.p_value).collect();
    let adjusted = match methods.correction {
        Correction::Holm => holm(&p_values),
        Correction::BenjaminiHochberg => benjamini_hochberg(&p_values),
        Correction::None => p_values,
    };
    let mut adjusted = adjusted.into_iter();
    let finished = answers.into_iter().map(|answer| {
        answer.map(|(mut verdict, single)| {
            verdict.adjusted_p_value = single.p_value.and_then(|_| adjusted.next());
            let found = |p| rejected(p, methods.alpha);
            verdict.significant = single.significant && verdict.adjusted_p_value.is_none_or(found);
            verdict
        })
    });
    finished.map(Reading::from).collect()
}

fn verdict(treatment: &Treatment<'_>, methods: &Methods) -> Result<(Verdict, Single), Undefined> {
    let (estimator, effects) = treatment.now.decisive();
    let (effect, alpha) = (&effects.relative?, methods.family_alpha);
    let users = effect.users.iter().sum();
    let design = Design::new(alpha.get(), methods.power, Alternative::TwoSided);
    let needed = users_needed(effect, design, methods);
    let single = match methods.mode {
        Mode::Sequential => {
            let at = sequential(effect, tuned_to(methods.tuning, alpha), alpha)?;
            Single { effect: at.effect, ci: at.ci, p_value: Some(at.p_value), significant: true }
        }
        Mode::Fixed => {
            let test = welch(effect, alpha)?;
            let reached = needed.is_some_and(|needed| users >= needed);
            Single { effect: test.effect, ci: test.ci, p_value: Some(test.p_value), significant: reached }
        }
        Mode::GroupSequential => at_looks(treatment, methods)?,
        Mode::Bayesian => {
            let belief = posterior(effect, methods.prior, treatment.now.better(), alpha)?;
            let [low, high] = belief.ci;
            let significant = low > 0.0 || high < 0.0;
            Single { effect: belief.posterior_mean, ci: belief.ci, p_value: None, significant }
        }
    };
    let standard_error = effect.variance.sqrt();
    let power_now = methods
        .mde
        .zip(design)
        .and_then(|(mde, design)| mid_experiment_power(mde, standard_error, 0.0, design).ok());
    let verdict = Verdict {
        mode: methods.mode,
        estimator,
        effect: single.effect,
        standard_error,
        ci: single.ci,
        p_value: single.p_value,
        adjusted_p_value: None,
        family: methods.family,
        significant: false,
        improved: match treatment.now.better() {
            Better::Higher => single.effect > 0.0,
            Better::Lower => single.effect < 0.0,
        },
        users,
        users_needed: needed,
        power_now,
    };
    Ok((verdict, single))
}

/// The look that ended the experiment, or the last one taken.
fn at_looks(treatment: &Treatment<'_>, methods: &Methods) -> Result<Single, Undefined> {
    let looks = PlannedLooks::taken(&treatment.looks, methods)?;
    let ended = looks.taken.iter().find(|look| look.crossed);
    let look = ended.or(looks.taken.last()).ok_or(Undefined::NoLook)?;
    Ok(Single { effect: look.effect, ci: look.ci, p_value: None, significant: look.crossed })
}

/// Users of both arms, in the shares and with the variance seen so far.
fn users_needed(effect: &Effect, design: Option<Design>, methods: &Methods) -> Option<u64> {
    if let Some(planned) = methods.looks.last().filter(|_| methods.mode != Mode::Sequential) {
        return Some(*planned);
    }
    let (mde, design) = methods.mde.zip(design)?;
    let per_user = effect.variance * effect.users.iter().map(|n| *n as f64).sum::<f64>();
    let needed = match methods.mode {
        Mode::Sequential => {
            // Where the interval's half-width and the power's share of the noise fit into the effect.
            let rho_squared = tuned_to(methods.tuning, methods.family_alpha);
            let beyond = design.distance() - design.critical();
            smallest(|n| {
                let variance = per_user / n;
                half_width(variance, n, rho_squared, methods.family_alpha) + beyond * variance.sqrt() <= mde
            })?
        }
        Mode::Fixed | Mode::GroupSequential | Mode::Bayesian => {
            design.distance() * design.distance() * per_user / (mde * mde)
        }
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just here
    (needed < MOST).then_some(needed.ceil() as u64)
}

/// The smallest number of users from which it fits, to a part in a thousand; none below [`MOST`].
fn smallest(fits: impl Fn(f64) -> bool) -> Option<f64> {
    let mut high = 2.0;
    while !fits(high) {
        high *= 2.0;
        if high > MOST {
            return None;
        }
    }
    let mut low = high / 2.0;
    while high - low > 1e-3 * high {
        let middle = 0.5 * (low + high);
        if fits(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// No experiment has more users.
const MOST: f64 = 1e15;
