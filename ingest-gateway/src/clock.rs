//! The client's clock against ours: how far it is off, and which instants are believable.

use std::time::Duration;

use domain::Timestamp;
use service::settings::Ingest;

use crate::body::Fault;
use crate::codes::Code;

/// 0001-01-01T00:00:00Z in microseconds: no shifted instant may lie before it, or nobody could print it.
const EARLIEST: i64 = -62_135_596_800_000_000;

/// What the times of one request are judged by. All in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub received_at: Timestamp,
    /// The client's clock when it sent, as it said.
    pub sent_at: Option<Timestamp>,
    /// Added to every `occurred_at` of the request before anything looks at it; 0 = the clock is near enough.
    pub shift: i64,
    latest: i64,
    earliest: i64,
}

impl Clock {
    pub fn new(rules: &Ingest, received_at: Timestamp, sent_at: Option<Timestamp>) -> Clock {
        let off = sent_at.map_or(0, |sent| received_at.0.saturating_sub(sent.0));
        let shift = if off.saturating_abs() > micros(rules.skew_threshold) { off } else { 0 };
        let oldest = |age| received_at.0.saturating_sub(micros(age)).max(EARLIEST);
        Clock {
            received_at,
            sent_at,
            shift,
            latest: received_at.0.saturating_add(micros(rules.max_future_skew)),
            earliest: rules.max_event_age.map_or(EARLIEST, oldest),
        }
    }

    /// Whether an event may have occurred at `given` by the client's clock.
    pub fn check(&self, given: Timestamp) -> Result<(), Fault> {
        let occurred = given.plus(self.shift).0;
        if occurred > self.latest {
            let detail = "`occurred_at` is further ahead of the time of receipt than AB_MAX_FUTURE_SKEW";
            return Err(Fault::field(Code::OccurredInFuture, "occurred_at", detail));
        }
        if occurred < self.earliest {
            let detail = "`occurred_at` is further before the time of receipt than AB_MAX_EVENT_AGE";
            return Err(Fault::field(Code::OccurredTooLongAgo, "occurred_at", detail));
        }
        Ok(())
    }
}

/// The wall clock, read once for each request.
#[allow(clippy::disallowed_methods)] // the only reader of the clock in this tier
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(micros(since_epoch))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
