#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod experiments;
mod fates;
mod live;
mod rig;
mod starting;
mod stats_properties;
mod stats_vectors;
