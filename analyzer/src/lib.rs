//! The analyzer: where experiments are defined, and where "which variation wins?" is answered.
//!
//! The last part of one event's journey: its contribution is in the last moments rows of its arm. [`live_stats`] adds
//! those rows up and [`stats`] turns the exact sums into effects, intervals and p-values; nothing reads raw rows, so
//! an answer costs the same at a thousand events and at a billion. [`ingestion`], [`batches`] and [`accounting`] tell
//! what became of events, and [`users`] what became of one user's; [`dead_letters`] sends again what could not be
//! applied. [`assign`] says which variation a user is to see. [`experiments`] creates and moves experiments, and
//! [`catalogue`] tells the gateways; [`keys`] issues keys, and [`audit`] says who changed what; [`watch`] shows the books of the deployment as metrics.
//!
//! [`routes`] says which path is whose; [`start`] refuses what cannot work, then serves until told to stop.

mod accounting;
mod answer;
mod app;
mod assign;
mod audit;
mod batches;
pub mod calculators;
mod catalogue;
mod clock;
mod dead_letters;
pub mod decision;
mod diagnostics;
mod erase;
mod experiments;
mod export;
mod ingestion;
mod keys;
pub mod known;
pub mod live_stats;
pub mod metric;
mod page;
mod paging;
mod part;
mod purge;
pub mod quality;
mod routes;
pub mod sample_ratio;
mod start;
pub mod stats;
pub mod strata;
mod stream;
pub mod timeseries;
mod users;
pub mod watch;
pub mod webhooks;
pub mod workspace;

pub use part::Part;
pub use routes::routes;
pub use start::{run, serve};

/// The program: settings from environment, flags and file, then [`run`].
pub fn main() -> std::process::ExitCode {
    service::boot::run(service::settings::Tier::Analyzer, backends::examine, run)
}
