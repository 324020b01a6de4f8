//! The worker: drains the streams and applies what they carry, a chunk a transaction.
//!
//! The part of one event's journey told here: a [`source`] task reads its partition's stream ahead of the position;
//! a [`lane`] takes what has come, reads it into a [`chunk`], and [`apply`]s it: position moved, units loaded, events
//! [`sort`]ed out, conversions stored, history read, everything [`fold`]ed, moments and receipts written, committed. After the
//! commit the [`report`]er tells the queue: totals applied, receipts, what may be trimmed. Between transactions the lane takes
//! the next step of plan versions that are to be built ([`rebuild`]), and once a second a little of what is not kept for
//! ever ([`purge`]).
//!
//! Beside the lanes [`behind`] tells how far they are behind, and [`progress`] whether they get on.
//!
//! Crashes need no thought: what was not committed is read again, from the position that the database holds. An
//! unknown outcome of a commit is found out by the next compare-and-set of the position.

pub mod apply;
mod behind;
pub mod cache;
pub mod chunk;
pub mod erase;
mod fold;
mod lane;
mod lanes;
mod letters;
mod members;
mod metrics;
mod pace;
mod poison;
mod progress;
pub mod purge;
pub mod rebuild;
mod report;
mod retention;
pub mod shares;
mod sort;
mod source;
mod start;
mod strata;
pub mod tally;
pub mod told;

pub use lane::{Lane, LaneConfig, Ownership};
pub use lanes::Lanes;
pub use members::Sessions;
pub use metrics::WorkerMetrics;
pub use progress::Progress;
pub use start::{run, serve};

/// The program: settings from environment, flags and file, then [`run`].
pub fn main() -> std::process::ExitCode {
    service::boot::run(service::settings::Tier::Worker, backends::examine, run)
}
