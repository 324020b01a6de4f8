//! Tests of abctl that need no server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod pipeline;
mod simulate;
mod verify;
