#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod answers;
mod assign;
mod audit;
mod beliefs;
mod bundles;
mod calculators;
mod changes;
mod cuped;
mod dead_letters;
mod deadlines;
mod decision;
mod diagnostics;
mod experiments;
mod families;
mod fates;
mod hostile;
mod ingress;
mod instants;
mod keys;
mod live;
mod page;
mod peeking;
mod purging;
mod random;
mod redriving;
mod rig;
mod sample_ratio;
mod series;
mod shown;
mod small_counts;
mod starting;
mod stats_properties;
mod strata;
mod stream;
mod vectors;
mod watch;
mod webhooks;
mod whole;

use proptest::test_runner::Config;

/// Failures print their input; nothing is written beside the sources.
fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}
