//! The current answer of an experiment: who is in which arm, what they did, and what the difference is.
//!
//! Reads the last moments rows only. [`LiveStats::of`] is pure: rows in, answer out.

use domain::definition::Mode;
use domain::{ExperimentId, Moments};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{Asked, Counter, Experiment};

use crate::answer::{self, Parameters, tagged};
use crate::app::Analyzer;
use crate::clock;
use crate::experiments::Rebuilding;
use crate::known::{Known, rows_needed, unanswerable};
use crate::metric::MetricView;
use crate::metric::holdout::Holdout;
use crate::quality::{ArmQuality, Quality};
use crate::sample_ratio::{FilterImbalance, SampleRatio};
use crate::strata::{self, StratumView};

/// The answer of `GET .../live-stats`. Numbers are finite or null with a reason.
#[derive(Debug, Serialize)]
pub struct LiveStats<'a> {
    pub experiment: Subject<'a>,
    /// The end of this UTC day; null = now.
    pub as_of: Option<String>,
    /// Whose verdict counts.
    pub mode: Mode,
    pub alpha: f64,
    /// Enrolled users of all arms.
    pub users: i64,
    pub srm: SampleRatio,
    pub filter_imbalance: FilterImbalance,
    /// Of the experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<Quality>,
    pub arms: Vec<ArmView<'a>>,
    pub metrics: Vec<MetricView<'a>>,
    /// Users kept out of every arm, against all arms together; none: nobody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Holdout<'a>>,
    /// For `by=stratum`: the users of each stratum alone, the largest strata first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strata: Option<Vec<StratumView<'a>>>,
}

/// Which experiment an answer is about.
#[derive(Debug, Serialize)]
pub struct Subject<'a> {
    pub id: ExperimentId,
    pub key: &'a str,
    pub status: &'static str,
    pub plan_version: u32,
    /// A later version is being built; this answer is of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilding: Option<Rebuilding>,
}

#[derive(Debug, Serialize)]
pub struct ArmView<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    pub name: &'a str,
    pub weight: f64,
    /// Enrolled, whatever was filtered or excluded since.
    pub users: i64,
    pub data_quality: ArmQuality,
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["as_of", "by"])?;
    let as_of = parameters.as_of()?;
    let apart = parameters.parsed("by", "must be `stratum`", |text| (text == "stratum").then_some(()))?;
    let asked = Asked { counters: true, ..Asked::of(as_of, rows_needed) };
    let snapshot = answer::snapshot(&*app.store, request, reference, &asked).await?;
    let now = clock::now();
    let known = Known::from(&snapshot, as_of, now)?;
    let strata = match apart {
        Some(()) => {
            let apart = strata::apart(&snapshot.experiment, &snapshot.moments, as_of, now);
            Some(apart.map_err(|error| unanswerable(&error))?)
        }
        None => None,
    };
    let mut answer = LiveStats::of(&known);
    answer.strata = strata
        .as_ref()
        .map(|strata| strata.iter().map(|(name, known)| StratumView::of(name, known)).collect());
    tagged(request, &answer)
}

impl<'a> LiveStats<'a> {
    pub fn of(known: &'a Known<'_>) -> LiveStats<'a> {
        let definition = &known.experiment.definition;
        LiveStats {
            experiment: Subject::of(known.experiment),
            as_of: known.as_of.map(|day| day.to_string()),
            mode: known.methods.mode,
            alpha: known.methods.alpha.get(),
            users: known.users(),
            srm: SampleRatio::of(known),
            filter_imbalance: FilterImbalance::of(known),
            metrics: definition.metrics.iter().map(|metric| MetricView::of(known, metric)).collect(),
            data_quality: known.quality(),
            arms: ArmView::all(known.experiment, &known.arms.all, known.counters),
            holdout: Holdout::of(known),
            strata: None,
        }
    }
}

impl<'a> Subject<'a> {
    pub fn of(experiment: &'a Experiment) -> Subject<'a> {
        Subject {
            id: experiment.id,
            key: &experiment.key,
            status: experiment.status.as_str(),
            plan_version: experiment.plan_version,
            rebuilding: Rebuilding::of(experiment),
        }
    }
}

impl<'a> ArmView<'a> {
    pub fn all(
        experiment: &'a Experiment,
        arms: &[Moments],
        counters: Option<&[Counter]>,
    ) -> Vec<ArmView<'a>> {
        let variations = experiment.definition.variations.iter().zip(arms).enumerate();
        variations
            .map(|(variation_index, (variation, moments))| ArmView {
                variation_index,
                key: &variation.key,
                name: &variation.name,
                weight: variation.weight,
                users: moments.heads.enrolled,
                data_quality: ArmQuality::of(&moments.heads, counters, variation_index),
            })
            .collect()
    }
}
