//! What the database holds after it all, against what was acknowledged.

use super::hasty;
use super::ledger::{Comparison, Content, Ledger, Place, What};
use abctl::simulate::check::Checker;
use abctl::simulate::lane::Plot;
use abctl::simulate::oracle::{Oracle, Rows};
use abctl::simulate::world::EVENTS;
use abctl::verify::{RawRows, read_all, verify};
use anyhow::{Context, Result};
use domain::{Decimal, ExperimentId, Timestamp};
use store::{Books, Store, StoreError};

/// Nothing may be under way any more.
pub struct Judge<'a> {
    pub store: &'a dyn Store,
    pub partitions: u16,
    /// What the careful producers wrote from.
    pub plot: &'a Plot,
}

pub struct Verdict {
    pub comparison: Comparison,
    /// `verify` of every experiment of both tenants.
    pub verified: bool,
    /// Everything that is not as it must be.
    pub differences: Vec<String>,
}

impl Judge<'_> {
    /// `oracle` knows what the careful producers sent, `ledger` the claims of all others. `acknowledged`: events, each as
    /// often as it was.
    pub async fn verdict(
        &self,
        oracle: &Oracle,
        mut ledger: Ledger,
        books: &Books,
        acknowledged: u64,
    ) -> Result<Verdict> {
        let rows = oracle.rows.as_ref().context("the oracle keeps rows")?;
        ledger.merge(self.certain(rows).await?);
        let stored = stored(self.store, self.partitions).await?;
        let mut comparison = ledger.compare(&stored);
        let mut differences = std::mem::take(&mut comparison.differences);
        differences.append(&mut comparison.missing);
        // What is told of users is no row of its own: the oracle and the counters know it.
        let recorded = u64::try_from(books.total.recorded)?.saturating_sub(oracle.total().told());
        comparison.double += recorded.saturating_sub(stored.len() as u64);
        if recorded != stored.len() as u64 {
            differences.push(format!("{recorded} recorded, {} stored", stored.len()));
        }
        differences.extend(book_faults(books, acknowledged));
        // Retries after lost answers may have been accepted twice.
        let (tenant, world) = (self.plot.tenant.as_str(), self.plot.world.as_ref());
        let checker = Checker { store: self.store, tenant, world, exact: false };
        differences.extend(checker.differences(oracle, self.partitions).await?);
        let unequal = self.unequal().await?;
        let verified = unequal.is_empty();
        differences.extend(unequal);
        Ok(Verdict { comparison, verified, differences })
    }

    /// Everything the careful producers sent was acknowledged in the end, and it was the first under its key.
    async fn certain(&self, rows: &Rows) -> Result<Ledger> {
        let mut ids = Vec::new();
        for experiment in &self.plot.world.experiments {
            ids.push(experiment_id(self.store, &self.plot.tenant, &experiment.key).await?);
        }
        let id = |index: Option<u8>| match index {
            Some(index) => ids.get(usize::from(index)).copied().context("an experiment of the world"),
            None => Ok(ExperimentId::NONE),
        };
        let place = |user: &str, experiment, key| Place {
            tenant: self.plot.tenant.clone(),
            user: user.to_owned(),
            experiment,
            key,
        };
        let mut ledger = Ledger::default();
        let mut certain = |place, what, at: Option<i64>| {
            let claim = ledger.claim(place, Content { what, at: at.map(Timestamp::from_millis) });
            ledger.acknowledge(&claim);
        };
        for ((user, index), (arm, at)) in &rows.enrollments {
            let place = place(user, id(Some(*index))?, None);
            certain(place, What::Variation(*arm), *at);
        }
        for ((user, index, key), booking) in &rows.conversions {
            let metric = EVENTS.get(usize::from(booking.event)).copied().unwrap_or_default().to_owned();
            let what = What::Conversion { metric, value: Decimal(booking.millionths) };
            certain(place(user, id(*index)?, Some(key.clone())), what, booking.at);
        }
        Ok(ledger)
    }

    /// What `verify` says of every experiment.
    async fn unequal(&self) -> Result<Vec<String>> {
        let careful = self.plot.world.experiments.iter().map(|e| (self.plot.tenant.as_str(), e.key.as_str()));
        let mut found = Vec::new();
        for (tenant, key) in careful.chain([(hasty::TENANT, hasty::EXPERIMENT)]) {
            let report = verify(self.store, self.partitions, tenant, key).await?;
            found.extend(report.differences.iter().map(|d| format!("verify {}: {d:?}", report.experiment)));
        }
        Ok(found)
    }
}

/// Everything that is stored, of every tenant.
pub async fn stored(store: &dyn Store, partitions: u16) -> Result<Vec<(Place, Content)>> {
    let mut stored = Vec::new();
    read_all(store, partitions, &mut async |_, raw: &RawRows| {
        for row in &raw.units {
            let place = |experiment, key| Place {
                tenant: row.tenant.clone(),
                user: row.user_id.clone(),
                experiment,
                key,
            };
            for e in &row.unit.enrollments {
                let what = What::Variation(e.variation);
                stored.push((place(e.experiment, None), Content { what, at: Some(e.exposed_at) }));
            }
            for c in raw.conversions_of(row.id) {
                let what = What::Conversion { metric: c.metric.clone(), value: c.value };
                let content = Content { what, at: Some(c.occurred_at) };
                stored.push((place(c.experiment, Some(c.key.clone())), content));
            }
        }
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(stored)
}

pub async fn experiment_id(store: &dyn Store, tenant: &str, key: &str) -> Result<ExperimentId> {
    let experiment = store.experiment(tenant, key).await?;
    Ok(experiment.with_context(|| format!("tenant {tenant} has no experiment {key}"))?.id)
}

fn book_faults(books: &Books, acknowledged: u64) -> Vec<String> {
    let total = books.total;
    let mut found = Vec::new();
    let mut hold = |what: &str, holds: bool| {
        if !holds {
            found.push(format!("{what}: {total}; {acknowledged} events acknowledged"));
        }
    };
    hold("the books close in every partition, and nothing is lost", books.are_good());
    hold("nothing is in flight", total.in_flight == 0);
    hold("nothing is dead or discarded", total.dead_lettered == 0 && total.discarded == 0);
    let received = u64::try_from(total.received).is_ok_and(|received| received >= acknowledged);
    hold("what was acknowledged was received", received);
    found
}
