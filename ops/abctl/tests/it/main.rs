//! Tests of abctl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod answers;
mod commands;
mod config;
mod create;
mod dead_letters;
mod demo;
mod deployment;
mod help;
mod keys;
mod pipeline;
mod replay;
mod results;
mod simulate;
mod up;
mod verify;
mod webhooks;
