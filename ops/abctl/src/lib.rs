//! `abctl`, the command-line tool. Its part in the journey of one event: [`simulate`] sends it as an SDK would,
//! or [`replay`] from a file, [`accounting`] says in which column it ended, [`dead_letters`] what could not be applied,
//! [`verify`] recomputes from the raw rows what it changed, and [`results`] shows what it added to an answer of one of
//! the [`experiments`].

pub mod accounting;
pub mod api;
mod audit;
pub mod cli;
pub mod client;
mod completions;
mod config;
pub mod dead_letters;
pub mod demo;
pub mod doctor;
mod erase_user;
pub mod experiments;
mod export;
mod keys;
mod listing;
mod migrate;
pub mod migrate_store;
mod output;
mod purge;
mod rebuild;
pub mod replay;
pub mod results;
pub mod simulate;
pub mod table;
mod top;
pub mod up;
pub mod verify;
mod webhooks;
mod workspace;
