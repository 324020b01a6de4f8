//! Issued keys in memory: what the analyzer writes is what everybody reads.

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use crate::QueueError;
use crate::keys::{Edition, IssuedKey, IssuedKeys};

pub(super) type Editions = watch::Sender<Option<Edition>>;

pub(super) struct LocalKeys {
    editions: Editions,
    changes: Mutex<watch::Receiver<Option<Edition>>>,
}

impl LocalKeys {
    pub(super) fn new(editions: &Editions) -> LocalKeys {
        LocalKeys { changes: Mutex::new(editions.subscribe()), editions: editions.clone() }
    }
}

#[async_trait]
impl IssuedKeys for LocalKeys {
    async fn version(&self) -> Result<Option<String>, QueueError> {
        Ok(self.editions.borrow().as_ref().map(|edition| edition.version.clone()))
    }

    async fn read(&self) -> Result<Option<Edition>, QueueError> {
        Ok(self.editions.borrow().clone())
    }

    async fn write(&self, seen: Option<&str>, keys: &[IssuedKey]) -> Result<bool, QueueError> {
        Ok(self.editions.send_if_modified(|current| {
            if current.as_ref().map(|edition| edition.version.as_str()) != seen {
                return false;
            }
            let number: u64 = seen.and_then(|version| version.parse().ok()).unwrap_or(0);
            *current = Some(Edition { version: (number + 1).to_string(), keys: keys.to_vec() });
            true
        }))
    }

    async fn changed(&self) {
        if self.changes.lock().await.changed().await.is_err() {
            // Nobody can write any more.
            std::future::pending::<()>().await;
        }
    }
}
