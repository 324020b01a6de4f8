//! `abctl verify`: every stored moments row of an experiment recomputed from the raw rows and compared digit for
//! digit, day by day; and every user's stored tallies with them.
//!
//! It reads short ranges of users, each its own snapshot, so nothing may be applied meanwhile: it notices when
//! events have come to a partition and says so.

mod read;
pub mod recompute;

pub use read::{RawRows, dated, read_all};

use crate::output;
use clap::Args;
use domain::{Overflow, Partition, Plan};
use recompute::{Days, Difference, Key, Recomputation};
use service::settings::Settings;
use store::{Store, StoreError};

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
    #[error("partition {0} was applied to while it was read: run verify again when the pipeline is idle")]
    Moved(Partition),
}

/// Verifies the experiment with this key or id.
pub async fn verify(
    store: &dyn Store,
    partitions: u16,
    tenant: &str,
    reference: &str,
) -> Result<Report, VerifyError> {
    let not_found = || VerifyError::NotFound { tenant: tenant.to_owned(), reference: reference.to_owned() };
    let experiment = store.experiment(tenant, reference).await?.ok_or_else(not_found)?;
    let plan = experiment.plan();
    let before = accepted(store).await?;
    let (stored, rows) = stored_days(store, &plan).await?;
    let mut sums = Recomputation::new(&plan);
    read_all(store, partitions, &mut async |partition, rows: &RawRows| {
        for row in &rows.units {
            let conversions: Vec<_> = rows.conversions_of(row.id).map(read::dated).collect();
            sums.add(partition, &row.user_id, &row.unit, &conversions)?;
        }
        sums.differences.extend(rows.orphans.iter().map(|unit| Difference {
            at: format!("conversions of unit {unit:?}"),
            stored: "present".into(),
            recomputed: "no such unit".into(),
        }));
        Ok::<_, VerifyError>(())
    })
    .await?;
    let after = accepted(store).await?;
    if let Some((partition, _)) = before.iter().zip(&after).find(|(b, a)| b != a).map(|(b, _)| b) {
        return Err(VerifyError::Moved(*partition));
    }
    let (units, conversions) = (sums.units, sums.conversions);
    let differences = sums.compare(&stored)?;
    Ok(Report { experiment: experiment.key, rows, units, conversions, differences })
}

/// Events of each partition so far: entries without events move its position and change nothing.
async fn accepted(store: &dyn Store) -> Result<Vec<(Partition, i64)>, StoreError> {
    Ok(store.accounting().await?.partitions.into_iter().map(|p| (p.partition, p.accepted)).collect())
}

async fn stored_days(store: &dyn Store, plan: &Plan) -> Result<(Days, usize), StoreError> {
    let rows = store.moments_rows(plan.experiment, plan.version).await?;
    let count = rows.len();
    let mut days = Days::new();
    for row in rows {
        let key = Key {
            partition: row.key.partition,
            variation: row.key.variation,
            stratum: row.key.stratum,
            phase: row.key.phase,
        };
        days.entry(key).or_default().insert(row.day, row.moments);
    }
    Ok((days, count))
}
