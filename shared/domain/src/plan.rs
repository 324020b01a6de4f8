//! What the fold must know of an experiment: which events its metrics use, its windows, its filters.

use crate::definition::{Crossovers, Definition, Metric, MetricKind};
use crate::{Decimal, ExperimentId, Timestamp};

const SECOND: i64 = 1_000_000;

/// Compiled from a checked [`Definition`]. The order of `events`, `features` and `products` is part of the stored
/// encodings of a plan version: the same definition must always compile to the same plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub experiment: ExperimentId,
    pub version: u32,
    pub variations: u16,
    /// Distinct event names of all metrics; a [`crate::Tally`] each.
    pub events: Vec<String>,
    /// What a unit contributes; index 0 is always [`Feature::One`].
    pub features: Vec<Feature>,
    /// Pairs of features whose products are summed per arm, ascending.
    pub products: Vec<(u16, u16)>,
    /// Length of the attribution window in microseconds; `None` = no end.
    pub window: Option<i64>,
    pub tolerance: i64,
    pub lookback: i64,
    pub gap: i64,
    pub spike_limit: Option<u32>,
    pub crossovers: Crossovers,
}

/// One component of a unit's contribution; the number is an index into [`Plan::events`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// 1 for every contributing unit.
    One,
    /// 1 if any conversion counted.
    Converted(u16),
    /// Conversions counted.
    Count(u16),
    /// Conversions counted, at most the cap (in millionths of an event like every cap, and whole).
    CappedCount(u16, Decimal),
    /// Sum of values counted, in millionths.
    Sum(u16),
    /// The same, at most the cap.
    CappedSum(u16, Decimal),
    /// 1 if any conversion fell into the pre-exposure window.
    PreConverted(u16),
    PreCount(u16),
    /// In millionths.
    PreSum(u16),
}

/// Where a conversion falls, seen from one enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Inside the attribution window: adds to count and sum.
    Counted,
    /// Inside the pre-exposure window.
    Pre,
    /// Before the exposure and in neither window.
    Before,
    AfterWindow,
}

/// The features a metric is analysed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricFeatures {
    /// The outcome y; of a ratio the numerator.
    pub outcome: Feature,
    /// The denominator of a ratio.
    pub denominator: Option<Feature>,
    /// The same quantity before the exposure; none for ratios.
    pub pre: Option<Feature>,
    /// 1 if the user had any event of this metric.
    pub converted: Feature,
    /// Events of this metric.
    pub count: Feature,
}

impl Plan {
    pub fn new(experiment: ExperimentId, version: u32, definition: &Definition) -> Plan {
        let mut events: Vec<String> = Vec::new();
        for m in &definition.metrics {
            for name in [Some(m.event()), m.denominator.as_deref()].into_iter().flatten() {
                if !events.iter().any(|e| e == name) {
                    events.push(name.to_owned());
                }
            }
        }
        let mut plan = Plan {
            experiment,
            version,
            variations: u16::try_from(definition.variations.len()).unwrap_or(u16::MAX),
            events,
            features: vec![Feature::One],
            products: vec![(0, 0)],
            window: definition.attribution.window_hours.map(|h| i64::from(h) * 3600 * SECOND),
            tolerance: i64::from(definition.attribution.tolerance_seconds) * SECOND,
            lookback: i64::from(definition.analysis.cuped.lookback_days) * 86_400 * SECOND,
            gap: i64::from(definition.analysis.cuped.gap_minutes) * 60 * SECOND,
            spike_limit: definition.spike_limit,
            crossovers: definition.crossovers,
        };
        for m in &definition.metrics {
            plan.add_metric(m);
        }
        plan.products.sort_unstable();
        plan.products.dedup();
        plan
    }

    /// Index of an event name among [`Plan::events`]; `None` = no metric uses it.
    pub fn event_index(&self, name: &str) -> Option<usize> {
        self.events.iter().position(|e| e == name)
    }

    /// The features of a metric of the definition this plan was compiled from.
    pub fn metric(&self, m: &Metric) -> MetricFeatures {
        let slot = |name: &str| u16::try_from(self.event_index(name).unwrap_or_default()).unwrap_or_default();
        let e = slot(m.event());
        let (outcome, pre) = match (m.kind, m.cap) {
            (MetricKind::Proportion, _) => (Feature::Converted(e), Some(Feature::PreConverted(e))),
            (MetricKind::Mean, None) => (Feature::Sum(e), Some(Feature::PreSum(e))),
            (MetricKind::Mean, Some(cap)) => (Feature::CappedSum(e, cap), Some(Feature::PreSum(e))),
            (MetricKind::Count, None) => (Feature::Count(e), Some(Feature::PreCount(e))),
            (MetricKind::Count, Some(cap)) => (Feature::CappedCount(e, cap), Some(Feature::PreCount(e))),
            (MetricKind::Ratio, _) => (Feature::Sum(e), None),
        };
        let denominator = (m.kind == MetricKind::Ratio)
            .then(|| m.denominator.as_deref().map_or(Feature::Count(e), |name| Feature::Sum(slot(name))));
        MetricFeatures {
            outcome,
            denominator,
            pre,
            converted: Feature::Converted(e),
            count: Feature::Count(e),
        }
    }

    /// Position of a product of two features in a moments vector.
    pub fn product_index(&self, a: Feature, b: Feature) -> Option<usize> {
        let at = |f| self.features.iter().position(|x| *x == f).and_then(|i| u16::try_from(i).ok());
        let pair = ordered(at(a)?, at(b)?);
        self.products.binary_search(&pair).ok()
    }

    /// Where a conversion at `at` falls for a user exposed at `exposed_at`.
    pub fn place(&self, exposed_at: Timestamp, at: Timestamp) -> Placement {
        if at >= exposed_at.plus(-self.tolerance) {
            return match self.window {
                Some(window) if at >= exposed_at.plus(window) => Placement::AfterWindow,
                _ => Placement::Counted,
            };
        }
        let pre = exposed_at.plus(-self.lookback)..exposed_at.plus(-self.gap);
        if pre.contains(&at) { Placement::Pre } else { Placement::Before }
    }

    fn add_metric(&mut self, m: &Metric) {
        let f = self.metric(m);
        let outcome = self.feature(f.outcome);
        let mut pairs = vec![(0, outcome), (outcome, outcome)];
        for described in [f.converted, f.count] {
            pairs.push((0, self.feature(described)));
        }
        if let Some(pre) = f.pre {
            let pre = self.feature(pre);
            pairs.extend([(0, pre), (pre, pre), ordered(outcome, pre)]);
        }
        if let Some(denominator) = f.denominator {
            let denominator = self.feature(denominator);
            pairs.extend([(0, denominator), (denominator, denominator), ordered(outcome, denominator)]);
        }
        self.products.extend(pairs);
    }

    fn feature(&mut self, f: Feature) -> u16 {
        let at = self.features.iter().position(|x| *x == f).unwrap_or_else(|| {
            self.features.push(f);
            self.features.len() - 1
        });
        // At most 1 + 8 x 50 features: 50 metrics is the definition's limit.
        u16::try_from(at).unwrap_or(u16::MAX)
    }
}

fn ordered(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}
