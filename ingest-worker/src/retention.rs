//! Retention by itself: once a day a purge is asked for, which the owners of the partitions carry out.

use crate::source;
use std::sync::Arc;
use std::time::Duration;
use store::{Actor, Kept, Store};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A day that has begun is found out within this.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Asks until `stop`; every worker does, and the first of a day is heard.
pub async fn run(store: Arc<dyn Store>, kept: Kept, partitions: u16, stop: CancellationToken) {
    if kept.is_everything() {
        return;
    }
    let mut backoff = source::backoff();
    while !stop.is_cancelled() {
        let request_id = Uuid::new_v4().to_string();
        let actor = Actor { name: "retention", request_id: &request_id };
        match store.purge_when_due(kept, partitions, actor).await {
            Ok(asked) => {
                if asked {
                    tracing::info!(%request_id, "what is older than it is kept is being purged");
                }
                backoff.reset();
                stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "no purge could be asked for; trying again");
                source::pause(&mut backoff, &stop).await;
            }
        }
    }
}
