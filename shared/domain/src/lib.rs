//! The functional core: what an exposure and a conversion *mean*. No I/O, no async, no clock.
//!
//! The part of one event's journey told here: an [`event`] arrives with its partition's [`time::Day`]; the user's
//! [`unit::Unit`] is folded with it ([`fold`]) under the experiment's [`plan::Plan`]; the difference between the
//! unit's [`contribution`] before and after is added to the arm's [`moments::Moments`]. [`ladder`] says the same
//! thing from the raw rows alone, day by day, and is what rebuild and verify compare with. What is told of a user
//! besides (stratum, covariates, exclusions) waits in the unit for the exposure ([`attributes`]).
//! Before any event, [`assignment`] says which variation a user is to see.
//!
//! Everything is integer arithmetic: values are millionths ([`decimal::Decimal`]), a unit's sums are 128-bit and
//! moments 256-bit, so sums do not depend on the order of events and can be compared digit for digit.

pub mod assignment;
pub mod attributes;
pub mod codec;
pub mod contribution;
pub mod decimal;
pub mod definition;
pub mod event;
pub mod fold;
pub mod ids;
pub mod ladder;
pub mod moments;
pub mod plan;
pub mod time;
pub mod unit;

pub use attributes::{Attribute, Attributes};
pub use contribution::Contribution;
pub use decimal::Decimal;
pub use ids::{BatchId, ExperimentId, Partition, UnitId};
pub use moments::Moments;
pub use plan::Plan;
pub use time::{Day, Timestamp};
pub use unit::{Enrollment, Tally, Unit};

/// An exact sum left its range. No value that the gateway accepts can cause it in practice (it needs more than
/// 2^32 conversions of one user); it is an error so that it can never be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} left the range of exact arithmetic")]
pub struct Overflow {
    /// Which quantity overflowed, for the dead letter's reason.
    pub what: &'static str,
}
