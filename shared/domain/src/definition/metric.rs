//! Metrics: what of a user's conversions is measured, and what a change of it means.

use super::{Invalid, check_name, ensure};
use crate::Decimal;
use serde::{Deserialize, Serialize};

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
    /// Guardrail: how much worse than the control is tolerated, relative to it (0.02 = two percent); without one a
    /// guardrail only has to be free of proven harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
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

/// Where better is.
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
    /// The one metric that decides.
    Primary,
    Secondary,
    /// Must not get worse.
    Guardrail,
}

impl Metric {
    /// The event whose conversions this metric counts.
    pub fn event(&self) -> &str {
        self.numerator.as_deref().or(self.event.as_deref()).unwrap_or(&self.key)
    }
}

/// The first metric without a role is primary, unless another is marked; the rest are secondary.
pub(super) fn complete(metrics: &mut [Metric]) {
    let marked = metrics.iter().any(|m| m.role == Some(Role::Primary));
    let mut default = if marked { Role::Secondary } else { Role::Primary };
    for m in metrics.iter_mut().filter(|m| m.role.is_none()) {
        m.role = Some(default);
        default = Role::Secondary;
    }
}

pub(super) fn check(metrics: &[Metric]) -> Result<(), Invalid> {
    ensure("/metrics", (1..=50).contains(&metrics.len()), "must have 1 to 50 entries")?;
    for (i, m) in metrics.iter().enumerate() {
        let at = |field: &str| format!("/metrics/{i}/{field}");
        check_name(&at("key"), &m.key)?;
        let earlier = metrics.iter().take(i).any(|other| other.key == m.key);
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
        let guardrail = m.role == Some(Role::Guardrail);
        ensure(&at("margin"), guardrail || m.margin.is_none(), "belongs to guardrails only")?;
        let share = m.margin.is_none_or(|g| (0.0..1.0).contains(&g));
        ensure(&at("margin"), share, "must be at least 0 and below 1: how much worse is tolerated")?;
    }
    let primaries = metrics.iter().filter(|m| m.role == Some(Role::Primary)).count();
    ensure("/metrics", primaries <= 1, "at most one metric can be primary")
}
