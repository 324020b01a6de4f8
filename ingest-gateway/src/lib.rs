//! The ingest gateway: events over HTTP in, durable frames in the queue out. It has no database.
//!
//! **The part of one event's journey told here.** A request arrives at a route of ours or at one that an SDK of
//! somebody else's knows ([`routes`], [`gateway`]). Is there room, and what does the client ask for ([`options`])? Its
//! body is taken apart ([`body`], [`sdks`]) into the same items, whoever sent it; each item is judged by the clock ([`clock`]) and by its experiment in the catalogue ([`judge`]): unknown, archived,
//! draft, no such variation. What is left becomes one frame per partition ([`frames`]), keyless conversions named
//! by batch id and index. The frames go to the queue's ordered writers, and the client is told ([`answer`]) when
//! every one of them is fsynced: 202, or, when it asked to wait, 200 with the totals of the commit.
//!
//! Whatever is in doubt (no queue, no room, no catalogue, no answer in time) is 503 with `Retry-After`: an event
//! is never called accepted before it is durable, and never unknown because we could not look. Every mistake of
//! a client has a stable code ([`codes`]).

pub mod answer;
pub mod body;
pub mod clock;
pub mod codes;
pub mod frames;
pub mod gateway;
pub mod judge;
pub mod options;
pub mod routes;
pub mod sdks;
mod startup;
mod stats;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use queue::Queue;
use queue::redis::RedisQueue;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::settings::{Refusal, Settings};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use gateway::Gateway;
use stats::Stats;

/// What the writers get to end in, once no request waits for them any more.
const WRITERS_END: Duration = Duration::from_secs(2);

/// The tier as a process: binds its ports and serves until told to end.
pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    let queue = open_queue(&boot.settings)?;
    serve(boot, listeners, queue).await
}

/// The tier on ports that are already bound, until `boot.shutdown` begins and open requests have ended.
pub async fn serve(boot: Boot, listeners: Listeners, queue: Arc<dyn Queue>) -> Result<(), BootError> {
    startup::check_queue(&boot.settings, &*queue).await?;
    let gateway = Arc::new(build(&boot, &*queue)?);
    startup::check_partitions(&boot.settings, &gateway).await?;
    let watch = AbortOnDropHandle::new(tokio::spawn(startup::watch(Arc::clone(&gateway), queue)));
    let health = health(&boot, &gateway);
    let served = listeners.serve(&boot, Arc::clone(&gateway), health).await;
    if !gateway.producer.drain(Instant::now() + WRITERS_END).await {
        tracing::warn!(
            "ended with frames whose writing was not confirmed; their requests were not acknowledged"
        );
    }
    drop(watch);
    served
}

fn open_queue(settings: &Settings) -> Result<Arc<dyn Queue>, Refusal> {
    let url = settings.redis_url()?.expose();
    let queue = RedisQueue::new(url, settings.queue.partitions, settings.queue.replicas);
    Ok(Arc::new(queue.map_err(|error| startup::refuse_redis(&error))?))
}

fn build(boot: &Boot, queue: &dyn Queue) -> Result<Gateway, BootError> {
    let settings = &*boot.settings;
    Ok(Gateway {
        rules: settings.ingest.clone(),
        partitions: settings.queue.partitions,
        backlog_limit: settings.queue.max_events,
        producer: queue.producer(),
        receipts: queue.receipts(),
        catalogue: queue.catalogue(settings.ingest.max_loaded),
        stats: Stats::new(&boot.metrics).map_err(|error| BootError::failed("register metrics", error))?,
        draining: boot.shutdown.token(),
    })
}

/// Ready means "can answer": a gateway whose Redis blinks answers 503 with `Retry-After` itself, which tells
/// clients more than a balancer without backends.
fn health(boot: &Boot, gateway: &Arc<Gateway>) -> Health {
    let (queue, catalogue) = (Arc::clone(gateway), Arc::clone(gateway));
    Health::new(&boot.settings)
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
                Ok(match gateway.catalogue.check().await {
                    Ok(()) => "complete".to_owned(),
                    Err(error) => format!("{error}: requests are answered 503"),
                })
            }
        })
}

/// The program: settings from environment, flags and file, then [`run`].
pub fn main() -> std::process::ExitCode {
    service::boot::run(service::settings::Tier::Gateway, run)
}
