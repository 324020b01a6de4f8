//! The apply transaction against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apply;
mod crash;
mod poison;
mod rig;
