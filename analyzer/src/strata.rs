//! `live-stats?by=stratum`: the same answer for the users of each stratum alone.
//!
//! For finding out where an effect or a broken sample ratio comes from, not for deciding: each stratum is a family of
//! tests of its own, so among many of them some are significant by chance.

use std::collections::BTreeMap;

use domain::{Day, Timestamp};
use serde::Serialize;
use store::{ArmRow, Experiment};

use crate::known::{Known, Unanswerable};
use crate::live_stats::ArmView;
use crate::metric::MetricView;
use crate::sample_ratio::SampleRatio;

/// The users of one stratum.
#[derive(Debug, Serialize)]
pub struct StratumView<'a> {
    /// Empty: of users without one.
    pub stratum: &'a str,
    /// Enrolled.
    pub users: i64,
    pub srm: SampleRatio,
    pub arms: Vec<ArmView<'a>>,
    pub metrics: Vec<MetricView<'a>>,
}

/// The largest ones, if there are more.
pub const MOST: usize = 100;

/// What is known of each stratum from its rows alone, the largest first.
pub fn apart<'a>(
    experiment: &'a Experiment,
    rows: &[ArmRow],
    as_of: Option<Day>,
    now: Timestamp,
) -> Result<Vec<(String, Known<'a>)>, Unanswerable> {
    let mut apart: BTreeMap<&str, Vec<ArmRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.key.variation >= 0) {
        apart.entry(&row.key.stratum).or_default().push(row.clone());
    }
    let of =
        |(name, rows): (&str, Vec<ArmRow>)| Ok((name.to_owned(), Known::of(experiment, &rows, as_of, now)?));
    let mut strata = apart.into_iter().map(of).collect::<Result<Vec<_>, Unanswerable>>()?;
    // Rows of one that everybody has left, for the stratum they were told to be in.
    strata.retain(|(_, known)| known.users() > 0);
    strata.sort_by_key(|(_, known)| std::cmp::Reverse(known.users()));
    strata.truncate(MOST);
    Ok(strata)
}

impl<'a> StratumView<'a> {
    pub fn of(stratum: &'a str, known: &'a Known<'_>) -> StratumView<'a> {
        let metrics = &known.experiment.definition.metrics;
        StratumView {
            stratum,
            users: known.users(),
            srm: SampleRatio::of(known),
            arms: ArmView::all(known.experiment, &known.arms.all, None),
            metrics: metrics.iter().map(|metric| MetricView::of(known, metric)).collect(),
        }
    }
}
