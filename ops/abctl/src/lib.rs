//! `abctl`, the command-line tool. Its part in the journey of one event: [`simulate`] sends it as an SDK would,
//! [`accounting`] says in which column it ended, [`verify`] recomputes from the raw rows what it changed.

pub mod accounting;
pub mod cli;
pub mod client;
mod output;
pub mod simulate;
pub mod verify;
