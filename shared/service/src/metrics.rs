//! Metrics of one process: a registry that is passed in, never the global one, so tests run side by side.
//!
//! Resolve children once at start and keep them. Label sets are bounded: of names that others choose only [`ByName`]
//! makes a label, and never of users' or experiments'.

use foldhash::HashMap;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::sync::{PoisonError, RwLock};

/// Names that have a child of their own in a [`ByName`].
pub const NAMED: usize = 100;
/// The child of all other names.
pub const OTHER: &str = "other";

/// Buckets for work between 100 microseconds and 10 seconds.
pub const FAST_SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Makes and registers metrics. A name registered twice is an error.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A counter with a child for each of the first [`NAMED`] names.
    pub fn counter_by_name(&self, name: &str, help: &str, label: &str) -> Result<ByName, prometheus::Error> {
        let counters = self.counter_vec(name, help, &[label])?;
        let other = counters.with_label_values(&[OTHER]);
        Ok(ByName { counters, other, known: RwLock::default() })
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    pub fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// `buckets`: upper bounds, ascending.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> Result<Histogram, prometheus::Error> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
    }

    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?)
    }

    /// The text exposition format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// A counter by names that nobody knows beforehand. However many there are, the page has [`NAMED`] and one more lines
/// for them; what they add up to is right.
#[derive(Debug)]
pub struct ByName {
    counters: IntCounterVec,
    other: IntCounter,
    known: RwLock<HashMap<String, IntCounter>>,
}

impl ByName {
    pub fn inc_by(&self, name: &str, amount: u64) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(name) {
            return counter.inc_by(amount);
        }
        if known.len() >= NAMED {
            return self.other.inc_by(amount);
        }
        drop(known);
        self.first(name).inc_by(amount);
    }

    fn first(&self, name: &str) -> IntCounter {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Others came first, perhaps.
        if known.len() >= NAMED && !known.contains_key(name) {
            return self.other.clone();
        }
        let counter = || self.counters.with_label_values(&[name]);
        known.entry(name.to_owned()).or_insert_with(counter).clone()
    }
}
