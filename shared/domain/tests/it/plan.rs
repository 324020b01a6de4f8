//! The compiled plan. The order of events, features and products is part of the stored encodings.

use crate::definition;
use domain::definition::Definition;
use domain::plan::{Feature, Placement};
use domain::{Decimal, ExperimentId, Plan, Timestamp};
use proptest::prelude::*;
use serde_json::json;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

#[test]
fn the_order_of_a_plan_is_frozen() {
    let d = definition::read(json!({
        "key": "all-kinds",
        "variations": [{"key": "a"}, {"key": "b"}, {"key": "c"}],
        "metrics": [
            {"key": "signup", "type": "proportion"},
            {"key": "revenue", "event": "purchase", "type": "mean"},
            {"key": "revenue-capped", "event": "purchase", "type": "mean", "cap": "100"},
            {"key": "purchase", "type": "count"},
            {"key": "basket", "type": "ratio", "numerator": "purchase"},
            {"key": "margin", "type": "ratio", "numerator": "profit", "denominator": "purchase"},
        ],
        "spike_limit": 9,
        "crossovers": "exclude",
        "attribution": {"window_hours": 48, "tolerance_seconds": 5},
        "analysis": {"cuped": {"lookback_days": 2, "gap_minutes": 3}},
    }));
    let plan = Plan::new(ExperimentId(7), 3, &d);
    let hundred = Decimal(100_000_000);
    assert_eq!((plan.experiment, plan.version, plan.variations), (ExperimentId(7), 3, 3));
    assert_eq!(plan.events, ["signup", "purchase", "profit"]);
    let features = [
        Feature::One,
        Feature::Converted(0),
        Feature::Count(0),
        Feature::PreConverted(0),
        Feature::Sum(1),
        Feature::Converted(1),
        Feature::Count(1),
        Feature::PreSum(1),
        Feature::CappedSum(1, hundred),
        Feature::PreCount(1),
        Feature::Sum(2),
        Feature::Converted(2),
        Feature::Count(2),
        Feature::PreConverted(1),
    ];
    assert_eq!(plan.features, features);
    let products = [
        // With 1: the sums.
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (0, 5),
        (0, 6),
        (0, 7),
        (0, 8),
        (0, 9),
        (0, 10),
        (0, 11),
        (0, 12),
        (1, 1),
        (1, 3),
        (3, 3),
        (4, 4),
        (4, 6),
        (4, 7),
        (4, 10),
        (6, 6),
        (6, 9),
        (7, 7),
        (7, 8),
        (8, 8),
        (9, 9),
        (10, 10),
        // Behind them what adjusting needs besides.
        (0, 13),
    ];
    assert_eq!(plan.products, products);
    assert_eq!((plan.window, plan.tolerance), (Some(48 * HOUR), 5_000_000));
    assert_eq!((plan.lookback, plan.gap), (48 * HOUR, 3 * MINUTE));
    assert_eq!(Plan::new(ExperimentId(7), 3, &d), plan);
}

#[test]
fn every_metric_finds_its_products() {
    let d = definition::all_kinds();
    let plan = Plan::new(ExperimentId(1), 1, &d);
    for m in &d.metrics {
        let f = plan.metric(m);
        for (a, b) in [
            (f.outcome, Feature::One),
            (f.outcome, f.outcome),
            (Feature::One, f.converted),
            (f.count, Feature::One),
        ] {
            assert!(plan.product_index(a, b).is_some(), "{}: {a:?} {b:?}", m.key);
        }
        assert_eq!((f.pre.is_some(), f.pre.is_some()), (f.pre_converted.is_some(), !f.covariates.is_empty()));
        if let Some(had) = f.pre_converted {
            assert!(plan.product_index(had, Feature::One).is_some(), "{}: {had:?}", m.key);
        }
        for other in [f.denominator, f.pre].into_iter().flatten() {
            for (a, b) in [(other, Feature::One), (other, other), (other, f.outcome), (f.outcome, other)] {
                assert!(plan.product_index(a, b).is_some(), "{}: {a:?} {b:?}", m.key);
            }
        }
    }
    assert_eq!(plan.product_index(Feature::One, Feature::Sum(99)), None);
    assert_eq!((plan.event_index("purchase"), plan.event_index("nothing")), (Some(1), None));
}

