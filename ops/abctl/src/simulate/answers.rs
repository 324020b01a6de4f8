//! The analyzer's answers against the oracle, as clients read them.

use super::oracle::{ArmTruth, MetricTruth, Oracle};
use super::world::{Experiment, Kind, World};
use crate::api::{Api, ApiError};
use crate::results::model::{self, Arm, LiveStats, MetricArm};
use crate::results::{self, page};

/// What the analyzer says of one experiment.
pub struct Answer {
    pub experiment: model::Experiment,
    pub stats: LiveStats,
    /// Where that is not what the oracle expects.
    pub differences: Vec<String>,
}

impl World {
    /// Asks for every experiment.
    pub async fn answers(&self, api: &mut Api, oracle: &Oracle) -> Result<Vec<Answer>, ApiError> {
        let mut answers = Vec::new();
        for (simulated, truths) in self.experiments.iter().zip(&oracle.arms) {
            let (experiment, stats) = results::read(api, &simulated.key, None).await?;
            let differences = differences(simulated, &stats, truths);
            answers.push(Answer { experiment, stats, differences });
        }
        Ok(answers)
    }

    /// The pages of `abctl results`, with the effects that are known beside those measured.
    pub fn pages(&self, answers: &[Answer]) -> String {
        let pages = self.experiments.iter().zip(answers);
        let pages = pages.map(|(e, answer)| page(&answer.experiment, &answer.stats, &e.true_lifts()));
        pages.collect::<Vec<_>>().join("\n")
    }
}

/// Where the answer is not what the oracle expects; empty = nowhere.
pub fn differences(experiment: &Experiment, stats: &LiveStats, truths: &[ArmTruth]) -> Vec<String> {
    let mut found = Vec::new();
    for (variation, (arm, truth)) in stats.arms.iter().zip(truths).enumerate() {
        let place = format!("live-stats {} {}", experiment.key, arm.key);
        compare_arm(&place, arm, truth, &mut found);
        for ((metric, simulated), expected) in
            stats.metrics.iter().zip(&experiment.metrics).zip(&truth.metrics)
        {
            let place = format!("{place} {}", metric.key);
            match metric.arms.get(variation) {
                Some(arm) => compare_metric(&place, arm, simulated.kind, truth.users, expected, &mut found),
                None => found.push(format!("{place}: missing")),
            }
        }
    }
    if stats.arms.len() != truths.len() || stats.metrics.len() != experiment.metrics.len() {
        found.push(format!("live-stats {}: arms or metrics are missing", experiment.key));
    }
    if stats.srm.status != "ok" || stats.srm.mismatch {
        found.push(format!("live-stats {}: SRM {}", experiment.key, stats.srm.status));
    }
    found
}

fn compare_arm(place: &str, arm: &Arm, truth: &ArmTruth, found: &mut Vec<String>) {
    let quality = &arm.data_quality;
    for (what, told, expected) in [
        ("users", arm.users, truth.enrolled),
        ("crossovers", quality.crossovers, truth.crossovers),
        ("earlier exposures", quality.earlier_exposure_seen, truth.earlier_seen),
        ("excluded", quality.excluded, truth.excluded),
        ("before exposure", quality.before_exposure, truth.before),
        ("after window", quality.after_window, truth.after_window),
    ] {
        if told != expected {
            found.push(format!("{place}: {what} {told}, expected {expected}"));
        }
    }
}

fn compare_metric(
    place: &str,
    arm: &MetricArm,
    kind: Kind,
    users: i64,
    truth: &MetricTruth,
    found: &mut Vec<String>,
) {
    for (what, told, expected) in [
        ("users", arm.users, users),
        ("converters", arm.converters, truth.converters),
        ("conversions", arm.conversions, truth.events),
    ] {
        if told != Some(expected) {
            found.push(format!("{place}: {what} {told:?}, expected {expected}"));
        }
    }
    let in_millionths = matches!(kind, Kind::Mean | Kind::Ratio);
    let sum = if in_millionths { decimal(truth.y) } else { truth.y.to_string() };
    if arm.sum != sum {
        found.push(format!("{place}: sum {}, expected {sum}", arm.sum));
    }
    #[allow(clippy::cast_precision_loss)] // compared with a tolerance
    let (y, n) = (truth.y as f64 / if in_millionths { 1e6 } else { 1.0 }, users as f64);
    let per = if kind == Kind::Ratio { truth.events as f64 } else { n };
    match arm.mean {
        Some(mean) if (mean - y / per).abs() <= 1e-9 * mean.abs().max(1.0) => {}
        mean => found.push(format!("{place}: mean {mean:?}, expected {}", y / per)),
    }
}

/// Millionths as a decimal.
fn decimal(millionths: i128) -> String {
    let (sign, magnitude) = (if millionths < 0 { "-" } else { "" }, millionths.unsigned_abs());
    let text = format!("{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
