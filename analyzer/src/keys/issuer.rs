//! Keeping what all tiers know of issued keys equal to the database.
//!
//! A change is committed first, then projected, as with experiments ([`crate::catalogue`]): what could not be is
//! repaired within seconds of Redis being back, and every 30 s it is looked anyway. This analyzer takes the keys from
//! the database each time, so it knows of a revocation even while Redis is away.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use queue::QueueError;
use queue::keys::{IssuedKey, IssuedKeys};
use service::auth::Keys;
use service::logs::causes;
use service::metrics::Metrics;
use store::{ApiKey, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How soon it is seen that Redis was emptied.
const GONE_EVERY: Duration = Duration::from_secs(1);
/// Editions of others that one change gives way to; each of them is somebody's success.
const ATTEMPTS: u32 = 20;

pub struct Issuer {
    store: Arc<dyn Store>,
    projection: Box<dyn IssuedKeys>,
    keys: Arc<Keys>,
    wake: Notify,
    failed: IntCounter,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("others kept writing the issued keys")]
    Outrun,
}

impl Issuer {
    pub fn new(
        store: Arc<dyn Store>,
        projection: Box<dyn IssuedKeys>,
        keys: Arc<Keys>,
        metrics: &Metrics,
    ) -> Result<Issuer, prometheus::Error> {
        let failed = metrics.counter(
            "abstream_issued_keys_not_written_total",
            "Times the issued keys could not be projected to the gateways; they are tried again",
        )?;
        Ok(Issuer { store, projection, keys, wake: Notify::new(), failed })
    }

    /// Returns when every tier can know the keys as the database has them now.
    pub async fn publish(&self) -> Result<(), PublishError> {
        for _ in 0..ATTEMPTS {
            // Before the database is read, so that no later change is undone.
            let projected = self.projection.read().await;
            let stored: Vec<IssuedKey> = self.store.keys_in_force().await?.into_iter().map(issued).collect();
            self.keys.set_issued(&stored);
            let projected = projected?;
            if projected.as_ref().is_some_and(|edition| edition.keys == stored) {
                return Ok(());
            }
            let seen = projected.as_ref().map(|edition| edition.version.as_str());
            if self.projection.write(seen, &stored).await? {
                return Ok(());
            }
        }
        Err(PublishError::Outrun)
    }

    pub fn not_written(&self, error: &PublishError) {
        tracing::warn!(error = causes(error), "the issued keys were not projected; trying again");
        self.failed.inc();
        self.wake.notify_one();
    }

    /// Until `stop`.
    pub async fn keep_published(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
                () = self.gone() => {}
                () = stop.cancelled() => return,
            }
            pause = match self.publish().await {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(
                        error = causes(&error),
                        "the issued keys could not be compared; trying again"
                    );
                    self.failed.inc();
                    RETRY_AFTER
                }
            };
        }
    }

    /// Returns when there is no edition. While nobody can say it does not.
    async fn gone(&self) {
        loop {
            sleep(GONE_EVERY).await;
            if self.projection.version().await.is_ok_and(|version| version.is_none()) {
                return;
            }
        }
    }
}

fn issued(key: ApiKey) -> IssuedKey {
    let digest = base16ct::lower::encode_string(&key.digest);
    IssuedKey { id: key.id, tenant: key.tenant, name: key.name, digest, scopes: key.scopes }
}
