//! `abctl up` as it is typed: a process of its own, on a directory and ports of its own.

mod contract;
mod directory;
mod disk;
mod ending;
mod first_start;
mod keys;
mod refusals;
pub mod rig;
mod tools;
