//! An experiment is deleted while events come in, and restored: its results are those of one beside it that got the same
//! events and never was away, and whatever was refused or discarded meanwhile is accounted for.

use crate::support::{applied, assert_problem, assert_verified, counted, eventually, outcome, two_arms};
use e2e::run;
use e2e::{Deployment, Setup, System, patience};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;

on_both!(what_is_deleted_under_load_comes_back_whole);

const LIMIT: Duration = Duration::from_secs(60);
const USERS: u32 = 10;
/// Before the stop, whenever that is.
const THEN: &str = "2026-01-05T12:00:00Z";

fn user(batch: u32, i: u32) -> String {
    format!("user-{batch}-{i}")
}

/// What became of a batch. Its exposures may be discarded and its conversions refused a moment later.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    discarded: u64,
    refused: bool,
}

/// The users of a batch are exposed, and some of them buy.
async fn send(system: &dyn Deployment, key: &str, batch: u32) -> Sent {
    let seen = |i| json!({"user_id": user(batch, i), "variation_index": i % 2, "occurred_at": THEN});
    let bought = |i| json!({"user_id": user(batch, i), "metric": "bought", "idempotency_key": "named", "occurred_at": THEN});
    let mut sent = Sent::default();
    for (route, body) in [
        ("exposures", json!({"exposures": (0..USERS).map(seen).collect::<Vec<_>>()})),
        ("conversions", json!({"conversions": (0..batch % USERS).map(bought).collect::<Vec<_>>()})),
    ] {
        if body["conversions"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let path = format!("/api/v1/experiments/{key}/{route}");
        let answer = outcome(&system.ingest(), &path, &[], body.to_string()).await;
        if answer.status == 404 {
            assert_problem(&answer, 404, "unknown_experiment");
            return Sent { refused: true, ..sent };
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent.discarded += answer.json().unwrap()["dead_lettered"].as_u64().unwrap();
    }
    sent
}

/// How many events were discarded.
async fn send_all(system: &dyn Deployment, key: &str, batches: Range<u32>) -> u64 {
    let mut discarded = 0;
    for batch in batches {
        discarded += send(system, key, batch).await.discarded;
    }
    discarded
}

/// Conversions that name no experiment.
async fn send_tenants(system: &dyn Deployment, batches: Range<u32>, name: &str) {
    for batch in batches {
        let bought = |i| json!({"user_id": user(batch, i), "metric": "bought", "idempotency_key": name, "occurred_at": THEN});
        let body = json!({"conversions": (0..USERS / 2).map(bought).collect::<Vec<_>>()});
        applied(&system.ingest(), "/api/v1/conversions", &[], body.to_string()).await;
    }
}

async fn delete(system: &dyn Deployment) {
    let answer = system.admin().request("DELETE", "/api/v1/experiments/gone", &[], "").await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn restore(system: &dyn Deployment) -> Value {
    let path = "/api/v1/experiments/gone/restore";
    let answer = patience::post(&system.admin(), path, &[], "").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

/// What is said of an experiment, but for which it is.
async fn results(system: &dyn Deployment, key: &str) -> [Value; 2] {
    let mut all = [Value::Null, Value::Null];
    for (what, of) in all.iter_mut().zip(["live-stats", "timeseries?day_basis=occurred"]) {
        let answer = system.admin().get(&format!("/api/v1/experiments/{key}/{of}")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        *what = answer.json().unwrap();
        for apart in ["experiment", "data_quality"] {
            what.as_object_mut().unwrap().remove(apart);
        }
        for arm in what["arms"].as_array_mut().unwrap() {
            arm.as_object_mut().unwrap().remove("data_quality");
        }
    }
    all
}

async fn what_is_deleted_under_load_comes_back_whole(system: &dyn Deployment) {
    for key in ["gone", "kept"] {
        system.experiment(two_arms(key, &["bought"])).await.unwrap();
    }
    assert_eq!(send_all(system, "gone", 0..20).await, 0);
    send_tenants(system, 0..20, "before").await;
    // Deleted while they come; those that were on their way are discarded, the next ones refused.
    let (mut discarded, ()) = tokio::join!(send_all(system, "gone", 20..35), delete(system));
    let answer = system.admin().get("/api/v1/experiments/gone/live-stats").await.unwrap();
    assert_problem(&answer, 404, "unknown_experiment");
    eventually("the gateway knows", LIMIT, async || {
        let sent = send(system, "gone", 35).await;
        discarded += sent.discarded;
        sent.refused
    })
    .await;
    send_tenants(system, 0..35, "while it was deleted").await;
    let (again, back) = tokio::join!(send_all(system, "gone", 35..45), restore(system));
    discarded += again;
    assert_eq!(back["status"], "stopped");
    assert_verified(system, &["gone"]).await;
    // Everything once more, when the gateway has heard of it: what counted is deduplicated, the rest counts now.
    eventually("the gateway knows", LIMIT, async || {
        let sent = send(system, "gone", 0).await;
        discarded += sent.discarded;
        sent == Sent::default()
    })
    .await;
    for batch in 0..50 {
        assert_eq!(send(system, "gone", batch).await, Sent::default(), "batch {batch}");
        assert_eq!(send(system, "kept", batch).await, Sent::default(), "batch {batch}");
    }
    send_tenants(system, 0..50, "after").await;
    assert_eq!(results(system, "gone").await, results(system, "kept").await);
    let (enrolled, _, conversions) = counted(system, "gone", 0).await;
    assert_eq!(enrolled, i64::from(50 * USERS / 2));
    assert!(conversions > enrolled, "{conversions}");
    let books = run::settled(system).await.unwrap();
    assert!(books.are_good(), "{}", books.total);
    assert_eq!(books.total.discarded.cast_unsigned(), discarded);
    assert_verified(system, &["gone", "kept"]).await;
}

/// Accepted before the experiment was deleted, and applied behind that.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queue_when_it_is_deleted_is_discarded() {
    let mut system = System::start(Setup { partitions: 2, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("gone", &["bought"])).await.unwrap();
    assert_eq!(send_all(&system, "gone", 1..3).await, 0);
    let before = results(&system, "gone").await;
    let status = system.worker.take().unwrap().terminate(LIMIT).await.unwrap();
    assert!(status.success());
    let seen: Vec<Value> =
        (0..5).map(|i| json!({"user_id": user(9, i), "variation_index": 0, "occurred_at": THEN})).collect();
    let late = json!({"exposures": seen});
    let path = "/api/v1/experiments/gone/exposures";
    assert_eq!(patience::post_json(&system.ingest(), path, &late).await.unwrap().status, 202);
    delete(&system).await;
    system.start_worker().unwrap();
    let at = system.worker_addr;
    system.worker.as_mut().unwrap().wait_ready(at, "/readyz", LIMIT).await.unwrap();
    let books = run::settled(&system).await.unwrap();
    assert!(books.are_good() && books.total.discarded == 5, "{}", books.total);
    restore(&system).await;
    assert_eq!(results(&system, "gone").await, before);
    // Sent again, they count.
    let body = late.to_string();
    eventually("the gateway knows", LIMIT, async || {
        let answer = outcome(&system.ingest(), path, &[], body.clone()).await;
        answer.status == 200 && answer.json().unwrap()["recorded"] == 5
    })
    .await;
    let (enrolled, _, _) = counted(&system, "gone", 0).await;
    assert_eq!(enrolled, i64::from(USERS) + 5);
    assert_verified(&system, &["gone"]).await;
    system.stop().await.unwrap();
}
