//! The numbers of the current answer, a row for each metric and variation.

use domain::definition::{Direction, MetricKind, Role};
use serde::Serialize;

use super::sheet::{cut, line, record};
use super::{Failure, Format};
use crate::known::Known;
use crate::live_stats::LiveStats;
use crate::metric::MetricView;
use crate::metric::arm::MetricArm;
use crate::metric::comparison::Comparison;
use crate::metric::contrast::Estimator;
use crate::metric::guardrail::Outcome;

/// The effect is relative to the first variation, by the experiment's mode, as the verdict or the guardrail has it.
#[derive(Serialize)]
struct Line<'a> {
    experiment: &'a str,
    metric: &'a str,
    #[serde(rename = "type")]
    kind: MetricKind,
    role: Option<Role>,
    direction: Direction,
    variation: &'a str,
    variation_index: usize,
    enrolled: i64,
    users: Option<u64>,
    converters: Option<u64>,
    conversions: Option<u64>,
    sum: &'a str,
    sum_squares: &'a str,
    denominator: Option<&'a str>,
    mean: Option<f64>,
    standard_deviation: Option<f64>,
    estimator: Option<Estimator>,
    effect: Option<f64>,
    ci_low: Option<f64>,
    ci_high: Option<f64>,
    p_value: Option<f64>,
    adjusted_p_value: Option<f64>,
    significant: Option<bool>,
    improved: Option<bool>,
    guardrail: Option<Outcome>,
}

pub fn written(known: &Known<'_>, format: Format, limit: u64) -> Result<Vec<u8>, Failure> {
    let answer = LiveStats::of(known);
    let arms = |metric| answer.arms.iter().map(move |arm| (metric, arm));
    let mut to = Vec::new();
    let mut rows = 0;
    for (metric, arm) in answer.metrics.iter().flat_map(arms) {
        let Some(sums) = metric.arms.iter().find(|a| a.variation_index == arm.variation_index) else {
            continue;
        };
        let mut row = Line::of(answer.experiment.key, metric, sums, arm.key, arm.users);
        if let Some(compared) = metric.comparisons.iter().find(|c| c.variation_index == arm.variation_index) {
            row.compare(compared);
        }
        let columns = serde_json::to_value(&row)?;
        if rows == 0 && format == Format::Csv {
            record(&mut to, &COLUMNS.map(str::to_owned))?;
        }
        if rows == limit {
            cut(&mut to, format, rows)?;
            break;
        }
        rows += 1;
        line(&mut to, format, &row, |_| COLUMNS.map(|name| cell(&columns[name])).to_vec())?;
    }
    Ok(to)
}

const COLUMNS: [&str; 25] = [
    "experiment",
    "metric",
    "type",
    "role",
    "direction",
    "variation",
    "variation_index",
    "enrolled",
    "users",
    "converters",
    "conversions",
    "sum",
    "sum_squares",
    "denominator",
    "mean",
    "standard_deviation",
    "estimator",
    "effect",
    "ci_low",
    "ci_high",
    "p_value",
    "adjusted_p_value",
    "significant",
    "improved",
    "guardrail",
];

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl<'a> Line<'a> {
    fn of(
        experiment: &'a str,
        metric: &'a MetricView<'_>,
        sums: &'a MetricArm,
        variation: &'a str,
        enrolled: i64,
    ) -> Line<'a> {
        Line {
            experiment,
            metric: metric.key,
            kind: metric.kind,
            role: metric.role,
            direction: metric.direction,
            variation,
            variation_index: sums.variation_index,
            enrolled,
            users: sums.users,
            converters: sums.converters,
            conversions: sums.conversions,
            sum: &sums.sum,
            sum_squares: &sums.sum_squares,
            denominator: sums.denominator.as_deref(),
            mean: sums.mean,
            standard_deviation: sums.standard_deviation,
            estimator: None,
            effect: None,
            ci_low: None,
            ci_high: None,
            p_value: None,
            adjusted_p_value: None,
            significant: None,
            improved: None,
            guardrail: None,
        }
    }

    fn compare(&mut self, compared: &Comparison<'_>) {
        if let Some(verdict) = compared.verdict.as_ref().and_then(|v| v.ok()) {
            let [low, high] = verdict.ci;
            (self.estimator, self.effect) = (Some(verdict.estimator), Some(verdict.effect));
            (self.ci_low, self.ci_high) = (Some(low), Some(high));
            (self.p_value, self.adjusted_p_value) = (verdict.p_value, verdict.adjusted_p_value);
            (self.significant, self.improved) = (Some(verdict.significant), Some(verdict.improved));
        }
        if let Some(guarded) = compared.guardrail.as_ref().and_then(|g| g.ok()) {
            (self.estimator, self.effect) = (Some(guarded.estimator), Some(guarded.effect));
            (self.ci_low, self.ci_high) = (Some(guarded.lower_bound), Some(guarded.upper_bound));
            (self.p_value, self.guardrail) = (guarded.p_value, Some(guarded.outcome));
        }
    }
}
