//! The kit keeps what it promises to the tests that stand on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http;
mod leftovers;
mod postgres;
mod process;
mod proxy;
mod redis_server;
