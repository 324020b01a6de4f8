//! Where events become durable truth: the apply transaction, and the reads that answer from what it kept.
//!
//! The part of one event's journey told here: the worker opens a transaction that moves its partition's position
//! ([`apply::ApplyStore::begin`]), learns which conversions are new ([`apply::ApplyStore::record`]), folds, and
//! hands the result over ([`apply::ApplyStore::write`]) and commits. From then on the analyzer
//! reads it through [`Store`].
//!
//! SQL lives in `.sql` files beside the code of its adapter, the schema in `migrations/`.

mod abandoned;
pub mod apply;
mod books;
mod error;
mod location;
mod migration;
mod model;
pub mod moving;
mod numbers;
mod port;
pub mod postgres;
mod retention;
mod snapshot;
pub mod sqlite;
mod step;
mod webhooks;

pub use abandoned::{Abandonable, abandonable};
pub use books::{Accounts, Book, Books, LOSSES_MAX, RECORDED, Sent, UNUSED_METRIC};
pub use error::{ErrorKind, StoreError};
pub use location::{Location, connect, connect_to_write, examine, keeps_sessions, open};
pub use migration::Migration;
pub use model::*;
pub use port::{
    Answers, ApiKeys, Audits, DeadLetters, Erasures, Experiments, RawRows, Retention, Store, Upkeep, View,
    Views,
};
pub use retention::{Kept, Purge, PurgeCounts, PurgeOf};
pub use snapshot::{Asked, Rows, Snapshot, UserRows};
pub use webhooks::{
    Attempt, Claimed, Delivery, DeliveryState, Mark, NewWebhook, Note, Then, Told, WAITING_MAX, WEBHOOKS_MAX,
    Waiting, Webhook, Webhooks,
};
