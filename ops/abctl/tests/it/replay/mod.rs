//! `abctl replay` against a running `abctl up`.

mod files;
mod kills;
mod rejects;
mod rig;
