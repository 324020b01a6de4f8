use queue::local::LocalQueue;
use queue::redis::RedisQueue;
use queue::{Queue, QueueError};
use service::logs::causes;
use service::settings::{Refusal, Settings};
use std::sync::Arc;

/// Without Redis, `abctl up` has the queue in its process. A tool that looks at that one's database has an empty one:
/// what was in the process's was not acknowledged and is nowhere else.
pub fn open_queue(settings: &Settings, partitions: u16) -> Result<Arc<dyn Queue>, Refusal> {
    if settings.queue.redis_url.is_none() && settings.data.is_some() {
        return Ok(Arc::new(LocalQueue::new(partitions)));
    }
    let url = settings.redis_url()?.expose();
    let queue = RedisQueue::new(url, partitions, settings.queue.replicas);
    Ok(Arc::new(queue.map_err(|error| refusal(&error))?))
}

/// Production refuses a queue that cannot be reached or may lose what it acknowledged; elsewhere it is said.
pub async fn check_queue(settings: &Settings, queue: &dyn Queue) -> Result<(), Refusal> {
    let weaknesses = queue.weaknesses(settings.lifecycle.startup_timeout).await;
    for weakness in weaknesses.map_err(|error| refusal(&error))? {
        if settings.is_production() && !settings.queue.allow_weak_durability {
            let reason = format!("{weakness} (AB_ALLOW_WEAK_DURABILITY=true starts all the same)");
            return Err(Refusal::new("AB_REDIS_URL", reason));
        }
        tracing::warn!(%weakness, "the queue may lose what it acknowledged");
    }
    Ok(())
}

fn refusal(error: &QueueError) -> Refusal {
    Refusal::new("AB_REDIS_URL", causes(error))
}
