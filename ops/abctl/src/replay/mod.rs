//! `abctl replay`: events of files to gateways, each once however often it is run.
//!
//! One thread [reads](reader) the files, gives every event without a key one of its own ([`row`]), and hands batches
//! to lanes, chosen by the user: what a user did stays in the order of the files whatever `--concurrency` is. A lane
//! [sends](lane) one batch after another, each until it is acknowledged. The [`ledger`] knows up to which line
//! everything is settled; that line and the rejects before it are made durable together ([`checkpoint`]), so a run that
//! is killed goes on from there. What lies behind it may be sent twice and counts once, by its keys.

mod checkpoint;
mod command;
mod direct;
mod input;
mod judge;
mod lane;
mod ledger;
mod lines;
mod ndjson;
mod reader;
mod records;
mod row;
mod sort;
mod target;
mod turns;
mod units;

pub use command::Replay;
pub use row::Reason;
