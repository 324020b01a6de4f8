//! The reference event set through the real system: what it must roll up to was computed elsewhere.

use crate::calendar::{Calendar, answers_of, assert_alike, first_day};
use crate::rebuilding::{rebuild, served};
use crate::support::{applied, arm, assert_verified};
use domain::Day;
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
    let analysis = json!({"prior": {"stddev": 0.3}});
    json!({"key": key, "variations": variations, "metrics": metrics, "analysis": analysis})
}

/// A decimal as it is written, times 10^12 (what products of two sums are kept in).
fn exact(text: &str) -> I256 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

async fn the_reference_events_become_the_reference_numbers_and_a_replay_records_nothing(
    system: &dyn Calendar,
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
    let chunks = lines.chunks(1_000);
    // A day for each thousand events.
    let first = first_day(system, "exp_checkout").await;
    let days: Vec<Day> = (first.0..).take(chunks.len()).map(Day).collect();
    let send_file = async |days: &[Day]| {
        let mut sums = [0u64; 4];
        for (at, chunk) in chunks.clone().enumerate() {
            if let Some(day) = days.get(at) {
                system.set_day(*day).await;
            }
            let headers = [("content-type", "application/x-ndjson")];
            let answer = applied(&client, "/api/v1/events", &headers, chunk.join("\n")).await;
            for (sum, name) in sums.iter_mut().zip(["received", "recorded", "deduplicated", "conflicts"]) {
                *sum += answer[name].as_u64().unwrap();
            }
        }
        sums
    };

    let [received, recorded, deduplicated, conflicts] = send_file(&days).await;
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
        assert_eq!(answers(system, definition, &expected).await, series(system, definition, &expected).await);
    }
    skipped(system, &expected).await;
    assert_verified(system, &["exp_checkout", "exp_banner"]).await;
    for definition in &definitions {
        let key = definition["key"].as_str().unwrap();
        let before = answers_of(system, key, &days).await;
        let users: Vec<_> = before.iter().step_by(3).map(|(_, answer)| answer["users"].as_u64()).collect();
        assert!(users.is_sorted() && users[0] < users[days.len() - 1], "{users:?}");
        rebuild(system, key).await;
        served(system, key, 2).await;
        assert_alike(&answers_of(system, key, &days).await, &before);
    }

    let replayed = send_file(&[]).await;
    assert_eq!(replayed[..3], [9_069, 0, 9_069]);
    for definition in &definitions {
        compare(system, definition, &expected).await;
    }
    assert_verified(system, &["exp_checkout", "exp_banner"]).await;
}

