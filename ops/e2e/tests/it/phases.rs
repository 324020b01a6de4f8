//! Weights and coverage that change while users come: each period is checked by the weights it had.

use crate::support::{applied, assert_verified};
use e2e::Deployment;
use serde_json::{Value, json};

const KEY: &str = "phased";

async fn expose(system: &dyn Deployment, period: &str, users: [u32; 2]) {
    let exposures = (0..2u32).flat_map(|arm| {
        (0..users[arm as usize])
            .map(move |i| json!({"user_id": format!("{period}-{arm}-{i}"), "variation_index": arm}))
    });
    let body = json!({"exposures": exposures.collect::<Vec<_>>()}).to_string();
    applied(&system.ingest(), &format!("/api/v1/experiments/{KEY}/exposures"), &[], body).await;
}

async fn change(system: &dyn Deployment, change: Value) {
    let path = format!("/api/v1/experiments/{KEY}");
    let json = [("content-type", "application/json")];
    let answer = system.admin().request("PATCH", &path, &json, change.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn live(system: &dyn Deployment) -> Value {
    let path = format!("/api/v1/experiments/{KEY}/live-stats");
    system.admin().get(&path).await.unwrap().json().unwrap()
}

/// Of one period: the sum over arms of (observed - expected) squared over expected.
fn chi_square(users: [u32; 2], weights: [f64; 2]) -> f64 {
    let all: f64 = users.iter().map(|n| f64::from(*n)).sum();
    let whole: f64 = weights.iter().sum();
    users
        .iter()
        .zip(weights)
        .map(|(n, weight)| {
            let expected = all * weight / whole;
            (f64::from(*n) - expected).powi(2) / expected
        })
        .sum()
}

/// (chi-square, degrees of freedom, mismatch)
fn srm(answer: &Value) -> (f64, u64, bool) {
    let srm = &answer["srm"];
    assert_eq!(srm["status"], "ok", "{srm}");
    (srm["chi_square"].as_f64().unwrap(), srm["dof"].as_u64().unwrap(), srm["mismatch"].as_bool().unwrap())
}

async fn each_period_is_checked_by_its_own_weights(system: &dyn Deployment) {
    let variations =
        |control: f64| json!([{"key": "control", "weight": control}, {"key": "treatment", "weight": 1}]);
    let definition = json!({"key": KEY, "variations": variations(1.0), "coverage": 0.5,
        "metrics": [{"key": "purchase", "type": "proportion"}]});
    system.experiment(definition).await.unwrap();
    let (even, nine, wider) = ([103, 97], [905, 95], [446, 54]);
    expose(system, "even", even).await;
    let expected = chi_square(even, [1.0, 1.0]);
    let (found, dof, mismatch) = srm(&live(system).await);
    assert!((found - expected).abs() < 1e-9 && dof == 1 && !mismatch, "{found} is not {expected}");

    change(system, json!({"variations": variations(9.0)})).await;
    expose(system, "nine", nine).await;
    // Who came before comes again: still of the first period.
    expose(system, "even", even).await;
    let expected = expected + chi_square(nine, [9.0, 1.0]);
    let (found, dof, mismatch) = srm(&live(system).await);
    assert!((found - expected).abs() < 1e-9 && dof == 2 && !mismatch, "{found} is not {expected}");

    change(system, json!({"coverage": 1})).await;
    expose(system, "wider", wider).await;
    let buyers = (0..40).flat_map(|i| {
        ["even-0", "even-1", "nine-0", "nine-1", "wider-0", "wider-1"].map(|who| format!("{who}-{i}"))
    });
    let bought = buyers.map(|user| json!({"user_id": user, "metric": "purchase"})).collect::<Vec<_>>();
    let body = json!({"conversions": bought}).to_string();
    applied(&system.ingest(), &format!("/api/v1/experiments/{KEY}/conversions"), &[], body).await;
    let answer = live(system).await;
    let expected = expected + chi_square(wider, [9.0, 1.0]);
    let (found, dof, mismatch) = srm(&answer);
    assert!((found - expected).abs() < 1e-9 && dof == 3 && !mismatch, "{found} is not {expected}");
    // The whole, by the weights of now, would be a mismatch.
    let whole = [even[0] + nine[0] + wider[0], even[1] + nine[1] + wider[1]];
    assert!(chi_square(whole, [9.0, 1.0]) > 20.0);
    let users: Vec<&Value> = answer["arms"].as_array().unwrap().iter().map(|arm| &arm["users"]).collect();
    assert_eq!(users, [whole[0], whole[1]]);

    // Within each period both arms buy alike but for their sizes; the effect is that of the periods, by their users.
    let periods = [even, nine, wider];
    let all = f64::from(whole[0] + whole[1]);
    let effect: f64 = periods
        .iter()
        .map(|[control, treatment]| {
            let share = f64::from(control + treatment) / all;
            share * (40.0 / f64::from(*treatment) - 40.0 / f64::from(*control))
        })
        .sum();
    let stratified = &answer["metrics"][0]["comparisons"][0]["post_stratified"]["absolute"];
    let found = stratified["effect"].as_f64().unwrap();
    assert!((found - effect).abs() < 1e-9, "{found} is not {effect}");

    // Rows by period.
    let experiment = system.store().experiment("default", KEY).await.unwrap().unwrap();
    let weights: Vec<_> = experiment.phases.iter().map(|p| (p.coverage, p.weights.clone())).collect();
    assert_eq!(weights, [(0.5, vec![1.0, 1.0]), (0.5, vec![9.0, 1.0]), (1.0, vec![9.0, 1.0])]);
    let mut enrolled = [[0; 2]; 3];
    for row in system.store().answer(&experiment, None).await.unwrap() {
        let arm = usize::try_from(row.key.variation).unwrap();
        enrolled[usize::from(row.key.phase)][arm] += row.moments.heads.enrolled;
    }
    assert_eq!(enrolled, periods.map(|users| users.map(i64::from)));
    assert_verified(system, &[KEY]).await;
}

on_both!(each_period_is_checked_by_its_own_weights);
