//! Purges are asked for by operators; what needs raw rows that are gone is refused, what does not goes on.

use serde_json::{Value, json};

use crate::rig::Rig;

const PURGE: &str = "/api/v1/admin/retention/purge";

#[tokio::test]
async fn operators_ask_and_are_told_how_far_it_is() {
    let rig = Rig::start().await;
    let operator = rig.client("operator-a");
    assert_eq!(rig.admin.post_json(PURGE, &json!({"audit_days": 1})).await.unwrap().status, 403);
    assert_eq!(operator.get(PURGE).await.unwrap().json().unwrap()["error_code"], "no_purge");
    for body in [json!({}), json!({"dry_run": true}), json!({"audit_days": 0}), json!({"audit_days": 36_601})]
    {
        let refused = operator.post_json(PURGE, &body).await.unwrap();
        assert_eq!(
            (refused.status, &refused.json().unwrap()["error_code"]),
            (422, &json!("invalid_retention"))
        );
    }
    let dry = operator.post_json(PURGE, &json!({"conversions_days": 90, "dry_run": true})).await.unwrap();
    assert_eq!(dry.status, 202);
    let dry: Value = dry.json().unwrap();
    assert_eq!(
        (&dry["done"], &dry["done_partitions"], &dry["partitions"]),
        (&json!(false), &json!(0), &json!(2))
    );
    assert_eq!((&dry["conversions"]["rows"], &dry["audit"]), (&json!(0), &Value::Null));
    assert_eq!(operator.get(&format!("{PURGE}?dry_run=true")).await.unwrap().json().unwrap(), dry);
    assert_eq!(operator.get(PURGE).await.unwrap().status, 404);
    assert_eq!(operator.get(&format!("{PURGE}?dry_run=perhaps")).await.unwrap().status, 422);
}

#[tokio::test]
async fn what_is_configured_is_what_is_meant() {
    let server = testkit::postgres().await;
    let database = server.create_database().await.unwrap();
    let url = server.url_for(&database);
    let kept = [("AB_RETENTION_CONVERSIONS_DAYS", "400"), ("AB_RETENTION_AUDIT_DAYS", "800")];
    let rig = Rig::start_on(database, url, &kept).await;
    let operator = rig.client("operator-a");
    let asked: Value = operator.post_json(PURGE, &json!({})).await.unwrap().json().unwrap();
    assert!(
        asked["conversions"].is_object() && asked["audit"].is_object() && asked["dead_letters"].is_null()
    );
    let asked: Value =
        operator.post_json(PURGE, &json!({"dead_letters_days": 3})).await.unwrap().json().unwrap();
    assert!(asked["conversions"].is_null() && asked["audit"].is_null() && asked["dead_letters"].is_object());
}

#[tokio::test]
async fn a_sealed_experiment_answers_and_is_not_counted_anew() {
    let rig = Rig::start().await;
    let definition = json!({"key": "old", "variations": [{"key": "a"}, {"key": "b"}],
        "metrics": [{"key": "purchase", "type": "mean"}]});
    let created = rig.admin.post_json("/api/v1/experiments", &definition).await.unwrap();
    assert_eq!(created.status, 201);
    assert!(created.json().unwrap().get("purged_at").is_none());
    for step in ["start", "stop", "archive"] {
        let moved = rig.admin.post(&format!("/api/v1/experiments/old/{step}"), &[], "").await.unwrap();
        assert_eq!(moved.status, 200, "{}", moved.text());
    }
    rig.sql("UPDATE experiments SET archived_at = now() - interval '100 days'").await;
    let operator = rig.client("operator-a");
    assert_eq!(operator.post_json(PURGE, &json!({"conversions_days": 90})).await.unwrap().status, 202);
    let shown: Value = rig.admin.get("/api/v1/experiments/old").await.unwrap().json().unwrap();
    assert!(shown["purged_at"].is_string(), "{shown}");
    for (method, path, body) in
        [("POST", "/restore", ""), ("POST", "/rebuild", ""), ("GET", "/timeseries?day_basis=occurred", "")]
    {
        let path = format!("/api/v1/experiments/old{path}");
        let refused = rig.admin.request(method, &path, &[], body.to_owned()).await.unwrap();
        assert_eq!(
            (refused.status, &refused.json().unwrap()["error_code"]),
            (409, &json!("raw_rows_purged")),
            "{path}"
        );
    }
    for path in ["/live-stats", "/decision", "/timeseries", "/ingestion", "/export?format=csv&kind=units"] {
        let answer = rig.admin.get(&format!("/api/v1/experiments/old{path}")).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}
