//! Start-up: refuse what cannot work, then run the lanes until told to stop.

use crate::lane::Ownership;
use crate::lanes::Lanes;
use service::boot::{Boot, BootError, Listeners};
use service::health::Health;
use service::http::NoRoutes;
use std::sync::Arc;

/// For readiness probes and start checks; the lanes have connections of their own.
const PROBE_CONNECTIONS: usize = 2;

pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    serve(boot, listeners, Ownership::Lock).await
}

/// Runs until the boot's shutdown begins; the transactions under way are finished.
pub async fn serve(boot: Boot, listeners: Listeners, ownership: Ownership) -> Result<(), BootError> {
    let (settings, stop) = (&boot.settings, boot.shutdown.token());
    let opened = stop.run_until_cancelled(backends::open(settings, PROBE_CONNECTIONS)).await;
    let Some(opened) = opened else { return Ok(()) };
    let (store, queue) = opened?;
    let lanes = Lanes::start(&boot, &store, &queue, ownership, stop.clone())?;
    let health = backends::watch_database(Health::new(settings), store, settings.partitions()?);
    listeners.serve(&boot, Arc::new(NoRoutes), lanes.checks(health)).await?;
    lanes.ended().await
}
