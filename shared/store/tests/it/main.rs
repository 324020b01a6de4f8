//! What every adapter promises, written once and run on each, and what is peculiar to one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod db;
mod elsewhere;
mod encrypted;
mod owner;

mod answers;
mod api_keys;
mod apply;
mod changes;
mod conversions;
mod dead_letters;
mod experiments;
mod files;
mod losses;
mod model;
mod moving;
mod purges;
mod rebuilds;
mod receipts;
mod snapshots;
mod units;
mod upkeep;
mod views;
mod webhooks;
