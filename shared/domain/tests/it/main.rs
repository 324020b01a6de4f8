//! The functional core against oracles, frozen vectors, an independent model and the reference event set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod assignment;
mod codec;
mod decimal;
mod definition;
mod edges;
mod event;
mod ids;
mod model;
mod plan;
mod properties;
mod reference;
mod scenarios;
mod streams;
mod time;
mod versions;
mod world;

use proptest::test_runner::Config;

/// Failures print their input; nothing is written beside the sources.
fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Bytes kept under a name in tests/data/encodings.txt.
fn golden(name: &str) -> Vec<u8> {
    let mut lines = include_str!("../data/encodings.txt").lines();
    let hex = lines.find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).expect(name);
    hex.as_bytes()
        .chunks(2)
        .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 16).unwrap())
        .collect()
}
