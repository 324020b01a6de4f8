//! Tests of the gateway: bodies and frames as pure functions, then the whole tier over HTTP on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accepting;
mod admission;
mod corpora;
mod labels;
mod limiting;
mod lookups;
mod parsing;
mod parsing_properties;
mod refusing;
mod rig;
mod sdk_answers;
mod sdk_clients;
mod sdk_decoding;
mod sdk_properties;
mod settling;
mod starting;
mod telling;
mod unavailable;
mod waiting;
