//! Keeping the gateways' projection equal to the experiments in the database.
//!
//! A change is committed first, then projected. When projecting fails, the change stands, its caller is told to retry
//! (every change but a deletion is idempotent), and the reconciler repairs: at once, and every 30 s anyway. That the
//! whole catalogue is gone, with Redis emptied, is seen within a second: gateways answer 503 until it is back.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use queue::QueueError;
use queue::catalogue::{Entry, Projection, Reconciled};
use service::http::Problem;
use service::logs::causes;
use service::metrics::Metrics;
use store::{Experiment, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const RECONCILE_EVERY: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Catalogue {
    store: Arc<dyn Store>,
    projection: Box<dyn Projection>,
    /// Something could not be projected.
    wake: Notify,
    repaired: IntCounter,
    failed: IntCounter,
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Catalogue {
    pub fn new(
        store: Arc<dyn Store>,
        projection: Box<dyn Projection>,
        metrics: &Metrics,
    ) -> Result<Catalogue, prometheus::Error> {
        Ok(Catalogue {
            store,
            projection,
            wake: Notify::new(),
            repaired: metrics.counter(
                "abstream_catalogue_repairs_total",
                "Reconciliations that found the catalogue different from the database.",
            )?,
            failed: metrics.counter(
                "abstream_catalogue_failures_total",
                "Failed writes and reconciliations of the catalogue.",
            )?,
        })
    }

    /// After a committed change: returns when gateways can know of it. On a 503 the change stands and the same
    /// request may be sent again.
    pub async fn publish(&self, experiment: &Experiment) -> Result<(), Problem> {
        let Err(error) = self.projection.put(&entry(experiment)).await else { return Ok(()) };
        self.not_written(&error);
        let detail = "the change is stored, but the gateways could not be told yet: send the request again";
        Err(Problem::unavailable("catalogue_unavailable", detail, 1))
    }

    /// After a committed deletion. A failure delays only when gateways stop accepting; what they still accept is
    /// discarded and counted.
    pub async fn withdraw(&self, experiment: &Experiment) {
        let Experiment { tenant, id, key, .. } = experiment;
        if let Err(error) = self.projection.remove(tenant, *id, key).await {
            self.not_written(&error);
        }
    }

    fn not_written(&self, error: &QueueError) {
        tracing::warn!(error = causes(error), "the catalogue was not written; reconciling");
        self.failed.inc();
        self.wake.notify_one();
    }

    /// Makes the projection equal to the database; false when somebody else wrote meanwhile.
    pub async fn reconcile(&self) -> Result<bool, ReconcileError> {
        let ticket = self.projection.begin().await?;
        let all = self.store.all_experiments().await?.iter().map(entry).collect();
        match self.projection.reconcile(ticket, all).await? {
            Reconciled::Superseded => Ok(false),
            Reconciled::Done { changed: 0 } => Ok(true),
            Reconciled::Done { changed } => {
                tracing::info!(fields = changed, "the catalogue was repaired");
                self.repaired.inc();
                Ok(true)
            }
        }
    }

    /// Until `stop`.
    pub async fn keep_reconciled(self: Arc<Self>, stop: CancellationToken) {
        let mut due = Instant::now() + RECONCILE_EVERY;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.wake.notified() => {}
                () = self.gone() => {}
                () = stop.cancelled() => return,
            }
            due = Instant::now()
                + match self.reconcile().await {
                    Ok(true) => RECONCILE_EVERY,
                    Ok(false) => RETRY_AFTER,
                    Err(error) => {
                        tracing::warn!(
                            error = causes(&error),
                            "the catalogue could not be reconciled; trying again"
                        );
                        self.failed.inc();
                        RETRY_AFTER
                    }
                };
        }
    }

    /// Returns when the catalogue is found incomplete. While nobody can say it is not.
    async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.projection.is_complete().await.is_ok_and(|complete| !complete) {
                return;
            }
        }
    }
}

/// What gateways know of an experiment.
fn entry(experiment: &Experiment) -> Entry {
    Entry {
        id: experiment.id,
        tenant: experiment.tenant.clone(),
        key: experiment.key.clone(),
        status: experiment.status.as_str().to_owned(),
        variations: experiment.wanted().variations.iter().map(|v| v.key.clone()).collect(),
        metrics: experiment.next_plan().unwrap_or_else(|| experiment.plan()).events,
        revision: experiment.revision,
    }
}
