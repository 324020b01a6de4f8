//! The queue between gateways and workers: one Redis stream per partition.
//!
//! The part of one event's journey told here: a gateway encodes the events of a request into one [`frame`] per
//! partition and hands them to its [`producer`], whose ordered writers put them into entries, [numbered](numbering)
//! and acknowledged only when Redis has fsynced them. The owner of a partition follows with a [`reader`], by a
//! position that lives in the database. After its commit it reports to Redis what is [`applied`], tells the gateways
//! that wait ([`receipts`]), and trims what is no longer needed. Gateways know the experiments from the
//! [`catalogue`], a projection in the same Redis. [`checks`] says whether the server keeps what it is given.
//!
//! Nothing here decides whether an event counts: entries may come twice, and the owner sees to that.

mod backoff;
mod commands;
mod connection;
mod error;
mod subscription;

pub mod applied;
pub mod catalogue;
pub mod checks;
pub mod frame;
pub mod numbering;
pub mod producer;
pub mod reader;
pub mod receipts;

pub use backoff::Backoff;
pub use error::QueueError;
