//! The current answer of an experiment: who is in which arm, what they did, and what the difference is.
//!
//! Reads the last moments rows only. [`LiveStats::of`] is pure: rows in, answer out.

use domain::contribution::Heads;
use domain::{Day, ExperimentId, Plan};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{ArmRow, Experiment};

use crate::answer::{self, Parameters, storage, tagged};
use crate::app::Analyzer;
use crate::arms::{Unanswerable, arms_of};
use crate::metric::MetricView;
use crate::stats::srm::{ChiSquare, Srm, SrmArm, srm};
use crate::stats::{Alpha, Undefined};

/// The answer of `GET .../live-stats`. Numbers are finite or null with a reason.
#[derive(Debug, Serialize)]
pub struct LiveStats<'a> {
    pub experiment: Subject<'a>,
    /// The end of this UTC day; null = now.
    pub as_of: Option<String>,
    pub alpha: f64,
    /// Enrolled users of all arms.
    pub users: i64,
    pub srm: SrmView,
    pub arms: Vec<ArmView<'a>>,
    pub metrics: Vec<MetricView<'a>>,
}

/// Which experiment an answer is about.
#[derive(Debug, Serialize)]
pub struct Subject<'a> {
    pub id: ExperimentId,
    pub key: &'a str,
    pub status: &'static str,
    pub plan_version: u32,
}

#[derive(Debug, Serialize)]
pub struct ArmView<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub name: &'a str,
    pub weight: f64,
    /// Enrolled, whatever was filtered or excluded since.
    pub users: i64,
    pub data_quality: DataQuality,
}

/// Head counts of an arm: users, or conversions where it says so.
#[derive(Debug, Serialize)]
pub struct DataQuality {
    pub crossovers: i64,
    pub earlier_exposure_seen: i64,
    pub filtered: i64,
    pub excluded: i64,
    /// Conversions.
    pub before_exposure: i64,
    /// Conversions.
    pub after_window: i64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum SrmView {
    Ok(ChiSquare),
    MismatchCertain { mismatch: bool },
    Undefined { reason: Undefined },
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let as_of = Parameters::of(request, &["as_of"])?.as_of()?;
    let experiment = answer::experiment(&*app.store, request, reference).await?;
    let rows = app.store.answer(&experiment, as_of).await.map_err(storage)?;
    let answer = LiveStats::of(&experiment, &rows, as_of).map_err(|error| unanswerable(&error))?;
    tagged(request, &answer)
}

pub(crate) fn unanswerable(error: &Unanswerable) -> Problem {
    tracing::error!(%error, "the stored moments cannot be answered from");
    Problem::internal().retryable(false)
}

impl<'a> LiveStats<'a> {
    /// From the last row of every key of the experiment.
    pub fn of(
        experiment: &'a Experiment,
        rows: &[ArmRow],
        as_of: Option<Day>,
    ) -> Result<LiveStats<'a>, Unanswerable> {
        let analysis = &experiment.definition.analysis;
        let level = |value| Alpha::new(value).ok_or(Unanswerable::Alpha);
        let (alpha, srm_alpha) = (level(analysis.alpha)?, level(analysis.srm_alpha)?);
        let (plan, moments): (Plan, _) = (experiment.plan(), arms_of(experiment, rows)?);
        let variations = &experiment.definition.variations;
        let arms: Vec<ArmView> = variations
            .iter()
            .zip(&moments)
            .enumerate()
            .map(|(variation_index, (variation, moments))| ArmView {
                variation_index,
                key: &variation.key,
                name: &variation.name,
                weight: variation.weight,
                users: moments.heads.enrolled,
                data_quality: DataQuality::of(&moments.heads),
            })
            .collect();
        let metrics = &experiment.definition.metrics;
        Ok(LiveStats {
            experiment: Subject::of(experiment),
            as_of: as_of.map(|day| day.to_string()),
            alpha: alpha.get(),
            users: arms.iter().map(|arm| arm.users).sum(),
            srm: sample_ratio(&arms, srm_alpha),
            metrics: metrics.iter().map(|m| MetricView::of(m, variations, &plan, &moments, alpha)).collect(),
            arms,
        })
    }
}

fn sample_ratio(arms: &[ArmView], alpha: Alpha) -> SrmView {
    let observed: Result<Vec<SrmArm>, _> = arms
        .iter()
        .map(|arm| u64::try_from(arm.users).map(|observed| SrmArm { observed, weight: arm.weight }))
        .collect();
    match observed.map_err(|_| Undefined::Inconsistent).and_then(|period| srm(&[period], alpha)) {
        Ok(Srm::Tested(test)) => SrmView::Ok(test),
        Ok(Srm::CertainMismatch) => SrmView::MismatchCertain { mismatch: true },
        Err(reason) => SrmView::Undefined { reason },
    }
}

impl<'a> Subject<'a> {
    pub fn of(experiment: &'a Experiment) -> Subject<'a> {
        Subject {
            id: experiment.id,
            key: &experiment.key,
            status: experiment.status.as_str(),
            plan_version: experiment.plan_version,
        }
    }
}

impl DataQuality {
    pub fn of(heads: &Heads) -> DataQuality {
        DataQuality {
            crossovers: heads.crossovers,
            earlier_exposure_seen: heads.earlier_seen,
            filtered: heads.filtered,
            excluded: heads.excluded,
            before_exposure: heads.before,
            after_window: heads.after_window,
        }
    }
}
