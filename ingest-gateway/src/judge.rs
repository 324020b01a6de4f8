//! An item against the clock and the catalogue: does its experiment take it, and as what?

use std::collections::HashSet;
use std::sync::Arc;

use domain::{ExperimentId, UnitId};
use foldhash::HashMap;
use queue::catalogue::Entry;

use crate::body::{Fault, Item, Variation, What};
use crate::clock::Clock;
use crate::codes::Code;
use crate::frames::{Kind, Slot};

/// The experiments a request's items may refer to, looked up beforehand.
pub enum Targets<'a> {
    /// The path names it.
    One(Arc<Entry>),
    /// Every item is the tenant's.
    Tenant,
    /// Items name their own or none; `None` = the tenant has no such experiment.
    Named(HashMap<&'a str, Option<Arc<Entry>>>),
}

/// Everything the items of one request are judged by.
pub struct Judge<'a> {
    pub tenant: &'a str,
    pub partitions: u16,
    pub clock: Clock,
    pub targets: Targets<'a>,
    /// With `strict=true`: the metrics of tenant conversions that some plan uses.
    pub strict: Option<HashSet<&'a str>>,
}

impl Judge<'_> {
    /// Where every item goes that is taken; the others join `faults`, which end in order of index.
    pub fn slots(&self, items: &[Item<'_>], faults: &mut Vec<(u32, Fault)>) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(items.len());
        for (position, item) in (0..).zip(items) {
            match self.slot(item, position) {
                Ok(slot) => slots.push(slot),
                Err(fault) => faults.push((item.index, fault)),
            }
        }
        faults.sort_by_key(|(index, _)| *index);
        slots
    }

    /// `position`: the item's, among those well-formed.
    fn slot(&self, item: &Item<'_>, position: u32) -> Result<Slot, Fault> {
        let entry = self.target(item)?;
        if let Some(given) = item.occurred_given {
            self.clock.check(given)?;
        }
        let kind = match (&item.what, entry) {
            (What::Exposure(variation), Some(entry)) => Kind::Exposure(exposure(variation, entry)?),
            (What::Conversion { metric, .. }, entry) => {
                self.check_metric(metric, entry)?;
                Kind::Conversion
            }
            (What::PrePeriod { .. } | What::Stratum(_) | What::Exclusion { .. }, Some(_)) => Kind::Control,
            // The body's shapes leave none of the others without an experiment.
            (_, None) => return Err(unknown_experiment()),
        };
        Ok(Slot {
            partition: UnitId::of(self.tenant, &item.user_id).partition(self.partitions),
            experiment: entry.map_or(ExperimentId::NONE, |entry| entry.id),
            after_stop: entry.is_some_and(|entry| entry.status == "stopped"),
            kind,
            position,
        })
    }

    fn target(&self, item: &Item<'_>) -> Result<Option<&Entry>, Fault> {
        let entry = match (&self.targets, &item.experiment) {
            (Targets::One(entry), _) => entry,
            (Targets::Tenant, _) | (Targets::Named(_), None) => return Ok(None),
            (Targets::Named(known), Some(name)) => {
                known.get(name.as_ref()).and_then(Option::as_ref).ok_or_else(unknown_experiment)?
            }
        };
        check_open(entry, matches!(item.what, What::Exposure(_)))
            .map_err(|(code, detail)| Fault::field(code, "experiment", detail))?;
        Ok(Some(entry))
    }

    fn check_metric(&self, metric: &str, entry: Option<&Entry>) -> Result<(), Fault> {
        let Some(tenants) = &self.strict else { return Ok(()) };
        let used = match entry {
            Some(entry) => entry.metrics.iter().any(|used| used == metric),
            None => tenants.contains(metric),
        };
        if used {
            return Ok(());
        }
        Err(Fault::field(Code::UnusedMetric, "metric", "no plan uses this metric"))
    }
}

/// Whether an experiment takes exposures, or conversions, at all.
pub fn check_open(entry: &Entry, exposures: bool) -> Result<(), (Code, &'static str)> {
    match entry.status.as_str() {
        "archived" => Err((Code::ExperimentArchived, "the experiment is archived")),
        "draft" if exposures => Err((Code::ExperimentNotStarted, "the experiment was never started")),
        _ => Ok(()),
    }
}

fn exposure(variation: &Variation<'_>, entry: &Entry) -> Result<i16, Fault> {
    let keyed = |key: &str| entry.variations.iter().position(|known| known == key);
    let (field, index) = match variation {
        Variation::Holdout => return Ok(HOLDOUT),
        Variation::Index(index) => ("variation_index", usize::try_from(*index).ok()),
        Variation::Key(key) => ("variation", keyed(key)),
        Variation::Named(name) => {
            let decimal = || name.bytes().all(|b| b.is_ascii_digit()).then(|| name.parse().ok())?;
            ("variation", keyed(name).or_else(decimal))
        }
        Variation::Flag(on) => {
            let name = if *on { "true" } else { "false" };
            let detail = "a flag that is on or off puts the user into no variation of this experiment";
            let index = keyed(name).ok_or_else(|| Fault::item(Code::EventIgnored, detail))?;
            ("variation", Some(index))
        }
    };
    index
        .filter(|index| *index < entry.variations.len())
        .and_then(|index| i16::try_from(index).ok())
        .ok_or_else(|| Fault::field(Code::UnknownVariation, field, "the experiment has no such variation"))
}

/// In place of a variation: kept out of every arm.
const HOLDOUT: i16 = -1;

fn unknown_experiment() -> Fault {
    Fault::field(Code::UnknownExperiment, "experiment", "there is no such experiment")
}
