//! A row of `abctl export --kind units` as the requests that make a user such: what was told before the exposure, the
//! exposure, what came behind it, and exclusions one after the other.

use super::command::Kind;
use super::row::{Item, Reason, Reject, Row};
use super::target::Target;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What of a row is needed; the rest is for readers of the file.
#[derive(Deserialize)]
struct Unit {
    user_id: String,
    experiment: String,
    variation: Option<String>,
    variation_index: Option<i64>,
    exposed_at: Option<String>,
    #[serde(default)]
    crossed: Vec<i64>,
    #[serde(default)]
    earlier_exposure_seen: bool,
    stratum: Option<Stratum>,
    /// CSV: beside the stratum.
    stratum_occurred_at: Option<String>,
    #[serde(default)]
    stratum_after_exposure: bool,
    #[serde(default)]
    covariates: Vec<Covariate>,
    #[serde(default)]
    exclusions: Vec<Exclusion>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stratum {
    Told { value: String, occurred_at: Option<String>, after_exposure: bool },
    Plain(String),
}

#[derive(Deserialize)]
struct Covariate {
    name: String,
    value: String,
    occurred_at: Option<String>,
    after_exposure: bool,
}

#[derive(Deserialize)]
struct Exclusion {
    excluded: bool,
    reason: Option<String>,
}

const BEFORE: usize = 0;
const EXPOSURE: usize = 1;
const BEHIND: usize = 2;
/// Each exclusion of a user has a turn of its own from here on.
const EXCLUSIONS: usize = 3;

/// Columns of CSV that are needed.
pub const FIELDS: &[&str] = &[
    "user_id",
    "experiment",
    "variation",
    "variation_index",
    "exposed_at",
    "crossed",
    "earlier_exposure_seen",
    "stratum",
    "stratum_occurred_at",
    "stratum_after_exposure",
    "covariates",
    "exclusions",
];

/// Fields of a row that are JSON in a cell of CSV.
pub const JSON_CELLS: [&str; 6] = [
    "variation_index",
    "crossed",
    "earlier_exposure_seen",
    "stratum_after_exposure",
    "covariates",
    "exclusions",
];

/// The items of a row, each with where it goes.
pub fn items(row: Row) -> Result<Vec<(Arc<Target>, Item)>, Reject> {
    if row.is_cut() {
        return Err(Reject::cut());
    }
    let unit: Unit = serde_json::from_str(&row.json()).map_err(|error| {
        Reject::new(Reason::InvalidItem, format!("the row is none of `abctl export --kind units`: {error}"))
    })?;
    let mut items = Items { unit: &unit, items: Vec::new() };
    items.told();
    items.exposed()?;
    items.excluded();
    // A batch may end between any two of them.
    items.items.sort_by_key(|(target, _)| target.turn);
    Ok(items.items)
}

struct Items<'u> {
    unit: &'u Unit,
    items: Vec<(Arc<Target>, Item)>,
}

impl Items<'_> {
    fn told(&mut self) {
        let unit = self.unit;
        let turn = |after_exposure: bool| if after_exposure { BEHIND } else { BEFORE };
        let stratum = unit.stratum.as_ref().map(|stratum| match stratum {
            Stratum::Told { value, occurred_at, after_exposure } => (value, occurred_at, *after_exposure),
            Stratum::Plain(value) => (value, &unit.stratum_occurred_at, unit.stratum_after_exposure),
        });
        if let Some((value, at, after)) = stratum {
            self.push(turn(after), Kind::Strata, None, json!({"stratum": value, "occurred_at": at}));
        }
        for Covariate { name, value, occurred_at, after_exposure } in &unit.covariates {
            let name = (!name.is_empty()).then_some(name);
            let more = json!({"covariate_name": name, "value": value, "occurred_at": occurred_at});
            self.push(turn(*after_exposure), Kind::PrePeriod, None, more);
        }
    }

    fn exposed(&mut self) -> Result<(), Reject> {
        let unit = self.unit;
        let Some(index) = unit.variation_index else { return Ok(()) };
        let at = unit.exposed_at.as_deref().and_then(Timestamp::parse);
        let at = at.ok_or_else(|| {
            Reject::new(Reason::InvalidOccurredAt, "`exposed_at` is no instant of RFC 3339")
        })?;
        let (first, own) = match (index, &unit.variation) {
            (-1, _) => (Kind::Holdout, json!({})),
            (_, Some(key)) => (Kind::Exposures, json!({"variation": key})),
            (index, None) => (Kind::Exposures, json!({"variation_index": index})),
        };
        self.exposure(EXPOSURE, first, own.clone(), at);
        for seen in &unit.crossed {
            match seen {
                -1 => self.exposure(BEHIND, Kind::Holdout, json!({}), at),
                index => self.exposure(BEHIND, Kind::Exposures, json!({"variation_index": index}), at),
            }
        }
        // How much earlier is not known any more.
        if unit.earlier_exposure_seen {
            self.exposure(BEHIND, first, own, at.plus(-1));
        }
        Ok(())
    }

    fn exposure(&mut self, turn: usize, kind: Kind, mut own: Value, at: Timestamp) {
        own["occurred_at"] = json!(at.to_string());
        self.push(turn, kind, None, own);
    }

    /// The n-th of every user is of one batch, whatever request it travels in: sent again it says nothing new.
    fn excluded(&mut self) {
        for (n, Exclusion { excluded, reason }) in self.unit.exclusions.iter().enumerate() {
            let more = json!({"excluded": excluded, "exclusion_reason": reason});
            self.push(EXCLUSIONS + n, Kind::Exclusions, Some(format!("export-exclusion-{n}")), more);
        }
    }

    fn push(&mut self, turn: usize, kind: Kind, key: Option<String>, mut item: Value) {
        item["user_id"] = json!(self.unit.user_id);
        let target = Target { turn, key, ..Target::of(kind, &self.unit.experiment) };
        // Which rows are wanted says the exposure of the whole row.
        let occurred_at = self.unit.exposed_at.as_deref().and_then(Timestamp::parse);
        let user_id = self.unit.user_id.clone();
        let item = Item { user_id, exposure: false, occurred_at, json: item.to_string() };
        self.items.push((Arc::new(target), item));
    }
}
