//! Where a lane's partitions stand, and whether it gets on with them: what its liveness and the watch ask.

use domain::Partition;
use queue::reader::EntryId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// With work at hand and nothing committed for this long, the worker is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Kept over a lost connection: whoever cannot reach the database does not get on either.
pub struct Progress {
    stuck_after: Duration,
    partitions: Mutex<BTreeMap<Partition, Stand>>,
}

struct Stand {
    /// The last entry applied.
    position: EntryId,
    /// Since when there has been work at hand and no commit.
    busy_since: Option<Instant>,
}

impl Progress {
    pub fn new(stuck_after: Duration) -> Progress {
        Progress { stuck_after, partitions: Mutex::default() }
    }

    /// The partition is ours. Work that was at hand before still is, as far as we know.
    pub fn holds(&self, partition: Partition, position: EntryId) {
        self.stands().entry(partition).or_insert(Stand { position, busy_since: None }).position = position;
    }

    /// All others are somebody else's now, with what is to be done in them.
    pub fn keeps(&self, partitions: impl Fn(Partition) -> bool) {
        self.stands().retain(|partition, _| partitions(*partition));
    }

    /// There are entries to apply.
    pub fn found(&self, partition: Partition, now: Instant) {
        if let Some(stand) = self.stands().get_mut(&partition) {
            stand.busy_since.get_or_insert(now);
        }
    }

    /// A transaction was committed; there may be more to apply.
    pub fn applied(&self, partition: Partition, position: EntryId, now: Instant) {
        if let Some(stand) = self.stands().get_mut(&partition) {
            stand.position = position;
            stand.busy_since = stand.busy_since.map(|_| now);
        }
    }

    /// There is nothing to apply.
    pub fn idle(&self, partition: Partition) {
        if let Some(stand) = self.stands().get_mut(&partition) {
            stand.busy_since = None;
        }
    }

    /// Each partition held, with its position.
    pub fn positions(&self) -> Vec<(Partition, EntryId)> {
        self.stands().iter().map(|(partition, stand)| (*partition, stand.position)).collect()
    }

    /// Liveness: fails only when there is work and nothing was committed for so long.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let stuck =
            |s: &Stand| s.busy_since.is_some_and(|since| now.duration_since(since) >= self.stuck_after);
        match self.stands().values().any(stuck) {
            true => {
                let seconds = self.stuck_after.as_secs();
                Err(format!("no transaction committed for {seconds} s with work at hand"))
            }
            false => Ok(()),
        }
    }

    fn stands(&self) -> MutexGuard<'_, BTreeMap<Partition, Stand>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
