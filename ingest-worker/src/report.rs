//! What the queue is told after a commit: applied totals, receipts, what may be trimmed. Losing a report loses
//! nothing: totals are told again with the next one, receipts are stored, trimming can wait.

use crate::apply::Applied;
use domain::Partition;
use queue::reporter::Reporter as Told;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Commits not yet told about; past it the lane waits, so that receipts are late rather than lost.
const UNTOLD: usize = 64;

pub struct Report {
    pub partition: Partition,
    pub applied: Applied,
}

/// A task of its own, so that the lane does not wait for the queue.
pub struct Reporter {
    to: mpsc::Sender<Report>,
    task: JoinHandle<()>,
}

impl Reporter {
    pub fn start(told: Box<dyn Told>, keep: Duration) -> Reporter {
        let (to, mut reports) = mpsc::channel::<Report>(UNTOLD);
        let task = tokio::spawn(async move {
            while let Some(Report { partition, applied }) = reports.recv().await {
                told.report(partition, &applied.writers, &applied.receipts, applied.position, keep).await;
                told.forget(partition, &applied.forgotten).await;
            }
        });
        Reporter { to, task }
    }

    pub async fn send(&self, report: Report) {
        // Fails only if the task is gone, which `finish` alone ends.
        if self.to.send(report).await.is_err() {
            tracing::error!("the reporter has ended");
        }
    }

    /// Tells what is left.
    pub async fn finish(self) {
        drop(self.to);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the reporter failed");
        }
    }
}
