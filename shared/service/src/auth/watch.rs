use super::Keys;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the keys file is read. It is small, and comparing content also sees the swapped links of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(5);

/// A file of keys ([`Keys::files`]), taken over whenever it changes.
#[derive(Debug)]
pub struct KeysFile {
    keys: Arc<Keys>,
    path: PathBuf,
    /// Content last looked at, so that a refused file is logged once.
    last: Option<String>,
}

impl KeysFile {
    pub fn new(keys: Arc<Keys>, path: PathBuf) -> Self {
        Self { keys, path, last: None }
    }

    /// Looks at the file every five seconds until `stop`.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look().await;
        }
    }

    /// True when the keys are others now. A file that cannot be read or parsed leaves them as they are.
    pub async fn look(&mut self) -> bool {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read.map_err(std::io::Error::other).flatten() {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "keys file cannot be read, keys stay as they are");
                return false;
            }
        };
        if self.last.as_ref() == Some(&text) {
            return false;
        }
        let changed = match self.keys.replace(&self.path, &text) {
            Ok(changed) => changed,
            Err(refusal) => {
                tracing::warn!(%refusal, "keys file refused, keys stay as they are");
                false
            }
        };
        if changed {
            tracing::info!(keys = self.keys.len(), "keys file taken over");
        }
        self.last = Some(text);
        changed
    }
}
