use super::Keys;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the keys file is read. It is small, and comparing content also sees the swapped links of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Takes over the content of `path` whenever it changes, until `stop`. A file that cannot be read or parsed leaves the
/// keys as they are and is logged once per content.
pub async fn watch_file(keys: Arc<Keys>, path: PathBuf, interval: Option<Duration>, stop: CancellationToken) {
    let mut last = read(&path).await.ok();
    let mut ticks = tokio::time::interval(interval.unwrap_or(INTERVAL));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let text = match read(&path).await {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "keys file cannot be read, keys stay as they are");
                continue;
            }
        };
        if last.as_ref() == Some(&text) {
            continue;
        }
        match keys.replace(&text) {
            Ok(()) => tracing::info!(keys = keys.len(), "keys file taken over"),
            Err(refusal) => tracing::warn!(%refusal, "keys file refused, keys stay as they are"),
        }
        last = Some(text);
    }
}

async fn read(path: &std::path::Path) -> std::io::Result<String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await.map_err(std::io::Error::other)?
}
