//! `abctl replay` against a running `abctl up`.

mod again;
mod files;
mod kills;
mod memory;
mod rejects;
mod rig;
