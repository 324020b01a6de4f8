//! Three clocks: this machine's, PostgreSQL's and Redis'. Gateways compare clients' clocks with their own, days are those
//! of Redis, owners are judged by PostgreSQL's.

use super::check::Check;
use crate::simulate::now_ms;
use anyhow::Result;
use domain::Timestamp;

/// Further apart than an NTP client leaves them.
const WARN_MS: i64 = 1_000;
/// As far as clients are believed (AB_SKEW_THRESHOLD, unless set).
const FAIL_MS: i64 = 60_000;

const ADVICE: &str = "let every machine follow the same time servers (chrony, systemd-timesyncd)";

/// How far each is ahead of this machine's, in milliseconds.
#[derive(Default)]
pub struct Clocks(Vec<(&'static str, i64)>);

impl Clocks {
    /// `begun_ms`: this machine's clock when the question was sent. At which moment until now it was answered nobody
    /// knows: a clock is apart as far as it is before or behind all of them.
    pub fn read(&mut self, whose: &'static str, begun_ms: i64, said: Timestamp) -> Result<()> {
        let (there, ended_ms) = (said.0 / 1_000, now_ms()?);
        self.0.push((whose, there - there.min(ended_ms).max(begun_ms)));
        Ok(())
    }

    pub fn compare(&self, checks: &mut Vec<Check>) -> Result<()> {
        for &(whose, ahead) in &self.0 {
            let (seconds, millis) = (ahead.abs() / 1_000, ahead.abs() % 1_000);
            let way = if ahead < 0 { "behind" } else { "ahead of" };
            let found = format!("{seconds}.{millis:03} s {way} this machine");
            let apart = ahead.abs();
            checks.push(if apart <= WARN_MS {
                Check::ok(whose, found)
            } else if apart <= FAIL_MS {
                Check::warn(whose, found, ADVICE)
            } else {
                Check::fail(whose, found, ADVICE)
            });
        }
        Ok(())
    }
}
