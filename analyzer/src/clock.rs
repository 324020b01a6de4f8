//! The wall clock.

use domain::Timestamp;

#[allow(clippy::disallowed_methods)] // the only reader of the clock in this tier
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
