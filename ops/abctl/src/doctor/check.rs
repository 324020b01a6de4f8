//! What was looked at, what was found, and what to do.

use service::logs::causes;
use std::error::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// It works, and not for ever or not well.
    Warn,
    /// Nothing should start like this, or something does not work.
    Fail,
}

#[derive(Debug, serde::Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    pub found: String,
    /// What to do, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, state: State::Ok, found: found.into(), advice: None }
    }

    pub fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, state: State::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, state: State::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    /// It could not be looked at.
    pub fn failed(
        name: &'static str,
        error: &(dyn Error + Send + Sync + 'static),
        advice: impl Into<String>,
    ) -> Check {
        Check::fail(name, causes(error), advice)
    }

    /// Fine, or failing with what to do.
    pub fn of(name: &'static str, is_fine: bool, found: impl Into<String>, advice: &str) -> Check {
        if is_fine { Check::ok(name, found) } else { Check::fail(name, found, advice) }
    }
}

/// `12.3 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}
