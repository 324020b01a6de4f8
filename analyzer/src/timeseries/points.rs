//! The points of a series: sums and effects at the end of each day wanted.

use domain::Day;
use domain::definition::Metric;
use serde::Serialize;

use super::Series;
use crate::known::{Arms, Unanswerable};
use crate::metric::arm::{Change, MetricArm};
use crate::metric::contrast::{Contrast, Estimator};
use crate::metric::reading::Reading;
use crate::sample_ratio::periods;
use crate::stats::Undefined;
use crate::stats::effect::Effect;
use crate::stats::sequential::{sequential, tuned_to};
use crate::stats::srm::SrmArm;
use crate::stats::srm_anytime::{AnytimeSrm, srm_anytime};
use crate::stats::welch::welch;

#[derive(Debug, Serialize)]
pub struct MetricSeries<'a> {
    pub key: &'a str,
    pub points: Vec<Point<'a>>,
}

#[derive(Debug, Serialize)]
pub struct Point<'a> {
    /// The end of this UTC day.
    pub day: String,
    pub arms: Vec<ArmPoint>,
    pub comparisons: Vec<EffectPoint<'a>>,
}

#[derive(Debug, Serialize)]
pub struct ArmPoint {
    #[serde(flatten)]
    pub sums: MetricArm,
    /// Since the point before.
    pub new: Change,
}

/// The relative effect of a treatment.
#[derive(Debug, Serialize)]
pub struct EffectPoint<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub estimator: Estimator,
    #[serde(flatten)]
    pub reading: Reading<Look>,
    pub running: Running,
}

#[derive(Debug, Clone, Serialize)]
pub struct Look {
    pub effect: f64,
    pub standard_error: f64,
    /// Welch's: of this look alone.
    pub ci: [f64; 2],
    pub p_value: f64,
    /// Holds at every look; null where there are too few users for it.
    pub sequential_ci: Option<[f64; 2]>,
    pub sequential_p_value: Option<f64>,
}

/// What all looks up to this one say together, the days between points included: the sequence holds at every look, so
/// its intervals may be intersected and the least p be kept.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Running {
    /// Null before the first interval, and where intervals have come to exclude each other: the effect has changed.
    pub ci: Option<[f64; 2]>,
    pub p_value: Option<f64>,
    #[serde(skip)]
    contradictory: bool,
}

/// The always-valid check of the sample ratio, its p the least so far.
#[derive(Debug, Serialize)]
pub struct SrmPoint {
    pub day: String,
    #[serde(flatten)]
    pub check: Reading<AnytimeSrm>,
}

impl<'a> Series<'a> {
    pub fn metrics(self, points: &[Day]) -> Vec<MetricSeries<'a>> {
        let metrics = self.experiment.definition.metrics.iter();
        metrics.map(|metric| MetricSeries { key: &metric.key, points: self.metric(metric, points) }).collect()
    }

    fn metric(self, metric: &'a Metric, points: &[Day]) -> Vec<Point<'a>> {
        let variations = &self.experiment.definition.variations;
        let nothing = Arms::none(variations.len());
        let mut running = vec![Running::default(); variations.len()];
        let mut history = self.history.iter().peekable();
        let first = points.first().map(|day| Day(day.0.saturating_sub(1)));
        let (mut now, mut before) = (&nothing, None);
        let mut shown = Vec::with_capacity(points.len());
        // The day before the first point gives it something to be new since.
        for day in first.into_iter().chain(points.iter().copied()) {
            while let Some((_, arms)) = history.next_if(|(at, _)| *at <= day) {
                now = arms;
                for (i, running) in running.iter_mut().enumerate().skip(1) {
                    running.take(self.effect(metric, now, i).1.as_ref());
                }
            }
            if let Some(before) = before.replace(now) {
                let comparisons = variations.iter().zip(&running).enumerate().skip(1);
                shown.push(Point {
                    day: day.to_string(),
                    arms: self.arms(metric, before, now),
                    comparisons: comparisons
                        .map(|(i, (variation, running))| {
                            let (estimator, effect) = self.effect(metric, now, i);
                            EffectPoint {
                                variation_index: i,
                                key: &variation.key,
                                estimator,
                                reading: effect.and_then(|effect| self.look(&effect)).into(),
                                running: *running,
                            }
                        })
                        .collect(),
                });
            }
        }
        shown
    }

    fn arms(self, metric: &Metric, before: &Arms, now: &Arms) -> Vec<ArmPoint> {
        let (plan, features) = (self.plan, &self.plan.metric(metric));
        let both = now.all.iter().zip(&before.all).enumerate();
        both.map(|(i, (arm, before))| ArmPoint {
            sums: MetricArm::of(i, metric, features, plan, arm),
            new: Change::of(features, plan, before, arm),
        })
        .collect()
    }

    fn effect(
        self,
        metric: &Metric,
        arms: &Arms,
        treatment: usize,
    ) -> (Estimator, Result<(Effect, Option<Valid>), Undefined>) {
        let Some(contrast) = Contrast::of(metric, self.plan, arms, treatment) else {
            return (Estimator::Unadjusted, Err(Undefined::TooFewArms));
        };
        let (estimator, effects) = contrast.decisive();
        let alpha = self.methods.alpha;
        let read = effects.relative.map(|effect| {
            let valid = sequential(&effect, tuned_to(self.methods.tuning, alpha), alpha).ok();
            let valid = valid.map(|s| Valid { ci: s.ci, p_value: s.p_value });
            (effect, valid)
        });
        (estimator, read)
    }

    fn look(self, (effect, valid): &(Effect, Option<Valid>)) -> Result<Look, Undefined> {
        let test = welch(effect, self.methods.alpha)?;
        Ok(Look {
            effect: test.effect,
            standard_error: test.standard_error,
            ci: test.ci,
            p_value: test.p_value,
            sequential_ci: valid.map(|v| v.ci),
            sequential_p_value: valid.map(|v| v.p_value),
        })
    }

    /// One check per day of the history, so that the least p does not depend on which points are shown.
    pub fn srm(self, points: &[Day]) -> Result<Vec<SrmPoint>, Unanswerable> {
        let looks: Result<Vec<Vec<Vec<SrmArm>>>, Undefined> =
            self.history.iter().map(|(_, arms)| periods(self.experiment, arms)).collect();
        let checked = looks.and_then(|looks| srm_anytime(&looks, self.methods.srm_alpha));
        let at = |day: Day| -> Reading<AnytimeSrm> {
            let known = self.history.partition_point(|(at, _)| *at <= day);
            let check = checked.as_ref().map_err(|reason| *reason).and_then(|checked| {
                known.checked_sub(1).and_then(|i| checked.get(i)).copied().ok_or(Undefined::NoUnits)
            });
            check.into()
        };
        Ok(points.iter().map(|day| SrmPoint { day: day.to_string(), check: at(*day) }).collect())
    }
}

#[derive(Debug, Clone, Copy)]
struct Valid {
    ci: [f64; 2],
    p_value: f64,
}

impl Running {
    fn take(&mut self, look: Result<&(Effect, Option<Valid>), &Undefined>) {
        let Ok((_, Some(look))) = look else { return };
        self.p_value = Some(self.p_value.map_or(look.p_value, |p| p.min(look.p_value)));
        if self.contradictory {
            return;
        }
        let [low, high] = self.ci.unwrap_or(look.ci);
        let [low, high] = [low.max(look.ci[0]), high.min(look.ci[1])];
        self.contradictory = low > high;
        self.ci = (!self.contradictory).then_some([low, high]);
    }
}
