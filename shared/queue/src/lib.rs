//! The queue between gateways and workers, and what travels beside it.
//!
//! The part of one event's journey told here: a gateway encodes the events of a request into one [`frame`] per
//! partition and hands them to its [`producer`], whose ordered writers put them into entries, [numbered](numbering)
//! and acknowledged only when they are durable. The owner of a partition follows with a [`reader`], by a position
//! that lives in the database. After its commit it tells what is applied ([`reporter`]), also to the gateways that
//! wait ([`receipts`]). Gateways know the experiments from the [`catalogue`], the keys that admins issue from [`keys`],
//! and how much a tenant may send from the [`limiter`].
//!
//! These are ports: object-safe traits, made by a [`Queue`]. Its adapters are [`redis`], a stream per partition, and
//! [`local`], lists in the memory of the one process that is everything.
//!
//! Nothing here decides whether an event counts: entries may come twice, and the owner sees to that.

mod backoff;
mod error;
mod port;
mod ticket;

pub mod catalogue;
pub mod frame;
pub mod keys;
pub mod limiter;
pub mod local;
pub mod numbering;
pub mod producer;
pub mod reader;
pub mod receipts;
pub mod redis;
pub mod reporter;

pub use backoff::Backoff;
pub use error::QueueError;
pub use port::{Queue, Weakness};
