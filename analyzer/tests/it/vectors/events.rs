//! The statistics of the reference events, from the sums they roll up to.

use super::inputs::{alpha, counts, floats, mean_arm, measure, proportion_arm};
use super::{compare, load, srm};
use analyzer::stats::arms::Pair;
use analyzer::stats::bayes::{Better, Prior, posterior};
use analyzer::stats::sequential::{sequential, tuned_to};
use analyzer::stats::srm::Srm;
use analyzer::stats::{Alpha, effect::effect, welch::welch};
use serde_json::{Value, json};

/// What each reading of the reference gives.
fn reading(name: &str, pair: &Pair) -> Value {
    let level = alpha(&json!({"alpha": 0.05}));
    let of = |kind: &str| effect(pair, measure(&kind.into())).unwrap();
    match name {
        "relative" | "absolute" => serde_json::to_value(welch(&of(name), level).unwrap()).unwrap(),
        "sequential_5000_relative" => {
            serde_json::to_value(sequential(&of("relative"), tuned_to(5_000.0, level), level).unwrap())
                .unwrap()
        }
        "bayes_prior_0_0.3_relative" => {
            let prior = Some(Prior { mean: 0.0, stddev: 0.3 });
            let posterior = posterior(&of("relative"), prior, Better::Higher, level).unwrap();
            let mut got = serde_json::to_value(posterior).unwrap();
            got["status"] = "ok".into();
            got
        }
        other => panic!("the reading {other} is not known"),
    }
}

#[test]
fn comparisons_of_the_reference_events_agree() {
    let expected = load(include_str!("../../data/expected.json"));
    let tolerance = json!({
        "default": expected["tolerance"]["stats"], "p_value": expected["tolerance"]["p_value"]
    });
    let mut compared = 0;
    for (name, experiment) in expected["experiments"].as_object().unwrap() {
        let wanted = &experiment["srm"];
        let arms = srm::arms(&counts(&experiment["exposed_users"]), &floats(&wanted["weights"]));
        let Srm::Tested(test) = analyzer::stats::srm::srm(&[arms], Alpha::new(0.001).unwrap()).unwrap()
        else {
            panic!("{name}")
        };
        let got = serde_json::to_value(&test).unwrap();
        for field in ["chi_square", "p_value"] {
            compare(name, &tolerance, field, &got[field], &wanted[field]);
        }
        for (metric, rollup) in experiment["metrics"].as_object().unwrap() {
            for comparison in rollup["comparisons"].as_array().unwrap() {
                let treatment: usize = comparison["treatment_index"].as_u64().unwrap().try_into().unwrap();
                let (a, b) = (&rollup["arms"][0], &rollup["arms"][treatment]);
                let rate = |arm| proportion_arm(arm, "converters");
                let mean = |arm| mean_arm(arm, "sum_exact", "sum_squares_exact");
                for (outcome, pair) in [
                    ("conversion_rate", Pair::of_proportions(&rate(a), &rate(b)).unwrap()),
                    ("value_per_user", Pair::of_means(&mean(a), &mean(b)).unwrap()),
                ] {
                    let Some(readings) = comparison.get(outcome).and_then(Value::as_object) else { continue };
                    for (kind, wanted) in readings {
                        let what = format!("{name} {metric} {treatment} {outcome} {kind}");
                        let got = reading(kind, &pair);
                        for (field, wanted) in wanted.as_object().unwrap() {
                            compare(&what, &tolerance, field, &got[field.as_str()], wanted);
                        }
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 32);
}
