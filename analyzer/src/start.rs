//! Start-up: refuse what cannot work, serve until told to stop.

use service::boot::{Boot, BootError, Listeners};
use service::health::Health;

use crate::part::Part;

/// Runs on the configured ports.
pub async fn run(boot: Boot) -> Result<(), BootError> {
    let listeners = boot.listen().await?;
    serve(boot, listeners).await
}

/// Runs on `listeners` until the boot's shutdown begins, then drains.
pub async fn serve(boot: Boot, listeners: Listeners) -> Result<(), BootError> {
    let settings = &boot.settings;
    let built = async {
        let (store, queue) = backends::open(settings, settings.database.pool_size).await?;
        let health = backends::watch_database(Health::new(settings), store.clone(), settings.partitions()?);
        Ok::<_, BootError>((Part::start(&boot, store, queue).await?, health))
    };
    // Told to stop before there is anything to drain, it ends at once.
    let Some(built) = boot.shutdown.token().run_until_cancelled(built).await else { return Ok(()) };
    let (part, health) = built?;
    listeners.serve(&boot, part.app(), health).await?;
    part.end().await
}
