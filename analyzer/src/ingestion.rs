//! What arrived for an experiment and what became of it.

use domain::{Day, Moments};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{Asked, Counter, Experiment, RECORDED, Rows, Snapshot};

use crate::answer::{self, Parameters, tagged};
use crate::app::Analyzer;
use crate::known::{arms_of, unanswerable};
use crate::live_stats::Subject;
use crate::quality::{ArmQuality, Quality, of_arm, total};

/// Events that named this experiment, by fate; the first five are disjoint.
#[derive(Debug, Serialize)]
struct Ingestion<'a> {
    experiment: Subject<'a>,
    /// The end of this UTC day; null = now.
    as_of: Option<String>,
    /// What took effect, of every kind.
    recorded: i64,
    exposures: i64,
    /// Stored, whether or not their user is enrolled.
    conversions: i64,
    pre_period: i64,
    strata: i64,
    /// Lifted ones too.
    exclusions: i64,
    deduplicated: i64,
    dead_lettered: i64,
    discarded: i64,
    /// Part of `deduplicated`: keys seen before with another payload.
    conflicts: i64,
    /// Part of `conversions`.
    keyless: i64,
    /// Users whose stratum was one more than is kept apart.
    strata_merged: i64,
    clock_corrected: i64,
    data_quality: Quality,
    arms: Vec<ArmCounts<'a>>,
}

#[derive(Debug, Serialize)]
struct ArmCounts<'a> {
    variation_index: usize,
    key: &'a str,
    /// First exposures recorded.
    exposures: i64,
    /// Enrolled.
    users: i64,
    data_quality: ArmQuality,
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let as_of = Parameters::of(request, &["as_of"])?.as_of()?;
    let asked = Asked { counters: true, ..Asked::of(as_of, |_| Rows::Last) };
    let Snapshot { experiment, moments, counters, .. } =
        answer::snapshot(&*app.store, request, reference, &asked).await?;
    let arms = arms_of(&experiment, &moments).map_err(|error| unanswerable(&error))?;
    tagged(request, &Ingestion::of(&experiment, as_of, &arms, &counters))
}

/// Those that were redriven have another fate by now.
pub(crate) fn dead_lettered(counters: &[Counter]) -> i64 {
    total(counters, "dead_lettered") - total(counters, "redriven")
}

impl<'a> Ingestion<'a> {
    fn of(
        experiment: &'a Experiment,
        as_of: Option<Day>,
        arms: &[Moments],
        counters: &[Counter],
    ) -> Ingestion<'a> {
        let (exposures, conversions) = (total(counters, "exposures"), total(counters, "conversions"));
        let variations = experiment.definition.variations.iter().zip(arms).enumerate();
        Ingestion {
            experiment: Subject::of(experiment),
            as_of: as_of.map(|day| day.to_string()),
            recorded: RECORDED.iter().map(|name| total(counters, name)).sum(),
            exposures,
            conversions,
            pre_period: total(counters, "pre_period"),
            strata: total(counters, "strata"),
            exclusions: total(counters, "exclusions"),
            deduplicated: total(counters, "deduplicated"),
            dead_lettered: dead_lettered(counters),
            discarded: total(counters, "discarded"),
            conflicts: total(counters, "conflicts"),
            keyless: total(counters, "keyless"),
            strata_merged: total(counters, "strata_merged"),
            clock_corrected: total(counters, "clock_corrected"),
            data_quality: Quality::of(&experiment.definition, counters),
            arms: variations
                .map(|(variation_index, (variation, moments))| ArmCounts {
                    variation_index,
                    key: &variation.key,
                    exposures: of_arm(counters, variation_index, "exposures"),
                    users: moments.heads.enrolled,
                    data_quality: ArmQuality::of(&moments.heads, Some(counters), variation_index),
                })
                .collect(),
        }
    }
}
