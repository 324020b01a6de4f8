//! What only the database knows of the whole deployment, as metrics: the books, and experiments whose arms are not
//! comparable. Every analyzer shows the same.

use std::sync::Arc;
use std::time::Duration;

use backends::BooksError;
use prometheus::{IntCounter, IntGauge, IntGaugeVec};
use queue::Queue;
use service::logs::causes;
use service::metrics::Metrics;
use store::{Book, Experiment, Status, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::known::Known;
use crate::sample_ratio::SampleRatio;

const LOOK_EVERY: Duration = Duration::from_secs(30);
const STATUSES: [Status; 4] = [Status::Draft, Status::Running, Status::Stopped, Status::Archived];

pub struct Watch {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    partitions: u16,
    books: IntGaugeVec,
    experiments: IntGaugeVec,
    rebuilding: IntGauge,
    mismatches: IntGauge,
    failures: IntCounter,
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Books(#[from] BooksError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Watch {
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        partitions: u16,
        metrics: &Metrics,
    ) -> Result<Watch, prometheus::Error> {
        metrics.gauge("abstream_partitions", "Partitions of the deployment")?.set(i64::from(partitions));
        Ok(Watch {
            store,
            queue,
            partitions,
            books: metrics.gauge_vec(
                "abstream_books_events",
                "Events since the beginning by line of the books; received is the sum of the others",
                &["line"],
            )?,
            experiments: metrics.gauge_vec(
                "abstream_experiments",
                "Experiments of all tenants by status",
                &["status"],
            )?,
            rebuilding: metrics.gauge(
                "abstream_experiments_rebuilding",
                "Experiments whose sums are being rebuilt for another plan; the old ones are served meanwhile",
            )?,
            mismatches: metrics.gauge(
                "abstream_experiments_sample_ratio_mismatch",
                "Running experiments whose arms have other shares of users than their weights say",
            )?,
            failures: metrics.counter(
                "abstream_watch_failures_total",
                "Looks at books and experiments that failed; their metrics keep the last values",
            )?,
        })
    }

    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Some(Err(error)) = stop.run_until_cancelled(self.look()).await {
                tracing::warn!(
                    error = causes(&error),
                    "the metrics of books and experiments are not up to date"
                );
                self.failures.inc();
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Once.
    pub async fn look(&self) -> Result<(), LookError> {
        let books = backends::books(&*self.store, &*self.queue, self.partitions).await?;
        let Book { received, recorded, deduplicated, dead_lettered, discarded, in_flight, lost } =
            books.total;
        for (line, events) in [
            ("received", received),
            ("recorded", recorded),
            ("deduplicated", deduplicated),
            ("dead_lettered", dead_lettered),
            ("discarded", discarded),
            ("in_flight", in_flight),
            ("lost", lost),
        ] {
            self.books.with_label_values(&[line]).set(events);
        }
        let all = self.store.all_experiments().await?;
        for status in STATUSES {
            let count = all.iter().filter(|experiment| experiment.status == status).count();
            let gauge = self.experiments.with_label_values(&[status.as_str()]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let rebuilding = all.iter().filter(|experiment| experiment.rebuild.is_some()).count();
        self.rebuilding.set(i64::try_from(rebuilding).unwrap_or(i64::MAX));
        let mut mismatches = 0;
        for experiment in all.iter().filter(|experiment| experiment.status == Status::Running) {
            mismatches += i64::from(self.mismatch(experiment).await?);
        }
        self.mismatches.set(mismatches);
        Ok(())
    }

    /// By the test that may be looked at again and again.
    async fn mismatch(&self, experiment: &Experiment) -> Result<bool, StoreError> {
        let rows = self.store.answer(experiment, None).await?;
        // What cannot be answered says so to whoever asks for it.
        let Ok(known) = Known::of(experiment, &rows, None, clock::now()) else { return Ok(false) };
        Ok(SampleRatio::of(&known).mismatch_at_any_look())
    }
}
