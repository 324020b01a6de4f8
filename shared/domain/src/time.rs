//! Instants and UTC days. Both are plain integers; text is parsed and printed here only.

use jiff::civil;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Days since 1970-01-01, in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Day(pub i32);

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Numbers at or above this are unix milliseconds, below it seconds (as seconds it would be the year 5138).
const MILLISECONDS_FROM: u64 = 100_000_000_000;
/// 0001-01-01T00:00:00 to 9999-12-30T21:59:59.999999, in microseconds: what every reader of ours can print.
const RANGE: std::ops::Range<i64> = -62_135_596_800 * SECOND..253_402_207_200 * SECOND;

impl Timestamp {
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.saturating_mul(1000))
    }

    /// RFC 3339, or the same without a zone (= UTC). `None` when it is neither, or outside years 1..=9999.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let instant = text.parse().ok().or_else(|| parse_zoneless(text))?;
        Self::in_range(instant.as_microsecond())
    }

    /// A JSON number: unix seconds (fractions allowed) or, from 1e11 on, milliseconds.
    pub fn from_unix_number(text: &str) -> Option<Timestamp> {
        if let Ok(n) = text.parse::<i64>() {
            let unit = if n.unsigned_abs() >= MILLISECONDS_FROM { 1000 } else { SECOND };
            return Self::in_range(n.checked_mul(unit)?);
        }
        let n: f64 = text.parse().ok()?;
        let micros = if n.abs() >= 1e11 { n * 1e3 } else { n * 1e6 };
        if !micros.is_finite() || micros.abs() > 9e18 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)] // bounded just above
        Self::in_range(micros.round() as i64)
    }

    fn in_range(micros: i64) -> Option<Timestamp> {
        RANGE.contains(&micros).then_some(Timestamp(micros))
    }

    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(DAY)).unwrap_or(i32::MAX))
    }

    pub fn plus(self, micros: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(micros))
    }
}

fn parse_zoneless(text: &str) -> Option<jiff::Timestamp> {
    // A bare date is no instant, and an offset or zone must not be read over.
    let (_, clock) = text.split_once(['T', 't', ' '])?;
    if clock.contains(['+', '-', '[', 'Z', 'z']) {
        return None;
    }
    Some(text.parse::<civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => t.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Day {
    /// `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Day> {
        let date: civil::Date = (text.len() == 10).then(|| text.parse().ok())??;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Timestamp(midnight.as_microsecond()).day())
    }

    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0).saturating_mul(DAY))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}
