//! Keys that admins issue, as the analyzer projects them ([`queue::keys`]): all of them in memory, replaced when
//! there is another edition.
//!
//! While Redis is away the keys known stay in force, and whoever brings one that is not known is told to come back:
//! "unknown" is only said of a key that was looked for.

use super::keys::Table;
use super::{Digest, Keys, Principal, Scopes};
use crate::logs::causes;
use crate::metrics::Metrics;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prometheus::{IntCounter, IntGauge};
use queue::QueueError;
use queue::keys::{Edition, IssuedKey, IssuedKeys};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// By which an issued key is told from any other text.
const PREFIX: &str = "abk_";
/// Of the random part, as base64.
const RANDOM_BYTES: usize = 32;
const LENGTH: usize = PREFIX.len() + (RANDOM_BYTES * 4).div_ceil(3);
/// How long a change may stay unnoticed when its message is lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether a key that is not known has been issued cannot be said at the moment.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotKnown {
    #[error("no analyzer has written the issued keys yet")]
    Incomplete,
    #[error("the issued keys cannot be read")]
    Unreachable(#[source] Arc<QueueError>),
}

impl From<QueueError> for NotKnown {
    fn from(error: QueueError) -> Self {
        Self::Unreachable(Arc::new(error))
    }
}

/// The prefix says what was found to those who find it, scanners of repositories among them.
pub fn random_key(prefix: &str) -> Result<String, getrandom::Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// A key to be issued. It is shown once; only its digest is kept.
pub struct NewSecret(String);

impl NewSecret {
    pub fn random() -> Result<Self, getrandom::Error> {
        random_key(PREFIX).map(Self)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// By which people recognise it.
    pub fn last_digits(&self) -> &str {
        self.0.get(LENGTH - 4..).unwrap_or_default()
    }
}

pub(super) fn is_issued(key: &str) -> bool {
    key.len() == LENGTH && key.starts_with(PREFIX)
}

/// Where the issued keys of a process come from.
pub(super) struct Issued {
    source: Box<dyn IssuedKeys>,
    known: Mutex<Known>,
    count: IntGauge,
    failures: IntCounter,
}

#[derive(Default)]
struct Known {
    version: Option<String>,
    /// When the last look began, and how it went.
    looked: Option<(Instant, Result<(), NotKnown>)>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued")
    }
}

impl Issued {
    /// How a look for another edition went that began after the call; those who wait share one.
    pub(super) async fn catch_up(&self, keys: &Keys) -> Result<(), NotKnown> {
        let called = Instant::now();
        let mut known = self.known.lock().await;
        if let Some((_, outcome)) = known.looked.as_ref().filter(|(began, _)| *began >= called) {
            return outcome.clone();
        }
        let began = Instant::now();
        let outcome = self.look(keys, &mut known.version).await;
        known.looked = Some((began, outcome.clone()));
        outcome
    }

    async fn look(&self, keys: &Keys, known: &mut Option<String>) -> Result<(), NotKnown> {
        let version = self.source.version().await?.ok_or(NotKnown::Incomplete)?;
        if known.as_ref() != Some(&version) {
            let Edition { version, keys: issued } = self.source.read().await?.ok_or(NotKnown::Incomplete)?;
            self.count.set(i64::try_from(issued.len()).unwrap_or(i64::MAX));
            keys.set_issued(&issued);
            *known = Some(version);
        }
        Ok(())
    }
}

/// Has the issued keys of `source` count from now on, until `stop`. The first one to call for these keys does it: the
/// tiers of one process share them.
pub fn follow(
    keys: &Arc<Keys>,
    source: Box<dyn IssuedKeys>,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<(), prometheus::Error> {
    if keys.source.get().is_some() {
        return Ok(());
    }
    let issued = Issued {
        source,
        known: Mutex::default(),
        count: metrics.gauge("abstream_issued_keys", "Issued keys in force, as this process knows them")?,
        failures: metrics.counter(
            "abstream_issued_keys_failures_total",
            "Looks at the issued keys that failed; those known before stay in force",
        )?,
    };
    if keys.source.set(issued).is_ok() {
        let keys = Arc::clone(keys);
        tokio::spawn(async move { stop.run_until_cancelled(keep_up(&keys)).await });
    }
    Ok(())
}

async fn keep_up(keys: &Keys) {
    let Some(issued) = keys.source.get() else { return };
    let mut failing = false;
    loop {
        let pause = match issued.catch_up(keys).await {
            Ok(()) => {
                failing = false;
                LOOK_EVERY
            }
            Err(error) => {
                issued.failures.inc();
                match &error {
                    _ if failing => {}
                    // A gateway that starts before the first analyzer.
                    NotKnown::Incomplete => tracing::info!("issued keys are not known yet"),
                    NotKnown::Unreachable(_) => {
                        let error = causes(&error);
                        tracing::warn!(error, "issued keys cannot be read; those known before stay in force");
                    }
                }
                failing = true;
                RETRY_AFTER
            }
        };
        // Heard or not, the next look tells; being told only makes it sooner.
        let _ = tokio::time::timeout(pause, issued.source.changed()).await;
    }
}

pub(super) fn table_of(issued: &[IssuedKey]) -> Table {
    let known = issued.iter().filter_map(|key| {
        let digest = Digest::parse(&key.digest)?;
        // Of a later release: a key that may less than it should is better than none, or one that may more.
        let scopes = key.scopes.split(',').filter_map(Scopes::parse).fold(Scopes::NONE, Scopes::union);
        let scopes = scopes.within(Scopes::ISSUABLE);
        let name = Arc::from(format!("key {} ({})", key.id, key.name));
        Some((digest, Arc::new(Principal { tenant: Arc::from(key.tenant.as_str()), scopes, name })))
    });
    known.collect()
}
