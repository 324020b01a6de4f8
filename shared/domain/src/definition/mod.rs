//! What a user writes to create an experiment, with its defaults and checks. Stored as this JSON.

mod analysis;
mod audience;
mod metric;

pub use analysis::{Analysis, Correction, Cuped, Mode, Prior};
pub use audience::Namespace;
pub use metric::{Direction, Metric, MetricKind, Role};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Slug beginning with a letter, unique per tenant for ever; usable wherever an id stands.
    pub key: String,
    #[serde(default)]
    pub name: String,
    /// For people: what is tried, and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For finding it again: a team, a quarter. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// 2..=10; the first is the control.
    pub variations: Vec<Variation>,
    /// Share of the users let in who take part.
    #[serde(default = "audience::everybody")]
    pub coverage: f64,
    /// Condition on the users' attributes ([`crate::assignment::targeting`]); none = everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// 1..=50.
    pub metrics: Vec<Metric>,
    #[serde(default)]
    pub attribution: Attribution,
    /// Counted conversions above which a unit contributes to no metric; off by default, because filtering by an
    /// outcome biases the effect.
    #[serde(default)]
    pub spike_limit: Option<u32>,
    #[serde(default)]
    pub crossovers: Crossovers,
    #[serde(default)]
    pub analysis: Analysis,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    pub key: String,
    #[serde(default)]
    pub name: String,
    /// Share of the traffic relative to the others'; 0 = nobody is expected here.
    #[serde(default = "one")]
    pub weight: f64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// Hours after the exposure in which conversions count; none = no end.
    #[serde(default)]
    pub window_hours: Option<u32>,
    /// A conversion this many seconds before the exposure still counts.
    #[serde(default)]
    pub tolerance_seconds: u32,
}

/// What happens to the outcomes of users who saw more than one variation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossovers {
    /// They stay in the first variation seen.
    #[default]
    Keep,
    /// They stay enrolled (SRM sees them) and contribute to no metric.
    Exclude,
}

fn one() -> f64 {
    1.0
}

/// A refused field: JSON pointer and reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct Invalid {
    pub pointer: String,
    pub reason: String,
}

impl Definition {
    /// Completes the defaults that depend on other fields (names, one primary metric) and checks every rule.
    pub fn checked(mut self) -> Result<Definition, Invalid> {
        self.check_header()?;
        self.check_variations()?;
        audience::check(&self)?;
        metric::check(&self.metrics)?;
        metric::complete(&mut self.metrics);
        self.check_conditions()?;
        analysis::check(&self)?;
        if self.name.is_empty() {
            self.name = self.key.clone();
        }
        for v in self.variations.iter_mut().filter(|v| v.name.is_empty()) {
            v.name = v.key.clone();
        }
        Ok(self)
    }

    /// Index of the variation with this key.
    pub fn variation_index(&self, key: &str) -> Option<usize> {
        self.variations.iter().position(|v| v.key == key)
    }

    fn check_header(&self) -> Result<(), Invalid> {
        check_slug("/key", &self.key)?;
        check_label("/name", &self.name)?;
        let text = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        let described = self.description.chars().count() <= 4_000 && self.description.chars().all(text);
        ensure(
            "/description",
            described,
            "must have at most 4000 characters, none of them a control character",
        )?;
        ensure("/labels", self.labels.len() <= 20, "must have at most 20 entries")?;
        for (i, label) in self.labels.iter().enumerate() {
            let at = format!("/labels/{i}");
            check_name(&at, label)?;
            ensure(&at, !self.labels.iter().take(i).any(|other| other == label), "is used twice")?;
        }
        Ok(())
    }

    fn check_variations(&self) -> Result<(), Invalid> {
        ensure("/variations", (2..=10).contains(&self.variations.len()), "must have 2 to 10 entries")?;
        for (i, v) in self.variations.iter().enumerate() {
            let at = |field: &str| format!("/variations/{i}/{field}");
            check_name(&at("key"), &v.key)?;
            check_label(&at("name"), &v.name)?;
            ensure(&at("weight"), (0.0..=1e9).contains(&v.weight), "must be between 0 and 1e9")?;
            let earlier = self.variations.iter().take(i).any(|other| other.key == v.key);
            ensure(&at("key"), !earlier, "is used twice")?;
        }
        let total: f64 = self.variations.iter().map(|v| v.weight).sum();
        ensure("/variations", total > 0.0, "at least one weight must be above 0")
    }

    fn check_conditions(&self) -> Result<(), Invalid> {
        let window = self.attribution.window_hours;
        let ten_years = 1..=10 * 8760;
        ensure(
            "/attribution/window_hours",
            window.is_none_or(|h| ten_years.contains(&h)),
            "must be between 1 and 87600",
        )?;
        let tolerance = self.attribution.tolerance_seconds;
        ensure("/attribution/tolerance_seconds", tolerance <= 86_400, "must be at most 86400")?;
        ensure("/spike_limit", self.spike_limit != Some(0), "must be at least 1")
    }
}

fn ensure(pointer: &str, holds: bool, reason: &str) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid { pointer: pointer.into(), reason: reason.into() }) }
}

/// `[A-Za-z][A-Za-z0-9_.-]{0,99}`.
fn check_slug(pointer: &str, text: &str) -> Result<(), Invalid> {
    let shape = text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    ensure(pointer, shape, "must be 1 to 100 of letters, digits, '_', '.', '-', beginning with a letter")
}

fn check_name(pointer: &str, text: &str) -> Result<(), Invalid> {
    crate::event::check_metric(text).map_err(|e| Invalid { pointer: pointer.into(), reason: e.to_string() })
}

fn check_label(pointer: &str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Ok(()) } else { check_name(pointer, text) }
}
