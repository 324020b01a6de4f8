//! Tests of the queue. Those that need one start a Redis of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catalogue;
mod checks;
mod cluster;
mod contract;
mod encrypted;
mod failover;
mod frames;
mod golden;
mod limiter;
mod local;
mod local_model;
mod numbering;
mod producer;
mod reader;
mod receipts;
mod reporter;
mod resend;
mod support;
