//! The gateway.
pub mod body;
pub mod clock;
pub mod codes;
