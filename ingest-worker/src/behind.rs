//! How far behind the partitions held are, looked at every two seconds beside the lanes, so that it is told of one that
//! is stuck as well.

use crate::metrics::WorkerMetrics;
use crate::progress::Progress;
use domain::Partition;
use queue::reader::{Ages, EntryId};
use queue::{Queue, QueueError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(2);

/// Of the partitions that a process holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// Events sent and not applied.
    pub events: u64,
    /// Of the oldest entry that is not applied; zero = there is none.
    pub waiting: Duration,
    /// How far back the stream that reaches back least reaches.
    pub kept: Duration,
}

/// Until `stop`. While the queue does not answer, the metrics keep their last values.
pub async fn run(
    queue: Arc<dyn Queue>,
    lanes: Vec<Arc<Progress>>,
    metrics: Arc<WorkerMetrics>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let held: Vec<_> = lanes.iter().flat_map(|lane| lane.positions()).collect();
        let Some(found) = stop.run_until_cancelled(behind(&*queue, &held)).await else { return };
        if let Err(error) = &found
            && !failed
        {
            tracing::warn!(%error, "the queue does not say how far behind the partitions are");
        }
        failed = found.is_err();
        if let Ok(behind) = found {
            metrics.behind(&behind);
        }
    }
}

async fn behind(queue: &dyn Queue, held: &[(Partition, EntryId)]) -> Result<Behind, QueueError> {
    let ages = queue.ages(held).await?;
    let totals = queue.sent_totals().await?;
    let of_ours = totals.iter().filter(|t| held.iter().any(|(partition, _)| *partition == t.partition));
    let each = |age: fn(&Ages) -> Option<Duration>| ages.iter().filter_map(age);
    Ok(Behind {
        events: of_ours.map(|t| t.sent.saturating_sub(t.applied)).sum(),
        waiting: each(|a| a.waiting).max().unwrap_or_default(),
        kept: each(|a| a.kept).min().unwrap_or_default(),
    })
}
