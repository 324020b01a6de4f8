use super::Keys;
use prometheus::IntGauge;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the keys file is read. It is small, and comparing content also sees the swapped links of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(1);

/// A file of keys ([`Keys::files`]), taken over whenever it changes: when two looks in a row find the same. A file that
/// is being written in place may look like a whole one with fewer keys.
#[derive(Debug)]
pub struct KeysFile {
    keys: Arc<Keys>,
    path: PathBuf,
    /// Content last acted upon, so that a refused file is logged once.
    last: Option<String>,
    /// Other content, found by the last look.
    fresh: Option<String>,
    /// Files that are not in force as they are now.
    refused: IntGauge,
    is_refused: bool,
}

/// What a look at the file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What is known already.
    Same,
    /// Other content, which the next look has to find again.
    Fresh,
    /// Other keys, in force now.
    Taken,
    /// What cannot be in force; told once, and [`Look::Same`] from then on.
    Refused,
}

impl KeysFile {
    /// `refused` counts the files whose content is not in force.
    pub fn new(keys: Arc<Keys>, path: PathBuf, refused: IntGauge) -> Self {
        Self { keys, path, last: None, fresh: None, refused, is_refused: false }
    }

    /// Looks at the file every second until `stop`.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look().await;
        }
    }

    /// A file that cannot be read or parsed leaves the keys as they are.
    pub async fn look(&mut self) -> Look {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read.map_err(std::io::Error::other).flatten() {
            Ok(text) => text,
            Err(error) => {
                (self.last, self.fresh) = (None, None);
                if self.is_refused {
                    return Look::Same;
                }
                self.say(true);
                tracing::warn!(path = %self.path.display(), %error, "keys file cannot be read, keys stay as they are");
                return Look::Refused;
            }
        };
        if self.last.as_ref() == Some(&text) {
            self.fresh = None;
            return Look::Same;
        }
        if self.fresh.as_ref() != Some(&text) {
            self.fresh = Some(text);
            return Look::Fresh;
        }
        self.fresh = None;
        let replaced = self.keys.replace(&self.path, &text);
        self.say(replaced.is_err());
        let look = match replaced {
            Ok(true) => {
                tracing::info!(keys = self.keys.len(), "keys file taken over");
                Look::Taken
            }
            Ok(false) => Look::Same,
            Err(refusal) => {
                tracing::warn!(path = %self.path.display(), %refusal, "keys file refused, keys stay as they are");
                Look::Refused
            }
        };
        self.last = Some(text);
        look
    }

    fn say(&mut self, is_refused: bool) {
        if self.is_refused != is_refused {
            self.refused.add(if is_refused { 1 } else { -1 });
            self.is_refused = is_refused;
        }
    }
}
