//! `abctl verify`: every stored moments row recomputed from the raw rows.
pub mod recompute;
