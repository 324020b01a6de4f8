//! Sums are built anew while events come in: what is answered meanwhile and afterwards is what it would have been.

use crate::support::{assert_verified, eventually};
use e2e::Deployment;
use e2e::run::{self, silent};
use serde_json::{Value, json};
use std::time::Duration;

on_both!(rebuilding_under_load_changes_nothing, another_plan_is_counted_for_the_whole_run);

const SERVED: Duration = Duration::from_secs(120);

async fn experiment(system: &dyn Deployment, key: &str) -> Value {
    system.admin().get(&format!("/api/v1/experiments/{key}")).await.unwrap().json().unwrap()
}

pub async fn served(system: &dyn Deployment, key: &str, version: u64) {
    eventually("the new version is served", SERVED, async || {
        let e = experiment(system, key).await;
        e["plan_version"] == version && e["rebuilding"].is_null()
    })
    .await;
}

pub async fn rebuild(system: &dyn Deployment, key: &str) {
    let path = format!("/api/v1/experiments/{key}/rebuild");
    let headers = [("content-type", "application/json")];
    let answer = system.admin().post(&path, &headers, b"".to_vec()).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// Everything that is said of an experiment as of every day of the run, but for the version, and how long it takes at
/// the rate of now.
async fn answers(system: &dyn Deployment, key: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let series = system.admin().get(&format!("/api/v1/experiments/{key}/timeseries")).await.unwrap();
    let days: Vec<String> = {
        let rows = system.store().experiment("default", key).await.unwrap().unwrap();
        let rows = system.store().moments_rows(rows.id, rows.plan_version).await.unwrap();
        rows.iter().map(|r| format!("?as_of={}", r.day)).chain([String::new()]).collect()
    };
    answers.push(series.text());
    for day in days.into_iter().collect::<std::collections::BTreeSet<_>>() {
        for what in ["live-stats", "decision"] {
            let path = format!("/api/v1/experiments/{key}/{what}{day}");
            answers.push(system.admin().get(&path).await.unwrap().text());
        }
    }
    let version = experiment(system, key).await["plan_version"].clone();
    let version = format!("\"plan_version\":{version}");
    answers.iter().map(|a| without(a, "\"days_at_this_rate\":").replace(&version, "")).collect()
}

/// But for a number that says what the time is.
fn without(answer: &str, name: &str) -> String {
    let Some((before, rest)) = answer.split_once(name) else { return answer.to_owned() };
    format!("{before}{}", rest.trim_start_matches(|c| !matches!(c, ',' | '}')))
}

async fn rebuilding_under_load_changes_nothing(system: &dyn Deployment) {
    let mut simulation = run::varied(30_000, 23);
    simulation.manner.rate = Some(3_000.0);
    let keys: Vec<String> = simulation.plot.world.experiments.iter().map(|e| e.key.clone()).collect();
    abctl::simulate::create_experiments(
        &simulation.plot.world,
        &system.analyzer_url(),
        Some(e2e::ADMIN_TOKEN),
    )
    .await
    .unwrap();
    let sending = async { run::send(system, &simulation, silent()).await.unwrap() };
    let rebuilding = async {
        // Somebody is enrolled everywhere; otherwise there is nothing to build.
        for key in &keys {
            eventually("somebody is enrolled", SERVED, async || {
                let e = system.store().experiment("default", key).await.unwrap().unwrap();
                !system.store().answer(&e, None).await.unwrap().is_empty()
            })
            .await;
        }
        for key in &keys {
            rebuild(system, key).await;
        }
        for key in &keys {
            served(system, key, 2).await;
            assert_verified(system, &[key]).await;
        }
    };
    let (outcome, ()) = tokio::join!(sending, rebuilding);
    // Rows, counters and answers are the oracle's.
    let (_, found) = run::faults(system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    assert_eq!(run::wrong_answers(system, &simulation, &outcome).await.unwrap(), Vec::<String>::new());
    // At rest, byte for byte.
    let key = &keys[0];
    let before = answers(system, key).await;
    rebuild(system, key).await;
    served(system, key, 3).await;
    assert_eq!(answers(system, key).await, before);
    assert_verified(system, &[key]).await;
}

async fn another_plan_is_counted_for_the_whole_run(system: &dyn Deployment) {
    let simulation = run::varied(6_000, 29);
    run::send(system, &simulation, silent()).await.unwrap();
    run::settled(system).await.unwrap();
    let key = &simulation.plot.world.experiments[0].key;
    let path = format!("/api/v1/experiments/{key}");
    let change = json!({"metrics": [{"key": "bought", "event": "purchase", "type": "count"}]}).to_string();
    let headers = [("content-type", "application/merge-patch+json")];
    let answer = system.admin().request("PATCH", &path, &headers, change).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    served(system, key, 2).await;
    let live: Value = system.admin().get(&format!("{path}/live-stats")).await.unwrap().json().unwrap();
    assert_eq!(live["metrics"][0]["key"], "bought", "{live}");
    let (_, bought, _) = crate::support::counted(system, key, 0).await;
    assert!(bought > 10, "{bought}");
    assert_verified(system, &[key]).await;
}
