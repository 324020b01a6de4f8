//! The store and the queue that the settings name: found, opened, checked, and watched by readiness. One place for
//! worker, analyzer, `abctl up` and tools; the gateway has no database and opens its queue itself.
//!
//! Whatever an operator has to mend is a [`Refusal`] that names the variable.

mod books;
mod database;
mod streams;

pub use books::{BooksError, around, books};
pub use database::{
    DATABASE_FILE, OpenError, connect_store, migrate, reach_store, reach_store_to_write, schema,
    watch_database,
};
pub use streams::open_queue;

use queue::Queue;
use service::settings::{Refusal, Settings};
use std::sync::Arc;
use store::{Kept, Store};

/// Both, fit for use, as a server needs them; `pool_size` database connections at most, besides those that apply.
pub async fn open(
    settings: &Settings,
    pool_size: usize,
) -> Result<(Arc<dyn Store>, Arc<dyn Queue>), Refusal> {
    let queue = open_queue(settings, settings.partitions()?)?;
    let store = database::open_store(settings, pool_size).await?;
    streams::check_queue(settings, &*queue).await?;
    Ok((store, queue))
}

/// How long the settings say that things are kept.
pub fn kept(settings: &Settings) -> Kept {
    Kept {
        conversions: settings.retention.conversions_days,
        dead_letters: settings.retention.dead_letters_days,
        audit: settings.retention.audit_days,
    }
}

/// Everything that [`open`] refuses, with nothing changed: no schema is migrated, no partition count recorded.
pub async fn examine(settings: &Settings) -> Result<(), Refusal> {
    let queue = open_queue(settings, settings.partitions()?)?;
    database::examine_store(settings).await?;
    streams::check_queue(settings, &*queue).await
}
