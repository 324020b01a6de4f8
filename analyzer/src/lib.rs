//! The analyzer: reads what the worker committed, answers "which variation wins?".
//!
//! The last part of one event's journey: its contribution is in the last moments rows of its arm; [`stats`] turns
//! those exact sums into effects, intervals and p-values.

pub mod stats;
