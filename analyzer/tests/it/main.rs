#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stats_properties;
mod stats_vectors;
