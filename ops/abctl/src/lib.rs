//! `abctl`: the command-line tool. Its part in the journey of one event: [`simulate`] sends it, [`accounting`]
//! says in which column it ended, [`verify`] recomputes what it changed from the raw rows.
pub mod client;
pub mod simulate;
pub mod verify;
