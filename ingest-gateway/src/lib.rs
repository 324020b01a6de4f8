//! The ingest gateway: events over HTTP in, durable frames in the queue out. It has no database.
//!
//! **The part of one event's journey told here.** A request arrives at a route of ours or at one that an SDK of
//! somebody else's knows ([`routes`], [`gateway`]). Is there room, and what does the client ask for ([`options`])? Its
//! body is taken apart ([`body`], [`sdks`]) into the same items, whoever sent it; each item is judged by the clock ([`clock`]) and by its experiment in the catalogue ([`judge`]): unknown, archived,
//! draft, no such variation. What is left becomes one frame per partition ([`frames`]), keyless conversions named
//! by batch id and index. The frames go to the queue's ordered writers, and the client is told ([`answer`]) when
//! every one of them is fsynced: 202, or, when it asked to wait, 200 with the totals of the commit. A queue that
//! settles on commit acknowledges nothing earlier, so there every answer is of the commit.
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
mod limits;
mod lookup;
pub mod options;
mod part;
pub mod routes;
pub mod sdks;
mod startup;
mod stats;
mod tally;

use std::sync::Arc;

use queue::Queue;
use queue::redis::RedisQueue;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::settings::{Refusal, Settings};

pub use part::Part;

/// The tier as a process: binds its ports and serves until told to end.
pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    let queue = open_queue(&boot.settings)?;
    serve(boot, listeners, queue).await
}

/// The tier on ports that are already bound, until `boot.shutdown` begins and open requests have ended.
pub async fn serve(boot: Boot, listeners: Listeners, queue: Arc<dyn Queue>) -> Result<(), BootError> {
    startup::check_queue(&boot.settings, &*queue).await?;
    let part = Part::start(&boot, queue).await?;
    let served = listeners.serve(&boot, part.app(), part.checks(Health::new(&boot.settings))).await;
    part.end().await;
    served
}

fn open_queue(settings: &Settings) -> Result<Arc<dyn Queue>, Refusal> {
    let url = settings.redis_url()?.expose();
    let queue = RedisQueue::new(url, settings.partitions()?, settings.queue.replicas);
    Ok(Arc::new(queue.map_err(|error| startup::refuse_redis(&error))?))
}

/// The program: settings from environment, flags and file, then [`run`].
pub fn main() -> std::process::ExitCode {
    service::boot::run(service::settings::Tier::Gateway, startup::check, run)
}
