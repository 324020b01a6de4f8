//! The owner's side. It never meets another stream than the one it began with, so there is no anchor to lose.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Partition;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::stream::Streams;
use crate::QueueError;
use crate::reader::{BLOCK_MAX, EntryId, Read, Reader};

pub(super) struct LocalReader {
    streams: Arc<Streams>,
    partition: Partition,
    position: EntryId,
    arrived: Arc<Notify>,
}

impl LocalReader {
    pub(super) fn new(streams: Arc<Streams>, partition: Partition, from: EntryId) -> LocalReader {
        streams.stand_at(partition, from);
        let arrived = streams.arrived(partition);
        LocalReader { streams, partition, position: from, arrived }
    }

    fn read(&mut self, max: usize) -> Read {
        let entries = self.streams.read(self.partition, self.position, max);
        let Some(last) = entries.last() else { return Read::Idle };
        self.position = last.id;
        Read::Entries(entries)
    }
}

#[async_trait]
impl Reader for LocalReader {
    fn position(&self) -> EntryId {
        self.position
    }

    fn seek(&mut self, position: EntryId) {
        self.streams.stand_at(self.partition, position);
        self.position = position;
    }

    async fn next(&mut self, max: usize, wait: Duration) -> Result<Read, QueueError> {
        // Listens before it looks, so that nothing arrives in between unnoticed.
        let arrived = Arc::clone(&self.arrived);
        let arrived = arrived.notified();
        let read = self.read(max);
        if read != Read::Idle || wait.is_zero() {
            return Ok(read);
        }
        // Woken or not, a look tells.
        let _ = timeout(wait.min(BLOCK_MAX), arrived).await;
        Ok(self.read(max))
    }
}
