//! The apply transaction against a real database, PostgreSQL and SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod rig;

mod apply;
mod crash;
mod deleted;
mod erase;
mod letters;
mod losses;
mod memory;
mod poison;
mod progress;
mod purge;
mod quality;
mod rebuild;
mod shares;
mod stopped;
mod tables;
mod told;
mod yielding;
