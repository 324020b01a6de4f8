//! Users, one row each: what is known of them in the experiment, and what they add to each metric.

use std::collections::BTreeMap;

use domain::contribution::Contribution;
use domain::{Enrollment, Plan, Timestamp, Unit};
use ethnum::I256;
use serde::Serialize;
use store::{Experiment, UnitRow};

use super::Failure;
use super::sheet::Sheet;
use crate::metric::arm::decimal;
use crate::users::{Value, values};

#[derive(Serialize)]
struct Line<'a> {
    user_id: &'a str,
    experiment: &'a str,
    /// None: not enrolled, or in the holdout.
    variation: Option<&'a str>,
    /// -1 is the holdout; none: not enrolled.
    variation_index: Option<i16>,
    exposed_at: Option<String>,
    phase: Option<u16>,
    /// Further variations seen.
    crossed: Vec<i16>,
    /// An exposure came later that claims an earlier time.
    earlier_exposure_seen: bool,
    stratum: Option<Told<&'a str>>,
    covariates: Vec<Covariate<'a>>,
    /// In the order they came; the last one holds.
    exclusions: Vec<Exclusion<'a>>,
    filtered: bool,
    excluded: bool,
    before_exposure: u32,
    after_window: u32,
    /// What the user adds to each; empty unless the user contributes.
    metrics: BTreeMap<&'a str, Value<'a>>,
}

#[derive(Serialize)]
struct Told<T> {
    value: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<String>,
    /// Accepted behind the exposure.
    after_exposure: bool,
}

#[derive(Serialize)]
struct Covariate<'a> {
    /// Empty: the primary metric's own.
    name: &'a str,
    #[serde(flatten)]
    told: Told<String>,
}

#[derive(Serialize)]
struct Exclusion<'a> {
    excluded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

const FIXED: [&str; 17] = [
    "user_id",
    "experiment",
    "variation",
    "variation_index",
    "exposed_at",
    "phase",
    "crossed",
    "earlier_exposure_seen",
    "stratum",
    "stratum_occurred_at",
    "stratum_after_exposure",
    "covariates",
    "exclusions",
    "filtered",
    "excluded",
    "before_exposure",
    "after_window",
];

/// What a cell of a metric's is.
const OF_METRIC: [&str; 5] = ["converted", "conversions", "value", "denominator", "before"];

pub fn head(sheet: &mut Sheet, experiment: &Experiment) -> Result<(), Failure> {
    let metrics = experiment.definition.metrics.iter();
    let of_metrics = metrics.flat_map(|m| OF_METRIC.map(|what| format!("{}.{what}", m.key)));
    let names: Vec<String> = FIXED.map(str::to_owned).into_iter().chain(of_metrics).collect();
    sheet.head(&names)
}

/// The users of whom anything is known in the experiment.
pub async fn write(experiment: &Experiment, users: &[UnitRow], sheet: &mut Sheet) -> Result<(), Failure> {
    let plan = experiment.plan();
    for user in users {
        if let Some(line) = Line::of(user, experiment, &plan)? {
            let keys = experiment.definition.metrics.iter().map(|m| m.key.as_str());
            sheet.row(&line, |line| line.cells(keys.clone())).await?;
        }
    }
    Ok(())
}

impl<'a> Line<'a> {
    fn of(user: &'a UnitRow, experiment: &'a Experiment, plan: &Plan) -> Result<Option<Line<'a>>, Failure> {
        let Some(attributes) = user.unit.attributes(experiment.id) else { return Ok(None) };
        let enrollment = counted(&user.unit, plan)?;
        let heads = enrollment.map(|e| Contribution::of(e, plan).heads);
        let variation = enrollment.and_then(|e| usize::try_from(e.variation).ok());
        let variation = variation.and_then(|i| experiment.definition.variations.get(i));
        let metrics = enrollment.map_or_else(Vec::new, |e| values(experiment, plan, e));
        Ok(Some(Line {
            user_id: &user.user_id,
            experiment: &experiment.key,
            variation: variation.map(|v| v.key.as_str()),
            variation_index: enrollment.map(|e| e.variation),
            exposed_at: enrollment.map(|e| e.exposed_at.to_string()),
            phase: enrollment.map(|e| e.phase),
            crossed: enrollment.map_or_else(Vec::new, |e| e.crossed.iter().map(|c| c.0).collect()),
            earlier_exposure_seen: enrollment.is_some_and(|e| e.earlier_seen.is_some()),
            stratum: attributes
                .stratum
                .as_ref()
                .map(|said| Told::of(said.value.as_str(), said.at, said.after_exposure)),
            covariates: attributes
                .covariates
                .iter()
                .map(|(name, said)| Covariate {
                    name,
                    told: Told::of(decimal(I256::from(said.value.0), 6), said.at, said.after_exposure),
                })
                .collect(),
            exclusions: attributes
                .exclusions
                .iter()
                .map(|e| Exclusion { excluded: e.excluded, reason: e.reason.as_deref() })
                .collect(),
            filtered: heads.as_ref().is_some_and(|h| h.filtered > 0),
            excluded: attributes.excluded(),
            before_exposure: enrollment.map_or(0, |e| e.before),
            after_window: enrollment.map_or(0, |e| e.after_window),
            metrics: metrics.into_iter().map(|value| (value.key, value)).collect(),
        }))
    }

    fn cells(&self, metrics: impl Iterator<Item = &'a str>) -> Vec<String> {
        let stratum = self.stratum.as_ref();
        let mut cells = vec![
            self.user_id.to_owned(),
            self.experiment.to_owned(),
            self.variation.unwrap_or_default().to_owned(),
            shown(self.variation_index),
            shown(self.exposed_at.as_ref()),
            shown(self.phase),
            json(&self.crossed),
            self.earlier_exposure_seen.to_string(),
            shown(stratum.map(|told| told.value)),
            shown(stratum.and_then(|told| told.occurred_at.as_ref())),
            shown(stratum.map(|told| told.after_exposure)),
            json(&self.covariates),
            json(&self.exclusions),
            self.filtered.to_string(),
            self.excluded.to_string(),
            self.before_exposure.to_string(),
            self.after_window.to_string(),
        ];
        for metric in metrics {
            let value = self.metrics.get(metric);
            cells.extend([
                shown(value.map(|v| v.converted)),
                shown(value.map(|v| &v.conversions)),
                shown(value.map(|v| &v.value)),
                shown(value.and_then(|v| v.denominator.as_ref())),
                shown(value.and_then(|v| v.before.as_ref())),
            ]);
        }
        cells
    }
}

/// The enrollment with the tallies of the plan.
fn counted<'u>(unit: &'u Unit, plan: &Plan) -> Result<Option<&'u Enrollment>, Failure> {
    match (unit.enrollment(plan.experiment), unit.enrollment_of(plan.experiment, plan.version)) {
        (Some(_), None) => Err(Failure::PlanChanged),
        (_, found) => Ok(found),
    }
}

impl<T> Told<T> {
    fn of(value: T, at: Option<Timestamp>, after_exposure: bool) -> Told<T> {
        Told { value, occurred_at: at.map(|at| at.to_string()), after_exposure }
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Empty for an empty list.
fn json<T: Serialize>(list: &[T]) -> String {
    if list.is_empty() {
        return String::new();
    }
    serde_json::to_string(list).unwrap_or_default()
}
