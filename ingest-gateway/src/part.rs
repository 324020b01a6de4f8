//! The gateway as a part of a process: the whole of it in this tier, one of three in `abctl up`.

use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use service::boot::{Boot, BootError};
use service::health::Health;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::gateway::Gateway;
use crate::limits::Limits;
use crate::startup;
use crate::stats::Stats;

/// What the writers get to end in, once no request waits for them any more.
const WRITERS_END: Duration = Duration::from_secs(2);

/// For the catalogue to be looked at. A check that takes longer than its own limit would be one that fails, and
/// take every gateway away while Redis is silent.
const LOOK: Duration = Duration::from_secs(1);

pub struct Part {
    gateway: Arc<Gateway>,
    _watch: AbortOnDropHandle<()>,
}

impl Part {
    pub async fn start(boot: &Boot, queue: Arc<dyn Queue>) -> Result<Part, BootError> {
        let gateway = Arc::new(build(boot, &*queue)?);
        startup::check_partitions(&boot.settings, &*gateway.catalogue).await?;
        let issued = queue.issued_keys();
        service::auth::follow(&boot.keys, issued, &boot.metrics, boot.shutdown.token())
            .map_err(|error| BootError::failed("register metrics", error))?;
        let watch = AbortOnDropHandle::new(tokio::spawn(startup::watch(Arc::clone(&gateway), queue)));
        Ok(Part { gateway, _watch: watch })
    }

    pub fn app(&self) -> Arc<Gateway> {
        Arc::clone(&self.gateway)
    }

    /// Ready means "can answer": a gateway whose Redis blinks answers 503 with `Retry-After` itself, which tells
    /// clients more than a balancer without backends.
    pub fn checks(&self, health: Health) -> Health {
        let (queue, catalogue) = (self.app(), self.app());
        health
            .check("queue", move || {
                let backlog = queue.producer.backlog();
                std::future::ready(Ok(match backlog.reachable {
                    true => format!("backlog of {} events", backlog.events),
                    false => "not reachable: requests are answered 503".to_owned(),
                }))
            })
            .check("catalogue", move || {
                let gateway = Arc::clone(&catalogue);
                async move {
                    Ok(match timeout(LOOK, gateway.catalogue.check()).await {
                        Ok(Ok(())) => "complete".to_owned(),
                        Ok(Err(error)) => format!("{error}: requests are answered 503"),
                        Err(_) => "no answer: requests are answered 503".to_owned(),
                    })
                }
            })
    }

    /// Once no request is open any more.
    pub async fn end(self) {
        if !self.gateway.producer.drain(Instant::now() + WRITERS_END).await {
            tracing::warn!(
                "ended with frames whose writing was not confirmed; their requests were not acknowledged"
            );
        }
    }
}

fn build(boot: &Boot, queue: &dyn Queue) -> Result<Gateway, BootError> {
    let settings = &*boot.settings;
    Ok(Gateway {
        rules: settings.ingest.clone(),
        partitions: settings.partitions()?,
        backlog_limit: settings.queue.max_events,
        producer: queue.producer(),
        receipts: queue.receipts(),
        catalogue: queue.catalogue(settings.ingest.max_loaded),
        settles_on_commit: queue.settles_on_commit(),
        budgets: settings.http.budgets.clone(),
        limits: Limits { rates: settings.ingest.rates.clone(), limiter: queue.limiter() },
        stats: Stats::new(&boot.metrics).map_err(|error| BootError::failed("register metrics", error))?,
        draining: boot.shutdown.token(),
    })
}