/// What of the file counts nowhere, and what counts.
async fn skipped(system: &dyn Deployment, expected: &Value) {
    let (mut skipped, mut counted) = ([0, 0], 0);
    for (key, experiment) in expected["experiments"].as_object().unwrap() {
        let live = read(system, &format!("/api/v1/experiments/{key}/live-stats")).await;
        skipped[0] += live["data_quality"]["never_exposed"].as_u64().unwrap();
        let arms = live["arms"].as_array().unwrap();
        let sum =
            |name: &str| arms.iter().map(|arm| arm["data_quality"][name].as_u64().unwrap()).sum::<u64>();
        skipped[1] += sum("before_exposure");
        assert_eq!(sum("crossovers"), experiment["multiple_exposure_users"], "{key}");
        let users: Vec<&Value> = arms.iter().map(|arm| &arm["users"]).collect();
        assert_eq!(
            users,
            experiment["exposed_users"].as_array().unwrap().iter().collect::<Vec<_>>(),
            "{key}"
        );
        assert_eq!(live["srm"]["mismatch"], experiment["srm"]["mismatch"], "{key}");
        let metrics = live["metrics"].as_array().unwrap().iter().filter(|metric| metric["type"] == "count");
        let arms = metrics.flat_map(|metric| metric["arms"].as_array().unwrap());
        counted += arms.map(|arm| arm["conversions"].as_u64().unwrap()).sum::<u64>();
    }
    let totals = &expected["totals"];
    let expected = ["never_exposed", "before_exposure"].map(|name| &totals["conversions_skipped"][name]);
    assert_eq!(skipped.map(Value::from).each_ref(), expected);
    assert_eq!(counted, totals["conversions_counted"]);
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

/// Every number of live-stats that the set has an expectation for. Returns the exact sums of purchases.
async fn answers(system: &dyn Deployment, definition: &Value, expected: &Value) -> Vec<Value> {
    let (key, tolerance) = (definition["key"].as_str().unwrap(), &expected["tolerance"]);
    let expected = &expected["experiments"][key];
    let got = read(system, &format!("/api/v1/experiments/{key}/live-stats")).await;
    let metric = |name: String| -> Value {
        got["metrics"].as_array().unwrap().iter().find(|m| m["key"] == name).unwrap().clone()
    };
    for field in ["chi_square", "p_value"] {
        close(&format!("{key} srm"), tolerance, field, &got["srm"][field], &expected["srm"][field]);
    }
    for (event, numbers) in expected["metrics"].as_object().unwrap() {
        let [rate, value, count] =
            ["proportion", "mean", "count"].map(|kind| metric(format!("{event}_{kind}")));
        for (i, arm) in numbers["arms"].as_array().unwrap().iter().enumerate() {
            for (ours, theirs) in
                [("users", "n"), ("converters", "converters"), ("conversions", "conversions")]
            {
                assert_eq!(value["arms"][i][ours], arm[theirs], "{key} {event} {i} {ours}");
            }
            let sums = |of: &Value, name: &str| exact(of["arms"][i][name].as_str().unwrap());
            assert_eq!(sums(&value, "sum"), exact(arm["sum_exact"].as_str().unwrap()));
            assert_eq!(sums(&value, "sum_squares"), exact(arm["sum_squares_exact"].as_str().unwrap()));
            assert_eq!(sums(&count, "sum_squares"), exact(&arm["count_sum_squares"].to_string()));
        }
        for comparison in numbers["comparisons"].as_array().unwrap() {
            let treatment = usize::try_from(comparison["treatment_index"].as_u64().unwrap()).unwrap();
            for (outcome, metric) in [("conversion_rate", &rate), ("value_per_user", &value)] {
                let ours = &metric["comparisons"][treatment - 1];
                let Some(readings) = comparison[outcome].as_object() else { continue };
                for (name, reading) in readings {
                    let ours = match name.as_str() {
                        "absolute" | "relative" => &ours[name],
                        "sequential_5000_relative" => &ours["sequential"]["relative"],
                        "bayes_prior_0_0.3_relative" => &ours["bayesian"]["relative"],
                        other => panic!("the reading {other} is not known"),
                    };
                    for (field, expected) in reading.as_object().unwrap() {
                        let what = format!("{key} {event} {treatment} {outcome} {name}");
                        close(&what, tolerance, field, &ours[field.as_str()], expected);
                    }
                }
            }
        }
    }
    metric("purchase_mean".into())["arms"].as_array().unwrap().iter().map(sums_of).collect()
}

/// The daily series by day of occurrence. Returns the sums of purchases at its end.
async fn series(system: &dyn Deployment, definition: &Value, expected: &Value) -> Vec<Value> {
    let key = definition["key"].as_str().unwrap();
    let days = expected["experiments"][key]["metrics"]["purchase"]["daily_cumulative_by_occurrence"].clone();
    let days = days.as_array().unwrap();
    let path = format!("/api/v1/experiments/{key}/timeseries?day_basis=occurred");
    let all = read(system, &path).await;
    let (first, last) = (days[0]["day"].as_str().unwrap(), days.last().unwrap()["day"].as_str().unwrap());
    let got = read(system, &format!("{path}&from={first}&to={last}")).await;
    let purchases = |series: &Value| -> Value {
        series["metrics"].as_array().unwrap().iter().find(|m| m["key"] == "purchase_mean").unwrap().clone()
    };
    let points = purchases(&got)["points"].as_array().unwrap().clone();
    assert_eq!(points.len(), days.len());
    for (point, expected) in points.iter().zip(days) {
        assert_eq!(point["day"], expected["day"], "{key}");
        for (i, expected) in expected["arms"].as_array().unwrap().iter().enumerate() {
            let arm = &point["arms"][i];
            assert_eq!(
                (&arm["users"], &arm["converters"]),
                (&expected["n"], &expected["converters"]),
                "{key} {}",
                point["day"]
            );
            // Printed by a float: two and four decimals are exact in it.
            for name in ["sum", "sum_squares"] {
                assert_eq!(
                    exact(arm[name].as_str().unwrap()),
                    exact(&expected[name].to_string()),
                    "{key} {}",
                    point["day"]
                );
            }
        }
    }
    purchases(&all)["points"].as_array().unwrap().last().unwrap()["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(sums_of)
        .collect()
}

fn sums_of(arm: &Value) -> Value {
    json!([arm["users"], arm["converters"], arm["conversions"], arm["sum"], arm["sum_squares"]])
}

async fn read(system: &dyn Deployment, path: &str) -> Value {
    let answer = system.admin().get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// Numbers within the set's tolerance, all else exactly.
fn close(what: &str, tolerance: &Value, field: &str, got: &Value, expected: &Value) {
    match expected {
        Value::Number(expected) => {
            let allowed = tolerance.get(field).unwrap_or(&tolerance["stats"]);
            let (got, expected) = (got.as_f64().unwrap_or(f64::NAN), expected.as_f64().unwrap());
            let allowed =
                allowed["abs"].as_f64().unwrap().max(allowed["rel"].as_f64().unwrap() * expected.abs());
            assert!((got - expected).abs() <= allowed, "{what} {field}: got {got:e}, expected {expected:e}");
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                close(what, tolerance, field, &got[i], item);
            }
        }
        other => assert_eq!(got, other, "{what} {field}"),
    }
}

on_both!(the_reference_events_become_the_reference_numbers_and_a_replay_records_nothing);
