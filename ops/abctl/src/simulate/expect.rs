//! Stored moments against the oracle, exactly.

use super::oracle::ArmTruth;
use domain::definition::Definition;
use domain::plan::Feature;
use domain::{Moments, Plan};
use ethnum::I256;

/// What of an arm's moments is not as expected; empty = everything is.
pub fn differences(definition: &Definition, plan: &Plan, moments: &Moments, truth: &ArmTruth) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, stored: I256, expected: I256| {
        if stored != expected {
            found.push(format!("{what}: stored {stored}, expected {expected}"));
        }
    };
    let heads = moments.heads;
    for (what, stored, expected) in [
        ("enrolled", heads.enrolled, truth.enrolled),
        ("crossovers", heads.crossovers, truth.crossovers),
        ("earlier_seen", heads.earlier_seen, truth.earlier_seen),
        ("excluded", heads.excluded, truth.excluded),
        ("filtered", heads.filtered, 0),
        ("before", heads.before, truth.before),
        ("after_window", heads.after_window, truth.after_window),
        ("after_exposure", heads.after_exposure, truth.told_late),
    ] {
        check(what, stored.into(), expected.into());
    }
    check("users", moments.contributing(plan), truth.users.into());
    for (metric, truth) in definition.metrics.iter().zip(&truth.metrics) {
        let f = plan.metric(metric);
        let sum = |a, b| moments.product(plan, a, b);
        let name = |what: &str| format!("{} {what}", metric.key);
        check(&name("converters"), sum(Feature::One, f.converted), truth.converters.into());
        check(&name("events"), sum(Feature::One, f.count), truth.events.into());
        check(&name("sum"), sum(Feature::One, f.outcome), truth.y.into());
        check(&name("sum of squares"), sum(f.outcome, f.outcome), truth.y_squared.into());
        if let Some(pre) = f.pre {
            check(&name("sum before"), sum(Feature::One, pre), truth.pre.into());
            check(&name("product with before"), sum(f.outcome, pre), truth.y_pre.into());
        }
    }
    found
}
