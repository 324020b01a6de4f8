//! The whole pipeline, as separate processes on servers of their own, and in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod support;

mod abctl;
mod assigning;
mod backlog;
mod bad_input;
mod browser;
mod calendar;
mod calibration;
mod chaos;
mod clients;
mod cluster;
mod crowd;
mod dead_letters;
mod deleting;
mod erasing;
mod exporting;
mod faults;
mod following;
mod healing;
mod isolation;
mod issued_keys;
mod key_files;
mod killer;
mod loaded;
mod losses;
mod malformed;
mod metrics;
mod moving;
mod one_process;
mod phases;
mod rates;
mod readme;
mod rebuilding;
mod receipts;
mod reference;
mod refusing;
mod restoring;
mod rolling;
mod scaling;
mod scopes;
mod secrets;
mod several_days;
mod several_experiments;
mod telling;
mod three_workers;
#[cfg(feature = "otlp")]
mod traces;
mod verifying;
