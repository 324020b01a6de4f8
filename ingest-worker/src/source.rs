//! Reading ahead: one task per partition, a bounded number of reads in advance of the lane.

use crate::progress::Progress;
use domain::Partition;
use queue::Backoff;
use queue::reader::{Entry, EntryId, Read, Reader};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Reads held per partition: one being applied, and one to follow it.
pub const READS_AHEAD: usize = 2;

/// What a source found. Of another run than the current one (the source was restarted): to be ignored.
pub struct Found {
    pub partition: Partition,
    pub run: u64,
    pub what: What,
    /// Freed when the entries are applied: only then is more read.
    pub ahead: OwnedSemaphorePermit,
}

pub enum What {
    Entries(Vec<Entry>),
    /// Another stream has taken the place of the one we read.
    AnchorLost,
}

/// A running reader. Dropping it stops it.
pub struct Source {
    task: JoinHandle<()>,
    pub run: u64,
}

impl Source {
    pub fn start(
        mut reader: Box<dyn Reader>,
        partition: Partition,
        run: u64,
        max_entries: usize,
        to: mpsc::Sender<Found>,
        progress: Arc<Progress>,
    ) -> Source {
        let ahead = Arc::new(Semaphore::new(READS_AHEAD));
        let task = tokio::spawn(async move {
            let mut backoff = backoff();
            // Closed semaphore or channel: the lane is gone.
            while let Ok(permit) = ahead.clone().acquire_owned().await {
                let what = match next(&mut *reader, max_entries, &mut backoff).await {
                    Read::Entries(entries) => {
                        progress.found(partition, Instant::now());
                        What::Entries(entries)
                    }
                    Read::AnchorLost => What::AnchorLost,
                    // With nothing at hand either, which would hold a permit, all is applied.
                    Read::Idle => {
                        if ahead.available_permits() == READS_AHEAD - 1 {
                            progress.idle(partition);
                        }
                        continue;
                    }
                };
                let lost = matches!(what, What::AnchorLost);
                if to.send(Found { partition, run, what, ahead: permit }).await.is_err() || lost {
                    return;
                }
            }
        });
        Source { task, run }
    }
}

/// The next read that succeeds.
async fn next(reader: &mut dyn Reader, max_entries: usize, backoff: &mut Backoff) -> Read {
    loop {
        match reader.next(max_entries, queue::reader::BLOCK_MAX).await {
            Ok(read) => {
                backoff.reset();
                return read;
            }
            Err(error) => {
                tracing::warn!(%error, position = %reader.position(), "reading the stream failed; trying again");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where reading begins: behind the entry the database names; an unreadable id means from the beginning, which
/// numbers and keys make safe.
pub fn position(text: &str) -> EntryId {
    text.parse().unwrap_or(EntryId::ZERO)
}

/// Ends the wait of whoever backs off when the worker stops.
pub async fn pause(backoff: &mut Backoff, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(backoff.pause()) => {}
        () = stop.cancelled() => {}
    }
}

/// Pauses of whoever tries again: from 50 ms, doubling up to 2 s.
pub fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}
