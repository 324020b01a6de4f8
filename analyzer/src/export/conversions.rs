//! Conversions as the events they were: `abctl replay` takes them as they are.

use std::borrow::Cow;
use std::collections::HashMap;

use domain::{ExperimentId, UnitId};
use ethnum::I256;
use serde::Serialize;
use store::{ConversionRow, Experiment, UnitRow};

use super::sheet::Sheet;
use super::{Failure, Source};
use crate::metric::arm::decimal;

/// Conversions read at once.
const PAGE: i64 = 5_000;
/// Begins the key of a conversion that came without one; a client's may not begin with the gateway's `@`.
const KEYLESS: &str = "keyless:";

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    user_id: &'a str,
    /// None: the tenant's, which counts in every experiment that uses its metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<&'a str>,
    metric: &'a str,
    /// Exact decimal.
    value: String,
    /// As it counts: clocks corrected, and received time where none was given.
    occurred_at: String,
    idempotency_key: Cow<'a, str>,
}

pub fn head(sheet: &mut Sheet) -> Result<(), Failure> {
    let names = ["type", "user_id", "experiment", "metric", "value", "occurred_at", "idempotency_key"];
    sheet.head(&names.map(str::to_owned))
}

/// What the users did: conversions that name the experiment, and the tenant's of users enrolled in it.
pub async fn write(source: &Source, users: &[UnitRow], sheet: &mut Sheet) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (users.first(), users.last()) else { return Ok(()) };
    let experiment = &source.experiment;
    let users: HashMap<UnitId, &UnitRow> = users.iter().map(|user| (user.id, user)).collect();
    let mut after = (first.id, ExperimentId(-1), String::new());
    loop {
        let place = (after.0, after.1, after.2.as_str());
        let page = source.store.conversions_after(place, last.id, experiment.id, PAGE).await?;
        for row in &page {
            let Some(user) = users.get(&row.unit) else { continue };
            if !row.experiment.is_none() || user.unit.enrollment(experiment.id).is_some() {
                sheet.row(&Line::of(row, user, experiment), Line::cells).await?;
            }
        }
        let whole = page.len() == usize::try_from(PAGE).unwrap_or_default();
        match page.into_iter().last().filter(|_| whole) {
            Some(end) => after = (end.unit, end.experiment, end.key),
            None => return Ok(()),
        }
    }
}

impl<'a> Line<'a> {
    fn of(row: &'a ConversionRow, user: &'a UnitRow, experiment: &'a Experiment) -> Line<'a> {
        Line {
            kind: "conversion",
            user_id: &user.user_id,
            experiment: (!row.experiment.is_none()).then_some(&experiment.key),
            metric: &row.metric,
            value: decimal(I256::from(row.value.0), 6),
            occurred_at: row.occurred_at.to_string(),
            // Stable, so that what two exports share is the same event.
            idempotency_key: match row.key.strip_prefix('@') {
                Some(given) => format!("{KEYLESS}{given}").into(),
                None => row.key.as_str().into(),
            },
        }
    }

    fn cells(&self) -> Vec<String> {
        let Line { kind, user_id, experiment, metric, value, occurred_at, idempotency_key } = self;
        let cells =
            [kind, user_id, experiment.unwrap_or_default(), metric, value, occurred_at, idempotency_key];
        cells.map(str::to_owned).to_vec()
    }
}
