//! What the analyzer answers about an experiment, as far as abctl looks at it.

use domain::Decimal;
use serde::Deserialize;

/// Of `GET .../experiments/{id}` and every item of the list.
#[derive(Debug, Clone, Deserialize)]
pub struct Experiment {
    pub id: i64,
    pub key: String,
    pub name: String,
    pub status: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub stopped_at: Option<String>,
    pub variations: Vec<Variation>,
    pub metrics: Vec<MetricDefinition>,
    pub attribution: Attribution,
    pub crossovers: String,
    pub spike_limit: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Attribution {
    pub window_hours: Option<u32>,
    pub tolerance_seconds: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Variation {
    pub key: String,
    pub name: String,
    pub weight: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct MetricDefinition {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub role: Option<String>,
    pub direction: String,
    pub event: Option<String>,
    pub numerator: Option<String>,
    pub denominator: Option<String>,
    pub cap: Option<Decimal>,
}

/// Of `GET .../live-stats`.
#[derive(Debug, Clone, Deserialize)]
pub struct LiveStats {
    /// The end of this UTC day; none = now.
    pub as_of: Option<String>,
    /// Whose verdict counts: sequential, fixed, group_sequential or bayesian.
    pub mode: Option<String>,
    pub alpha: f64,
    /// Enrolled.
    pub users: i64,
    pub srm: Srm,
    pub arms: Vec<Arm>,
    pub metrics: Vec<Metric>,
}

/// Statuses and reasons are codes the service may add to, so they stay text.
#[derive(Debug, Clone, Deserialize)]
pub struct Srm {
    pub status: String,
    pub p_value: Option<f64>,
    #[serde(default)]
    pub mismatch: bool,
    #[serde(default)]
    pub flags: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Arm {
    pub key: String,
    pub weight: f64,
    /// Enrolled.
    pub users: i64,
    pub data_quality: DataQuality,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct DataQuality {
    pub crossovers: i64,
    pub earlier_exposure_seen: i64,
    pub filtered: i64,
    pub excluded: i64,
    pub before_exposure: i64,
    pub after_window: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Metric {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub role: Option<String>,
    pub direction: String,
    pub arms: Vec<MetricArm>,
    pub comparisons: Vec<Comparison>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct MetricArm {
    /// Contributing.
    pub users: Option<i64>,
    pub converters: Option<i64>,
    pub conversions: Option<i64>,
    /// Exact.
    pub sum: String,
    /// Exact, of ratios.
    pub denominator: Option<String>,
    pub mean: Option<f64>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Comparison {
    pub variation_index: usize,
    #[serde(flatten)]
    pub readings: Readings,
    pub cuped: Option<Cuped>,
}

/// An effect as each method reads it.
#[derive(Debug, Clone, Deserialize)]
pub struct Readings {
    /// For one look.
    #[serde(flatten)]
    pub fixed: Reading,
    /// For any number of looks.
    pub sequential: Option<Reading>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Reading {
    pub absolute: Test,
    pub relative: Test,
}

/// The effect adjusted by what users did before their exposure; without readings where that cannot be done.
#[derive(Debug, Clone, Deserialize)]
pub struct Cuped {
    pub variance_reduction: Option<f64>,
    #[serde(flatten)]
    pub readings: Option<Readings>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Test {
    pub status: String,
    pub effect: Option<f64>,
    pub ci: Option<[f64; 2]>,
    pub p_value: Option<f64>,
    #[serde(default)]
    pub flags: Vec<String>,
    pub reason: Option<String>,
}

impl Comparison {
    /// What verdicts are made of: adjusted where that can be done.
    pub fn decisive(&self) -> &Readings {
        self.cuped.as_ref().and_then(|cuped| cuped.readings.as_ref()).unwrap_or(&self.readings)
    }
}

impl Readings {
    /// That of the experiment's mode.
    pub fn of(&self, mode: Option<&str>) -> &Reading {
        match (&self.sequential, mode) {
            (Some(reading), Some("sequential")) => reading,
            _ => &self.fixed,
        }
    }
}

impl Test {
    /// Interval and p, where there are both.
    pub fn numbers(&self) -> Option<([f64; 2], f64)> {
        Some((self.ci?, self.p_value?))
    }
}