/// Two named covariates: one an event that no metric uses, one a metric's own.
#[test]
fn covariates_are_crossed_with_every_metric_and_each_other() {
    let d = definition::read(json!({
        "key": "adjusted",
        "variations": [{"key": "a"}, {"key": "b"}],
        "metrics": [
            {"key": "signup", "type": "proportion"},
            {"key": "revenue", "event": "purchase", "type": "mean", "cap": "10"},
            {"key": "basket", "type": "ratio", "numerator": "purchase"},
        ],
        "analysis": {"cuped": {"covariates": ["visit", "purchase"]}},
    }));
    let plan = Plan::new(ExperimentId(1), 1, &d);
    assert_eq!(plan.events, ["signup", "purchase", "visit"]);
    let (visits, purchases) = (Feature::PreSum(2), Feature::PreSum(1));
    let of = |i: usize| plan.metric(&d.metrics[i]);
    assert_eq!(of(0).covariates, [Feature::PreConverted(0), visits, purchases]);
    // Its own window is not a covariate twice.
    assert_eq!(of(1).covariates, [purchases, visits]);
    assert_eq!((of(2).covariates, of(2).pre_converted), (vec![], None));
    for f in [of(0), of(1)] {
        for x in &f.covariates {
            for other in f.covariates.iter().chain([&Feature::One, &f.outcome]) {
                assert!(plan.product_index(*x, *other).is_some(), "{x:?} {other:?}");
            }
        }
    }
    // Without covariates the sums that effects need are the same, in the same places.
    let plain = Plan::new(ExperimentId(1), 1, &{
        let mut plain = d.clone();
        plain.analysis.cuped.covariates.clear();
        plain
    });
    assert!(plan.features.starts_with(&plain.features[..plain.features.len() - 1]));
    let effects: Vec<_> =
        plain.products.iter().filter(|p| usize::from(p.1) < plain.features.len() - 1).collect();
    assert_eq!(plan.products.iter().take(effects.len()).collect::<Vec<_>>(), effects);
}

fn windowed(window_hours: Option<u32>, tolerance: u32, lookback_days: u32, gap_minutes: u32) -> Plan {
    let mut d: Definition = definition::all_kinds();
    d.attribution.window_hours = window_hours;
    d.attribution.tolerance_seconds = tolerance;
    d.analysis.cuped.lookback_days = lookback_days;
    d.analysis.cuped.gap_minutes = gap_minutes;
    Plan::new(ExperimentId(1), 1, &d)
}

#[test]
fn windows_are_half_open() {
    let plan = windowed(Some(24), 10, 14, 60);
    let second = 1_000_000;
    let table = [
        (-14 * 24 * HOUR - 1, Placement::Before),
        (-14 * 24 * HOUR, Placement::Pre),
        (-HOUR - 1, Placement::Pre),
        (-HOUR, Placement::Before),
        (-10 * second - 1, Placement::Before),
        (-10 * second, Placement::Counted),
        (0, Placement::Counted),
        (24 * HOUR - 1, Placement::Counted),
        (24 * HOUR, Placement::AfterWindow),
    ];
    let exposed = Timestamp(1_772_438_422_239_000);
    for (after, placement) in table {
        assert_eq!(plan.place(exposed, exposed.plus(after)), placement, "{after}");
    }
    assert_eq!(windowed(None, 0, 14, 60).place(exposed, Timestamp(i64::MAX)), Placement::Counted);
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    /// The same, in arithmetic that cannot overflow, for every instant the gateway accepts.
    #[test]
    fn placement_agrees_with_wide_arithmetic(
        window in proptest::option::of(1u32..=87_600),
        (tolerance, lookback, gap) in (0u32..=86_400, 0u32..=366, 0u32..=10_080),
        exposed in -62_135_596_800_000_000i64..253_402_207_200_000_000,
        after in prop_oneof![-40_000_000_000_000i64..400_000_000_000_000, -4_000_000_000i64..4_000_000_000, -3i64..3],
    ) {
        let plan = windowed(window, tolerance, lookback, gap);
        let (from, at) = (i128::from(exposed), i128::from(exposed) + i128::from(after));
        let second = 1_000_000i128;
        let expected = if at >= from - i128::from(tolerance) * second {
            match window {
                Some(w) if at >= from + i128::from(w) * 3600 * second => Placement::AfterWindow,
                _ => Placement::Counted,
            }
        } else if from - i128::from(lookback) * 86_400 * second <= at && at < from - i128::from(gap) * 60 * second {
            Placement::Pre
        } else {
            Placement::Before
        };
        prop_assert_eq!(plan.place(Timestamp(exposed), Timestamp(exposed + after)), expected);
    }

    #[test]
    fn placement_never_overflows(exposed: i64, at: i64) {
        for plan in [windowed(Some(87_600), 86_400, 366, 10_080), windowed(None, 0, 0, 0)] {
            for (exposed, at) in [(exposed, at), (i64::MIN, at), (i64::MAX, at), (exposed, i64::MIN), (exposed, i64::MAX)] {
                let _ = plan.place(Timestamp(exposed), Timestamp(at));
            }
        }
    }
}
