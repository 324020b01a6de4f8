//! The gateway.
pub mod body;
pub mod codes;
