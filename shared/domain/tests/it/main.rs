//! The functional core against oracles, frozen vectors, an independent model and the reference event set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod decimal;
mod event;
mod ids;
mod time;

use proptest::test_runner::Config;

/// Failures print their input; nothing is written beside the sources.
fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}
