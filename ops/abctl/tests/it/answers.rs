//! The analyzer's answers against the oracle: a right one has no differences, and no wrong number gets through.

use crate::pipeline::{play, plot};
use abctl::results::model::LiveStats;
use abctl::simulate::answers::differences;
use abctl::simulate::oracle::ArmTruth;
use abctl::simulate::script::Habits;
use abctl::simulate::world::{Experiment, Kind, World};
use serde_json::{Value, json};

/// Live-stats as they must be.
fn right(experiment: &Experiment, truths: &[ArmTruth]) -> Value {
    let arms: Vec<Value> = experiment
        .arms
        .iter()
        .zip(truths)
        .map(|(arm, t)| {
            json!({"key": arm.key, "weight": arm.weight, "users": t.enrolled, "data_quality": {
                "crossovers": t.crossovers, "earlier_exposure_seen": t.earlier_seen, "filtered": 0,
                "excluded": t.excluded, "before_exposure": t.before, "after_window": t.after_window}})
        })
        .collect();
    let metrics: Vec<Value> = experiment
        .metrics
        .iter()
        .enumerate()
        .map(|(i, metric)| {
            let arms: Vec<Value> = truths
                .iter()
                .map(|t| {
                    let truth = &t.metrics[i];
                    let exact = matches!(metric.kind, Kind::Mean | Kind::Ratio);
                    let (sum, y) = if exact {
                        let millionths = domain::Decimal(i64::try_from(truth.y).unwrap());
                        (millionths.to_string(), truth.y as f64 / 1e6)
                    } else {
                        (truth.y.to_string(), truth.y as f64)
                    };
                    let per = if metric.kind == Kind::Ratio { truth.events } else { t.users };
                    json!({"users": t.users, "converters": truth.converters, "conversions": truth.events,
                        "sum": sum, "mean": y / per as f64})
                })
                .collect();
            json!({"key": metric.key, "type": "mean", "role": null, "direction": "up", "arms": arms, "comparisons": []})
        })
        .collect();
    json!({"as_of": null, "alpha": 0.05, "users": 0, "srm": {"status": "ok", "p_value": 0.5, "mismatch": false},
        "arms": arms, "metrics": metrics})
}

fn read(stats: &Value) -> LiveStats {
    serde_json::from_str(&stats.to_string()).unwrap()
}

#[test]
fn every_wrong_number_is_found_and_no_right_one() {
    let plot = plot(World::varied("x-"), Habits::varied(), 13);
    let (_, oracle) = play(&plot, 1, 6_000, 97);
    for (experiment, truths) in plot.world.experiments.iter().zip(&oracle.arms) {
        let right = right(experiment, truths);
        assert_eq!(differences(experiment, &read(&right), truths), Vec::<String>::new());
        let wrong = |pointer: &str, alter: &dyn Fn(&Value) -> Value| {
            let mut stats = right.clone();
            let place = stats.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
            *place = alter(place);
            let found = differences(experiment, &read(&stats), truths);
            assert_eq!(found.len(), 1, "{} {pointer}: {found:?}", experiment.key);
        };
        let one_more = |n: &Value| (n.as_i64().unwrap() + 1).into();
        for arm in 0..truths.len() {
            let quality =
                ["crossovers", "earlier_exposure_seen", "excluded", "before_exposure", "after_window"];
            wrong(&format!("/arms/{arm}/users"), &one_more);
            quality.iter().for_each(|q| wrong(&format!("/arms/{arm}/data_quality/{q}"), &one_more));
            for metric in 0..experiment.metrics.len() {
                let at = |field: &str| format!("/metrics/{metric}/arms/{arm}/{field}");
                ["users", "converters", "conversions"].iter().for_each(|f| wrong(&at(f), &one_more));
                ["users", "converters", "conversions"].iter().for_each(|f| wrong(&at(f), &|_| Value::Null));
                wrong(&at("sum"), &|sum| format!("{}1", sum.as_str().unwrap()).into());
                wrong(&at("mean"), &|mean| (mean.as_f64().unwrap() * 1.000_001).into());
                wrong(&at("mean"), &|_| Value::Null);
            }
        }
        wrong("/srm/mismatch", &|_| true.into());
        wrong("/srm/status", &|_| "undefined".into());
        let mut short = right.clone();
        short["metrics"].as_array_mut().unwrap().pop();
        assert!(differences(experiment, &read(&short), truths)[0].contains("are missing"));
    }
}
