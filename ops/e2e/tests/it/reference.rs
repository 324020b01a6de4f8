//! The reference event set through the real system: what it must roll up to was computed elsewhere.

use crate::support::{applied, arm, assert_verified};
use domain::definition::{Definition, Metric};
use domain::plan::Feature;
use e2e::Deployment;
use ethnum::I256;
use serde_json::{Value, json};

const EVENTS: &str = include_str!("../data/events_small.ndjson");
const EXPECTED: &str = include_str!("../data/expected.json");

fn definition(key: &str, weights: &[f64], events: &[&str]) -> Value {
    let variations: Vec<Value> =
        weights.iter().enumerate().map(|(i, w)| json!({"key": format!("arm{i}"), "weight": w})).collect();
    let metrics: Vec<Value> = events
        .iter()
        .flat_map(|e| {
            ["proportion", "mean", "count"].map(|t| json!({"key": format!("{e}_{t}"), "event": e, "type": t}))
        })
        .collect();
    json!({"key": key, "variations": variations, "metrics": metrics})
}

/// A decimal as it is written, times 10^12 (what products of two sums are kept in).
fn exact(text: &str) -> I256 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

async fn the_reference_events_become_the_reference_numbers_and_a_replay_records_nothing(
    system: &dyn Deployment,
) {
    let expected: Value = serde_json::from_str(EXPECTED).unwrap();
    let definitions = [
        definition("exp_checkout", &[0.5, 0.25, 0.25], &["purchase", "signup"]),
        definition("exp_banner", &[0.5, 0.5], &["purchase"]),
    ];
    for definition in &definitions {
        system.experiment(definition.clone()).await.unwrap();
    }
    let client = system.ingest();
    let lines: Vec<&str> = EVENTS.lines().collect();
    let send_file = async || {
        let mut sums = [0u64; 4];
        for chunk in lines.chunks(1_000) {
            let headers = [("content-type", "application/x-ndjson")];
            let answer = applied(&client, "/api/v1/events", &headers, chunk.join("\n")).await;
            for (sum, name) in sums.iter_mut().zip(["received", "recorded", "deduplicated", "conflicts"]) {
                *sum += answer[name].as_u64().unwrap();
            }
        }
        sums
    };

    let [received, recorded, deduplicated, conflicts] = send_file().await;
    let enrolled: u64 = ["exp_checkout", "exp_banner"]
        .iter()
        .flat_map(|e| expected["experiments"][e]["exposed_users"].as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    let conversions = 3_444 - 99;
    assert_eq!((received, recorded), (9_069, enrolled + conversions));
    assert_eq!(deduplicated, received - recorded);
    assert!(conflicts >= 16, "the set has 16 repeated keys with another value, found {conflicts}");
    for definition in &definitions {
        compare(system, definition, &expected).await;
    }
    assert_verified(system, &["exp_checkout", "exp_banner"]).await;

    let replayed = send_file().await;
    assert_eq!(replayed[..3], [9_069, 0, 9_069]);
    for definition in &definitions {
        compare(system, definition, &expected).await;
    }
    assert_verified(system, &["exp_checkout", "exp_banner"]).await;
}

async fn compare(system: &dyn Deployment, definition: &Value, expected: &Value) {
    let key = definition["key"].as_str().unwrap();
    let expected = &expected["experiments"][key];
    let parsed: Definition = serde_json::from_value(definition.clone()).unwrap();
    let metric = |name: String| -> &Metric { parsed.metrics.iter().find(|m| m.key == name).unwrap() };
    let mut crossovers = 0;
    for (variation, users) in (0..).zip(expected["exposed_users"].as_array().unwrap()) {
        let (plan, moments) = arm(system, key, variation).await;
        assert_eq!(moments.heads.enrolled, users.as_i64().unwrap(), "{key} {variation}");
        crossovers += moments.heads.crossovers;
        for (event, numbers) in expected["metrics"].as_object().unwrap() {
            let numbers = &numbers["arms"][usize::try_from(variation).unwrap()];
            let feature = |kind: &str| plan.metric(metric(format!("{event}_{kind}"))).outcome;
            let (converted, sum, count) = (feature("proportion"), feature("mean"), feature("count"));
            let whole = |name: &str| I256::from(numbers[name].as_i64().unwrap());
            let text = |name: &str| exact(numbers[name].as_str().unwrap());
            let million = I256::new(1_000_000);
            for (what, stored, expected) in [
                ("n", moments.contributing(&plan), whole("n")),
                ("converters", moments.product(&plan, Feature::One, converted), whole("converters")),
                ("conversions", moments.product(&plan, Feature::One, count), whole("conversions")),
                ("squares of counts", moments.product(&plan, count, count), whole("count_sum_squares")),
                ("sum", moments.product(&plan, Feature::One, sum) * million, text("sum_exact")),
                ("sum of squares", moments.product(&plan, sum, sum), text("sum_squares_exact")),
            ] {
                assert_eq!(stored, expected, "{key} arm {variation} {event}: {what}");
            }
        }
    }
    assert_eq!(crossovers, expected["multiple_exposure_users"].as_i64().unwrap(), "{key}");
}

on_both!(the_reference_events_become_the_reference_numbers_and_a_replay_records_nothing);
