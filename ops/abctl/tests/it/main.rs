//! Tests of abctl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod answers;
mod audited;
mod commands;
mod config;
mod create;
mod dead_letters;
mod demo;
mod deployment;
mod doctor;
mod exporting;
mod golden;
mod help;
mod keys;
mod migrate;
mod migrate_store;
mod outputs;
mod pipeline;
mod refusing;
mod replay;
mod results;
mod simulate;
mod top;
mod tree;
mod up;
mod verify;
mod webhooks;
