//! Looks for what webhooks have to be told, every `AB_WEBHOOK_INTERVAL`: by one analyzer at a time, whichever asks the
//! database first. Should two look at once all the same, the mark lets one tell.

use std::sync::Arc;

use domain::{ExperimentId, Timestamp};
use prometheus::{IntCounter, IntGauge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::logs::causes;
use service::metrics::Metrics;
use service::settings::Webhooks as Settings;
use store::{Asked, Experiment, Mark, Note, Status, Store, StoreError, Told};
use tokio_util::sync::CancellationToken;

use super::facts::{self, Letters};
use super::sender::Counts;
use crate::clock;
use crate::decision::Decided;
use crate::known::{Known, Unanswerable, rows_needed};

/// A stopped experiment is looked at this long: what was under way still arrives.
const AFTER_STOP: i64 = 86_400 * 1_000_000;
/// Deliveries forgotten in one look, so that a long log goes in small transactions.
const FORGOTTEN: u32 = 10_000;

pub struct Look {
    store: Arc<dyn Store>,
    settings: Settings,
    counts: Counts,
    waiting: IntGauge,
    oldest: IntGauge,
    failures: IntCounter,
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
    #[error("what webhooks were told cannot be read or written")]
    Mark(#[from] serde_json::Error),
}

impl Look {
    pub fn new(
        store: Arc<dyn Store>,
        settings: &Settings,
        counts: Counts,
        metrics: &Metrics,
    ) -> Result<Look, prometheus::Error> {
        Ok(Look {
            store,
            settings: settings.clone(),
            counts,
            waiting: metrics.gauge("abstream_webhook_waiting", "Deliveries to webhooks that wait")?,
            oldest: metrics.gauge(
                "abstream_webhook_oldest_waiting_seconds",
                "Age of the oldest delivery to a webhook that waits",
            )?,
            failures: metrics.counter(
                "abstream_webhook_look_failures_total",
                "Looks for what webhooks have to be told that failed; the next one tells it",
            )?,
        })
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Some(Err(error)) = stop.run_until_cancelled(self.look()).await {
                self.failed(&error);
            }
            let pause = tokio::time::sleep(self.settings.interval);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Once, if it is this analyzer's turn.
    async fn look(&self) -> Result<(), LookError> {
        // Its own pause and the database's clock differ a little: half of it, and every turn is somebody's.
        if self.store.take_look(self.settings.interval / 2).await? {
            for tenant in self.store.tenants_with_webhooks().await? {
                self.letters(&tenant).await?;
                self.experiments(&tenant).await?;
            }
            self.store.forget_deliveries(self.settings.log_keep, FORGOTTEN).await?;
        }
        let waiting = self.store.waiting_deliveries().await?;
        self.waiting.set(i64::try_from(waiting.deliveries).unwrap_or(i64::MAX));
        self.oldest.set(i64::try_from(waiting.oldest.as_secs()).unwrap_or(i64::MAX));
        Ok(())
    }

    async fn letters(&self, tenant: &str) -> Result<(), LookError> {
        let mark = self.store.mark(tenant, ExperimentId::NONE).await?;
        let told: Letters = read(&mark)?;
        let now = Letters { dead_lettered: self.store.dead_lettered(tenant).await? };
        let note = facts::more_letters(told, now, tenant, clock::now());
        if told == now {
            return Ok(());
        }
        self.tell(tenant, ExperimentId::NONE, mark, &now, note.as_slice()).await
    }

    async fn experiments(&self, tenant: &str) -> Result<(), LookError> {
        let now = clock::now();
        let mut after = ExperimentId(0);
        loop {
            let listing = store::Listing { after, limit: PAGE, status: None, label: None };
            let page = self.store.list_experiments(tenant, listing).await?;
            for experiment in page.iter().filter(|experiment| moves(experiment, now)) {
                // One that cannot be answered must not keep the others from being told.
                if let Err(error) = self.experiment(experiment).await {
                    self.failed(&error);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = last.id,
                _ => return Ok(()),
            }
        }
    }

    /// The mark is read first: whoever moves it later than this knows no less.
    async fn experiment(&self, experiment: &Experiment) -> Result<(), LookError> {
        let (tenant, id) = (&experiment.tenant, experiment.id);
        let mark = self.store.mark(tenant, id).await?;
        let asked = Asked::of(None, rows_needed);
        let Some(snapshot) = self.store.snapshot(tenant, &id.to_string(), &asked).await? else {
            return Ok(());
        };
        let now = clock::now();
        let (told, notes, next) = {
            let known = Known::of(&snapshot.experiment, &snapshot.moments, None, now)?;
            let told: facts::Told = read(&mark)?;
            let (next, notes) = facts::news(&told, &Decided::of(&known, now), &snapshot.experiment, now);
            (told, notes, next)
        };
        if told == next {
            return Ok(());
        }
        self.tell(tenant, id, mark, &next, &notes).await
    }

    async fn tell<T: Serialize>(
        &self,
        tenant: &str,
        experiment: ExperimentId,
        mark: Mark,
        state: &T,
        notes: &[Note],
    ) -> Result<(), LookError> {
        let moved = Mark { state: serde_json::to_string(state)?, ..mark };
        // None: another analyzer was faster, and told it.
        let told = self.store.tell(tenant, experiment, &moved, notes).await?.unwrap_or_default();
        for Told { webhook, .. } in told.iter().filter(|told| told.given_up) {
            tracing::warn!(webhook, "too many deliveries wait for a webhook; this one was given up");
            self.counts.given_up.inc();
        }
        Ok(())
    }

    fn failed(&self, error: &LookError) {
        tracing::warn!(error = causes(error), "webhooks were not told of everything; the next look tells it");
        self.failures.inc();
    }
}

const PAGE: u32 = 200;

/// Whether anything new can be known of it.
fn moves(experiment: &Experiment, now: Timestamp) -> bool {
    match experiment.status {
        Status::Running => true,
        Status::Stopped => experiment.stopped_at.is_some_and(|at| now.0.saturating_sub(at.0) < AFTER_STOP),
        Status::Draft | Status::Archived => false,
    }
}

fn read<T: DeserializeOwned + Default>(mark: &Mark) -> Result<T, serde_json::Error> {
    if mark.revision == 0 { Ok(T::default()) } else { serde_json::from_str(&mark.state) }
}
