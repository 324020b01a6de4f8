//! The orderly end: the first SIGTERM or SIGINT drains, the second aborts.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Two stages of ending, handed to whatever has to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
    began: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// Ends by [`Shutdown::begin`] only.
    pub fn manual() -> Self {
        Self::default()
    }

    /// Ends by SIGTERM and SIGINT too. Needs a runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stages = shutdown.clone();
        tokio::spawn(async move {
            for stage in [Self::begin, Self::abort] {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = interrupt.recv() => {}
                }
                stage(&stages);
            }
        });
        Ok(shutdown)
    }

    /// Cancelled when draining begins: take no new work, finish what was begun.
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Cancelled when waiting is over: give up what was begun. All of it is safe to give up.
    pub fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    pub fn begin(&self) {
        self.began.get_or_init(Instant::now);
        self.drain.cancel();
    }

    pub fn abort(&self) {
        self.begin();
        self.abort.cancel();
    }

    /// Of a drain that may take `limit`.
    pub fn left(&self, limit: Duration) -> Duration {
        self.began.get().map_or(limit, |began| limit.saturating_sub(began.elapsed()))
    }

    /// Resolves when draining begins.
    pub async fn begun(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when waiting is over.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
