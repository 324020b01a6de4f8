//! `abctl verify`: every stored moments row of an experiment recomputed from the raw rows and compared digit for
//! digit, day by day; and every user's stored tallies with them.
//!
//! Workers go on meanwhile: a partition is looked at through a [`store::View`], which shows it as it stood at one
//! instant, read in short ranges of users.

mod read;
pub mod recompute;

pub use read::{RawRows, dated, read_all};

use crate::output;
use clap::Args;
use domain::{Overflow, Partition, Timestamp};
use recompute::{Days, Difference, Key, Recomputation};
use service::settings::Settings;
use store::{ArmRow, MomentsKey, Store, StoreError, View};

/// Recompute every statistic of an experiment from the raw rows; exit 1 if any digit differs.
#[derive(Args)]
pub struct Verify {
    /// Key or id.
    experiment: String,
    #[arg(long, default_value = "default")]
    tenant: String,
}

impl Verify {
    /// Whether everything is equal.
    pub async fn run(&self, settings: &Settings, json: bool) -> anyhow::Result<bool> {
        let (store, partitions) = backends::connect_store(settings).await?;
        let report = verify(&*store, partitions, &self.tenant, &self.experiment).await?;
        if json {
            output::json(&report)?
        } else {
            output::verified(&report)?
        }
        Ok(report.differences.is_empty())
    }
}

/// Users read with one short snapshot.
const SLICE: u32 = 2_000;
/// A view ends when a user is erased, or when it is not read from for a minute.
const VIEWS: u32 = 5;

impl Report {
    fn add(&mut self, other: Report) {
        self.rows += other.rows;
        self.units += other.units;
        self.conversions += other.conversions;
        self.differences.extend(other.differences);
    }
}

/// What was compared, and what is not equal.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    pub experiment: String,
    /// Stored moments rows.
    pub rows: usize,
    /// Enrolled users.
    pub units: u64,
    /// Conversions the experiment's plan looks at.
    pub conversions: u64,
    pub differences: Vec<Difference>,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error("tenant {tenant} has no experiment {reference}")]
    NotFound { tenant: String, reference: String },
    #[error("the raw rows of {0} are purged since {1}: its sums stay as they are, and cannot be recomputed")]
    Purged(String, Timestamp),
    #[error("partition {0} could not be looked at in one piece: its view ended {VIEWS} times")]
    Ended(Partition),
}

/// Verifies the experiment with this key or id, one partition after the other, each as it stood when its turn came.
pub async fn verify(
    store: &dyn Store,
    partitions: u16,
    tenant: &str,
    reference: &str,
) -> Result<Report, VerifyError> {
    let not_found = || VerifyError::NotFound { tenant: tenant.to_owned(), reference: reference.to_owned() };
    let experiment = store.experiment(tenant, reference).await?.ok_or_else(not_found)?;
    if let Some(since) = experiment.purged_at {
        return Err(VerifyError::Purged(experiment.key, since));
    }
    let mut report =
        Report { experiment: experiment.key, rows: 0, units: 0, conversions: 0, differences: vec![] };
    for partition in (0..partitions).map(Partition) {
        let mut views = 0;
        loop {
            let view = store.view(experiment.id, partition).await?.ok_or_else(not_found)?;
            if let Some(part) = verify_partition(view, partition, partitions).await? {
                report.add(part);
                break;
            }
            views += 1;
            if views == VIEWS {
                return Err(VerifyError::Ended(partition));
            }
        }
    }
    Ok(report)
}

/// `None`: the view ended before everything was read.
async fn verify_partition(
    mut view: Box<dyn View>,
    partition: Partition,
    partitions: u16,
) -> Result<Option<Report>, VerifyError> {
    let plan = view.experiment().plan();
    let (stored, rows) = (days_of(view.moments()), view.moments().len());
    if let Some(since) = view.experiment().purged_at {
        return Err(VerifyError::Purged(view.experiment().key.clone(), since));
    }
    let mut sums = Recomputation::new(&plan);
    let (mut first, last) = partition.unit_range(partitions);
    loop {
        let Some(slice) = view.slice(first, last, SLICE).await? else { return Ok(None) };
        let end = slice.end;
        let raw = RawRows::new(slice.units, slice.conversions);
        for row in &raw.units {
            let conversions: Vec<_> = raw.conversions_of(row.id).map(read::dated).collect();
            sums.add(partition, &row.user_id, &row.unit, &conversions)?;
        }
        sums.differences.extend(raw.orphans.iter().map(|unit| Difference {
            at: format!("conversions of unit {unit:?}"),
            stored: "present".into(),
            recomputed: "no such unit".into(),
        }));
        match read::following(end).filter(|_| end < last) {
            Some(next) => first = next,
            None => break,
        }
    }
    let experiment = view.experiment().key.clone();
    view.close().await?;
    let (units, conversions) = (sums.units, sums.conversions);
    Ok(Some(Report { experiment, rows, units, conversions, differences: sums.compare(&stored)? }))
}

fn days_of(rows: &[ArmRow]) -> Days {
    let mut days = Days::new();
    for row in rows {
        let MomentsKey { partition, variation, stratum, phase, .. } = row.key.clone();
        let key = Key { partition, variation, stratum, phase };
        days.entry(key).or_default().insert(row.day, row.moments.clone());
    }
    days
}
