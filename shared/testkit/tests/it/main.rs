//! The kit keeps what it promises to the tests that stand on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The test program plays the owner of servers when a variable says so.
#![allow(clippy::disallowed_methods)]

mod http;
mod leftovers;
mod postgres;
mod process;
mod proxy;
mod redis_server;
