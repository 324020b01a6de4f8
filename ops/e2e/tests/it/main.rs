//! The whole pipeline, as separate processes on servers of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abctl;
mod bad_input;
mod faults;
mod readme;
mod receipts;
mod reference;
mod several_experiments;
mod support;
mod three_workers;
