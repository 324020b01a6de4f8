//! What a user writes to create an experiment, with its defaults and checks. Stored as this JSON.

use crate::Decimal;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Slug beginning with a letter, unique per tenant for ever; usable wherever an id stands.
    pub key: String,
    #[serde(default)]
    pub name: String,
    /// 2..=10; the first is the control.
    pub variations: Vec<Variation>,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    pub key: String,
    /// The `metric` of the conversions that count; default: the metric's key. Not used by ratios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(rename = "type")]
    pub kind: MetricKind,
    /// Ratio: event whose values are summed per user above the line (default: `event`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numerator: Option<String>,
    /// Ratio: event whose values are summed per user below the line; default: the number of numerator events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<String>,
    #[serde(default)]
    pub direction: Direction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Upper bound of a user's sum (mean) or count (count).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Decimal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Share of users with any event.
    Proportion,
    /// Sum of values per user.
    Mean,
    /// Events per user.
    Count,
    /// Sum of the numerators over sum of the denominators, unit = user.
    Ratio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    #[default]
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Primary,
    Secondary,
    Guardrail,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// Two-sided error level of intervals and verdicts.
    pub alpha: f64,
    /// p below which the sample ratio is called a mismatch.
    pub srm_alpha: f64,
    pub cuped: Cuped,
}

impl Default for Analysis {
    fn default() -> Self {
        Analysis { alpha: 0.05, srm_alpha: 0.001, cuped: Cuped::default() }
    }
}

/// The pre-exposure window `[exposed - lookback, exposed - gap)`, CUPED's covariate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cuped {
    pub lookback_days: u32,
    /// Keeps clock skew from leaking the treatment into the covariate.
    pub gap_minutes: u32,
}

impl Default for Cuped {
    fn default() -> Self {
        Cuped { lookback_days: 14, gap_minutes: 60 }
    }
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

impl Metric {
    /// The event whose conversions this metric counts.
    pub fn event(&self) -> &str {
        self.numerator.as_deref().or(self.event.as_deref()).unwrap_or(&self.key)
    }
}

impl Definition {
    /// Completes the defaults that depend on other fields (names, one primary metric) and checks every rule.
    pub fn checked(mut self) -> Result<Definition, Invalid> {
        self.check_header()?;
        self.check_variations()?;
        self.check_metrics()?;
        self.check_analysis()?;
        if self.name.is_empty() {
            self.name = self.key.clone();
        }
        for v in self.variations.iter_mut().filter(|v| v.name.is_empty()) {
            v.name = v.key.clone();
        }
        let marked = self.metrics.iter().any(|m| m.role == Some(Role::Primary));
        let mut default = if marked { Role::Secondary } else { Role::Primary };
        for m in self.metrics.iter_mut().filter(|m| m.role.is_none()) {
            m.role = Some(default);
            default = Role::Secondary;
        }
        Ok(self)
    }

    /// Index of the variation with this key.
    pub fn variation_index(&self, key: &str) -> Option<usize> {
        self.variations.iter().position(|v| v.key == key)
    }

    fn check_header(&self) -> Result<(), Invalid> {
        check_slug("/key", &self.key)?;
        check_label("/name", &self.name)
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

    fn check_metrics(&self) -> Result<(), Invalid> {
        ensure("/metrics", (1..=50).contains(&self.metrics.len()), "must have 1 to 50 entries")?;
        for (i, m) in self.metrics.iter().enumerate() {
            let at = |field: &str| format!("/metrics/{i}/{field}");
            check_name(&at("key"), &m.key)?;
            let earlier = self.metrics.iter().take(i).any(|other| other.key == m.key);
            ensure(&at("key"), !earlier, "is used twice")?;
            for (field, name) in
                [("event", &m.event), ("numerator", &m.numerator), ("denominator", &m.denominator)]
            {
                if let Some(name) = name {
                    check_name(&at(field), name)?;
                }
            }
            let ratio = m.kind == MetricKind::Ratio;
            ensure(&at("numerator"), ratio || m.numerator.is_none(), "belongs to ratios only")?;
            ensure(&at("denominator"), ratio || m.denominator.is_none(), "belongs to ratios only")?;
            let capped = matches!(m.kind, MetricKind::Mean | MetricKind::Count);
            ensure(&at("cap"), capped || m.cap.is_none(), "belongs to mean and count metrics only")?;
            ensure(&at("cap"), m.cap.is_none_or(|c| c.0 > 0), "must be above 0")?;
            let whole = m.cap.is_none_or(|c| c.0 % Decimal::ONE.0 == 0);
            ensure(&at("cap"), whole || m.kind != MetricKind::Count, "must be a whole number of events")?;
        }
        let primaries = self.metrics.iter().filter(|m| m.role == Some(Role::Primary)).count();
        ensure("/metrics", primaries <= 1, "at most one metric can be primary")
    }

    fn check_analysis(&self) -> Result<(), Invalid> {
        let open = |x: f64| x > 0.0 && x < 1.0;
        ensure("/analysis/alpha", open(self.analysis.alpha), "must lie between 0 and 1")?;
        ensure("/analysis/srm_alpha", open(self.analysis.srm_alpha), "must lie between 0 and 1")?;
        let cuped = &self.analysis.cuped;
        ensure("/analysis/cuped/lookback_days", cuped.lookback_days <= 366, "must be at most 366")?;
        ensure("/analysis/cuped/gap_minutes", cuped.gap_minutes <= 7 * 24 * 60, "must be at most 10080")?;
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
