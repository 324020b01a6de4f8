//! A user is erased over HTTP while events come in: gone from every answer, and gone for good.

use crate::support::{applied, assert_verified};
use e2e::run::{self, silent};
use e2e::{Deployment, patience};
use serde_json::json;

on_both!(a_user_is_erased_under_load);

async fn a_user_is_erased_under_load(system: &dyn Deployment) {
    let mut simulation = run::varied(20_000, 31);
    simulation.manner.rate = Some(4_000.0);
    let keys: Vec<String> = simulation.plot.world.experiments.iter().map(|e| e.key.clone()).collect();
    let definition = crate::support::two_arms("mine", &["bought"]);
    system.experiment(definition).await.unwrap();
    let send = async |path: &str, body: serde_json::Value| {
        applied(&system.ingest(), path, &[], body.to_string()).await
    };
    let exposures = json!({"exposures": [{"user_id": "alice", "variation_index": 0}, {"user_id": "bob", "variation_index": 0}]});
    let bought = json!({"conversions": [
        {"user_id": "alice", "metric": "bought", "idempotency_key": "a"},
        {"user_id": "bob", "metric": "bought", "idempotency_key": "b"},
    ]});
    send("/api/v1/experiments/mine/exposures", exposures.clone()).await;
    send("/api/v1/conversions", bought.clone()).await;
    assert_eq!(crate::support::counted(system, "mine", 0).await, (2, 2, 2));

    let erasing = async {
        let headers = [("content-type", "application/json")];
        let path = "/api/v1/admin/users/erase";
        let body = json!({"user_id": "alice"}).to_string();
        // Who may send may not erase.
        let refused = system.ingest().post(path, &headers, body.clone()).await.unwrap();
        // A gateway does not know the path at all.
        assert!([403, 404].contains(&refused.status), "{}", refused.text());
        crate::support::eventually("alice is erased", std::time::Duration::from_secs(60), async || {
            let answer = patience::post(&system.admin(), path, &headers, body.clone()).await.unwrap();
            assert!([200, 202].contains(&answer.status), "{}", answer.text());
            answer.json().unwrap()["status"] == "erased"
        })
        .await;
    };
    let sending = async { run::send(system, &simulation, silent()).await.unwrap() };
    let (_, ()) = tokio::join!(sending, erasing);
    assert_eq!(crate::support::counted(system, "mine", 0).await, (1, 1, 1));
    // What still comes of her counts for nothing, and the books say where it went.
    let again = send("/api/v1/experiments/mine/exposures", exposures).await;
    assert_eq!((&again["deduplicated"], &again["dead_lettered"]), (&json!(1), &json!(1)));
    let again = send("/api/v1/conversions", bought).await;
    assert_eq!((&again["deduplicated"], &again["dead_lettered"]), (&json!(1), &json!(1)));
    assert_eq!(crate::support::counted(system, "mine", 0).await, (1, 1, 1));
    let books = run::settled(system).await.unwrap();
    assert!(books.are_good() && books.total.discarded == 2, "{}", books.total);
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(["mine"]).collect();
    assert_verified(system, &keys).await;
}
