//! live-stats as the analyzer answers it: held against the oracle, and printed as a table.

use crate::Deployment;
use abctl::simulate::oracle::{ArmTruth, MetricTruth, Oracle};
use abctl::simulate::world::{Kind, World};
use anyhow::{Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct LiveStats {
    pub srm: Srm,
    pub arms: Vec<Arm>,
    pub metrics: Vec<Metric>,
}

#[derive(Deserialize)]
pub struct Srm {
    pub status: String,
    pub p_value: Option<f64>,
    #[serde(default)]
    pub mismatch: bool,
}

#[derive(Deserialize)]
pub struct Arm {
    pub key: String,
    /// Enrolled.
    pub users: i64,
    pub data_quality: DataQuality,
}

#[derive(Deserialize)]
pub struct DataQuality {
    pub crossovers: i64,
    pub earlier_exposure_seen: i64,
    pub excluded: i64,
    pub before_exposure: i64,
    pub after_window: i64,
}

#[derive(Deserialize)]
pub struct Metric {
    pub key: String,
    pub arms: Vec<MetricArm>,
    pub comparisons: Vec<Comparison>,
}

#[derive(Deserialize)]
pub struct MetricArm {
    /// Contributing.
    pub users: i64,
    pub converters: i64,
    pub conversions: i64,
    /// Exact.
    pub sum: String,
    pub mean: Option<f64>,
}

#[derive(Deserialize)]
pub struct Comparison {
    pub variation_index: usize,
    pub relative: Test,
}

#[derive(Deserialize)]
pub struct Test {
    pub status: String,
    pub effect: Option<f64>,
    pub ci: Option<[f64; 2]>,
    pub p_value: Option<f64>,
}

impl LiveStats {
    pub async fn read(system: &dyn Deployment, key: &str) -> Result<LiveStats> {
        let answer = system.admin().get(&format!("/api/v1/experiments/{key}/live-stats")).await?;
        if answer.status != 200 {
            bail!("live-stats of {key}: {} {}", answer.status, answer.text());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

/// What live-stats say of every experiment, and where that is not what the oracle expects.
pub async fn read_all(
    system: &dyn Deployment,
    world: &World,
    oracle: &Oracle,
) -> Result<(Vec<LiveStats>, Vec<String>)> {
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for (experiment, truths) in world.experiments.iter().zip(&oracle.arms) {
        let stats = LiveStats::read(system, &experiment.key).await?;
        for (variation, (arm, truth)) in stats.arms.iter().zip(truths).enumerate() {
            let place = format!("live-stats {} {}", experiment.key, arm.key);
            compare_arm(&place, arm, truth, &mut found);
            for ((metric, kind), truth) in stats.metrics.iter().zip(&experiment.metrics).zip(&truth.metrics) {
                let place = format!("{place} {}", metric.key);
                let users = truths.get(variation).map_or(0, |t| t.users);
                match metric.arms.get(variation) {
                    Some(arm) => compare_metric(&place, arm, kind.kind, users, truth, &mut found),
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
        all.push(stats);
    }
    Ok((all, found))
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
        if told != expected {
            found.push(format!("{place}: {what} {told}, expected {expected}"));
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

/// One line per arm and metric: users, converters, rate or mean, and the comparison with the control.
pub fn table(world: &World, all: &[LiveStats]) -> Vec<String> {
    let line = |cells: [&str; 9]| {
        let widths = [12, 12, 12, 9, 12, 10, 22, 10, 10];
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned()
    };
    let mut lines = vec![line([
        "experiment",
        "metric",
        "arm",
        "users",
        "converters",
        "mean",
        "lift [95% interval]",
        "p",
        "true lift",
    ])];
    for (experiment, stats) in world.experiments.iter().zip(all) {
        for (metric, of) in stats.metrics.iter().zip(&experiment.metrics) {
            for (v, (arm, about)) in metric.arms.iter().zip(&experiment.arms).enumerate() {
                let comparison = metric.comparisons.iter().find(|c| c.variation_index == v);
                let (lift, p) = comparison.map_or_else(Default::default, |c| shown(&c.relative));
                // The simulated effect is on the chance to purchase; on a proportion it is felt as it is.
                let known = v > 0 && of.kind == Kind::Proportion && of.event == 0;
                let known = if known { format!("{:+.1}%", about.lift * 100.0) } else { String::new() };
                let mean = arm.mean.map(|m| format!("{m:.4}")).unwrap_or_default();
                let key = experiment.key.trim_start_matches("sim-");
                let (users, converters) = (arm.users.to_string(), arm.converters.to_string());
                lines.push(line([
                    key,
                    &metric.key,
                    about.key,
                    &users,
                    &converters,
                    &mean,
                    &lift,
                    &p,
                    &known,
                ]));
            }
        }
        let srm = match stats.srm.p_value {
            Some(p) => format!("p={p:.4}{}", if stats.srm.mismatch { " MISMATCH" } else { "" }),
            None => stats.srm.status.clone(),
        };
        lines.push(format!("{:<12}SRM {srm}", experiment.key.trim_start_matches("sim-")));
    }
    lines
}

fn shown(test: &Test) -> (String, String) {
    match (test.effect, test.ci, test.p_value) {
        (Some(effect), Some([low, high]), Some(p)) => {
            let percent = |x: f64| format!("{:+.1}", x * 100.0);
            (format!("{}% [{}, {}]", percent(effect), percent(low), percent(high)), format!("{p:.2e}"))
        }
        _ => (test.status.clone(), String::new()),
    }
}
