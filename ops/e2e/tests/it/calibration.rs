//! One experiment of `abctl simulate --aa` as events over HTTP: the answer is the one that the calibration judged.

use crate::support::{applied, assert_verified};
use abctl::simulate::calibration::{DAYS, Life, Look, Trial, USERS};
use e2e::Deployment;
use serde_json::{Value, json};

on_both!(a_run_of_the_calibration_gives_the_same_answer_over_http);

/// What the users of a run do, each kind with its route and the name of its list.
fn events(lives: &[Life]) -> [(&'static str, &'static str, Vec<Value>); 3] {
    let user = |i: usize| format!("user-{i}");
    let told = |(i, life): (usize, &Life)| json!({"user_id": user(i), "stratum": life.stratum});
    let seen = |(i, life): (usize, &Life)| json!({"user_id": user(i), "variation_index": life.variation, "occurred_at": life.at.to_string()});
    let bought = |(i, life): (usize, &Life)| -> Vec<Value> {
        let each = |(n, (at, worth)): (usize, &(domain::Timestamp, i64))| json!({"user_id": user(i), "metric": "purchase", "value": worth, "occurred_at": at.to_string(), "idempotency_key": format!("{n}")});
        life.purchases.iter().enumerate().map(each).collect()
    };
    [
        ("strata", "strata", lives.iter().enumerate().map(told).collect()),
        ("conversions", "conversions", lives.iter().enumerate().flat_map(bought).collect()),
        ("exposures", "exposures", lives.iter().enumerate().map(seen).collect()),
    ]
}

async fn a_run_of_the_calibration_gives_the_same_answer_over_http(system: &dyn Deployment) {
    let (seed, run) = (1, 0);
    let trial = Trial::new(0.0).unwrap();
    let mut judged = Value::Null;
    let keep = |look: &Look<'_>| {
        if look.day + 1 == DAYS {
            // By way of text, as an answer comes.
            judged = serde_json::from_slice(&serde_json::to_vec(look.stats).unwrap()).unwrap();
        }
    };
    trial.run(seed, run, keep).unwrap();

    let definition = serde_json::to_value(trial.definition()).unwrap();
    system.experiment(definition).await.unwrap();
    let lives: Vec<Life> = trial.lives(seed, run).collect();
    for (route, list, items) in events(&lives) {
        for items in items.chunks(2_000) {
            let path = format!("/api/v1/experiments/calibration/{route}");
            let answer = applied(&system.ingest(), &path, &[], json!({list: items}).to_string()).await;
            assert_eq!(answer["recorded"], items.len(), "{route}");
        }
    }
    let path = "/api/v1/experiments/calibration/live-stats";
    let answer = system.admin().get(path).await.unwrap().json().unwrap();
    assert_eq!(answer["users"], USERS);
    for part in ["users", "srm", "filter_imbalance", "metrics"] {
        assert_eq!(answer[part], judged[part], "{part}");
    }
    assert_verified(system, &["calibration"]).await;
}
