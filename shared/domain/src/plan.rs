//! What the fold must know of an experiment: which events its metrics use, its windows, its filters.

use crate::definition::{Crossovers, Definition, Metric, MetricKind, Role};
use crate::{Decimal, ExperimentId, Timestamp};

const SECOND: i64 = 1_000_000;

/// Compiled from a checked [`Definition`]. The order of `events`, `features` and `products` is part of the stored
/// encodings of a plan version: the same definition must always compile to the same plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub experiment: ExperimentId,
    pub version: u32,
    pub variations: u16,
    /// Distinct event names of all metrics, then of the named covariates; a [`crate::Tally`] each.
    pub events: Vec<String>,
    /// How many of `events` are a metric's; the rest are covariates only.
    pub measured: usize,
    /// Of `events`, the primary metric's: pre-period values without a name are its own.
    pub own: Option<u16>,
    /// What a unit contributes; index 0 is always [`Feature::One`].
    pub features: Vec<Feature>,
    /// Pairs of features whose products are summed per arm: what effects need, ascending, then what adjusting them
    /// needs besides, ascending.
    pub products: Vec<(u16, u16)>,
    /// Where the second run of `products` begins. What a release adds stands behind what was there, so that rows
    /// stored before keep their meaning.
    adjusting: usize,
    /// Sums before the exposure of the events the definition names as covariates of every metric.
    covariates: Vec<Feature>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricFeatures {
    /// The outcome y; of a ratio the numerator.
    pub outcome: Feature,
    /// The denominator of a ratio.
    pub denominator: Option<Feature>,
    /// The same quantity before the exposure; none for ratios.
    pub pre: Option<Feature>,
    /// 1 if the user had any event of this metric before the exposure; none for ratios.
    pub pre_converted: Option<Feature>,
    /// What the outcome is adjusted by: `pre`, then the named covariates; empty for ratios.
    pub covariates: Vec<Feature>,
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
        let measured = events.len();
        let named = &definition.analysis.cuped.covariates;
        for name in named {
            if !events.iter().any(|e| e == name) {
                events.push(name.clone());
            }
        }
        let mut plan = Plan {
            experiment,
            version,
            variations: u16::try_from(definition.variations.len()).unwrap_or(u16::MAX),
            events,
            measured,
            own: None,
            features: vec![Feature::One],
            products: vec![(0, 0)],
            adjusting: 0,
            covariates: Vec::new(),
            window: definition.attribution.window_hours.map(|h| i64::from(h) * 3600 * SECOND),
            tolerance: i64::from(definition.attribution.tolerance_seconds) * SECOND,
            lookback: i64::from(definition.analysis.cuped.lookback_days) * 86_400 * SECOND,
            gap: i64::from(definition.analysis.cuped.gap_minutes) * 60 * SECOND,
            spike_limit: definition.spike_limit,
            crossovers: definition.crossovers,
        };
        let primary = definition.metrics.iter().find(|m| m.role == Some(Role::Primary));
        plan.own = primary.map(|m| plan.event_slot(m.event()));
        plan.covariates = named.iter().map(|name| Feature::PreSum(plan.event_slot(name))).collect();
        let effects = definition.metrics.iter().flat_map(|m| plan.effect_products(m)).collect();
        plan.keep(effects);
        plan.adjusting = plan.products.len();
        let adjusting = definition.metrics.iter().flat_map(|m| plan.adjusting_products(m)).collect();
        plan.keep(adjusting);
        plan
    }

    /// Index of an event name among [`Plan::events`]; `None` = no metric uses it.
    pub fn event_index(&self, name: &str) -> Option<usize> {
        self.events.iter().position(|e| e == name)
    }

    /// The features of a metric of the definition this plan was compiled from.
    pub fn metric(&self, m: &Metric) -> MetricFeatures {
        let e = self.event_slot(m.event());
        let (outcome, pre) = match (m.kind, m.cap) {
            (MetricKind::Proportion, _) => (Feature::Converted(e), Some(Feature::PreConverted(e))),
            (MetricKind::Mean, None) => (Feature::Sum(e), Some(Feature::PreSum(e))),
            (MetricKind::Mean, Some(cap)) => (Feature::CappedSum(e, cap), Some(Feature::PreSum(e))),
            (MetricKind::Count, None) => (Feature::Count(e), Some(Feature::PreCount(e))),
            (MetricKind::Count, Some(cap)) => (Feature::CappedCount(e, cap), Some(Feature::PreCount(e))),
            (MetricKind::Ratio, _) => (Feature::Sum(e), None),
        };
        let denominator = (m.kind == MetricKind::Ratio).then(|| {
            m.denominator.as_deref().map_or(Feature::Count(e), |name| Feature::Sum(self.event_slot(name)))
        });
        let named = self.covariates.iter().copied().filter(|named| Some(*named) != pre);
        MetricFeatures {
            outcome,
            denominator,
            pre,
            pre_converted: pre.map(|_| Feature::PreConverted(e)),
            covariates: pre.map_or_else(Vec::new, |pre| std::iter::once(pre).chain(named).collect()),
            converted: Feature::Converted(e),
            count: Feature::Count(e),
        }
    }

    /// Position of a product of two features in a moments vector.
    pub fn product_index(&self, a: Feature, b: Feature) -> Option<usize> {
        let at = |f| self.features.iter().position(|x| *x == f).and_then(|i| u16::try_from(i).ok());
        let pair = ordered(at(a)?, at(b)?);
        let (effects, adjusting) = self.products.split_at_checked(self.adjusting)?;
        let behind = || adjusting.binary_search(&pair).ok().map(|i| i + self.adjusting);
        effects.binary_search(&pair).ok().or_else(behind)
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

    fn effect_products(&self, m: &Metric) -> Vec<(Feature, Feature)> {
        let f = self.metric(m);
        let y = f.outcome;
        let mut pairs = vec![(Feature::One, y), (y, y), (Feature::One, f.converted), (Feature::One, f.count)];
        for other in [f.pre, f.denominator].into_iter().flatten() {
            pairs.extend([(Feature::One, other), (other, other), (y, other)]);
        }
        pairs
    }

    fn adjusting_products(&self, m: &Metric) -> Vec<(Feature, Feature)> {
        let f = self.metric(m);
        let mut pairs: Vec<_> = f.pre_converted.map(|had| (Feature::One, had)).into_iter().collect();
        for (i, &x) in f.covariates.iter().enumerate() {
            pairs.extend([(Feature::One, x), (f.outcome, x)]);
            pairs.extend(f.covariates.iter().skip(i).map(|&other| (x, other)));
        }
        pairs
    }

    /// Adds a run of products that are not kept yet, ascending.
    fn keep(&mut self, pairs: Vec<(Feature, Feature)>) {
        let mut run: Vec<(u16, u16)> =
            pairs.into_iter().map(|(a, b)| ordered(self.feature(a), self.feature(b))).collect();
        run.retain(|pair| !self.products.contains(pair));
        run.sort_unstable();
        run.dedup();
        self.products.extend(run);
    }

    fn event_slot(&self, name: &str) -> u16 {
        u16::try_from(self.event_index(name).unwrap_or_default()).unwrap_or_default()
    }

    fn feature(&mut self, f: Feature) -> u16 {
        let at = self.features.iter().position(|x| *x == f).unwrap_or_else(|| {
            self.features.push(f);
            self.features.len() - 1
        });
        // At most 1 + 9 x 50 + 5 features: 50 metrics and 5 covariates are the definition's limits.
        u16::try_from(at).unwrap_or(u16::MAX)
    }
}

fn ordered(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}
