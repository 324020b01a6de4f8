//! Experiments over HTTP, and what gateways learn of them.

use std::time::Duration;

use serde_json::json;

use crate::rig::{Rig, code, two_arms};

#[tokio::test]
async fn an_experiment_is_created_with_honest_defaults_and_found_by_key_and_id() {
    let rig = Rig::start().await;
    let created = rig.admin.post_json("/api/v1/experiments", &two_arms("checkout")).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let body = created.json().unwrap();
    let id = body["id"].as_i64().unwrap();
    assert_eq!(created.header("location"), Some(format!("/api/v1/experiments/{id}").as_str()));
    assert_eq!(created.header("cache-control"), Some("no-store"));
    assert_eq!(body["status"], "draft");
    assert_eq!(body["started_at"], json!(null));
    assert_eq!(body["analysis"]["alpha"], 0.05);
    assert_eq!(body["analysis"]["srm_alpha"], 0.001);
    assert_eq!(body["analysis"]["cuped"], json!({"lookback_days": 14, "gap_minutes": 60}));
    assert_eq!(body["attribution"], json!({"window_hours": null, "tolerance_seconds": 0}));
    assert_eq!(body["crossovers"], "keep");
    assert_eq!(body["metrics"][0]["role"], "primary");
    assert_eq!(body["metrics"][0]["direction"], "up");
    assert_eq!(body["variations"][1]["weight"], 1.0);
    assert_eq!(rig.ok("/api/v1/experiments/checkout").await, body);
    assert_eq!(rig.ok(&format!("/api/v1/experiments/{id}")).await, body);
    // The gateways know it by the time the answer is given.
    let entry = rig.catalogue().lookup("a", "checkout").await.unwrap().unwrap();
    assert_eq!((entry.id.0, entry.status.as_str()), (id, "draft"));
    assert_eq!(entry.variations, ["control", "treatment"]);
    assert_eq!(entry.metrics, ["purchase"]);
}

#[tokio::test]
async fn creating_is_idempotent_and_keys_are_for_ever() {
    let rig = Rig::start().await;
    let create = |definition| {
        let admin = rig.client("admin-a");
        async move { admin.post_json("/api/v1/experiments", &definition).await.unwrap() }
    };
    let first = create(two_arms("checkout")).await;
    let again = create(two_arms("checkout")).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json().unwrap(), again.json().unwrap());
    let mut other = two_arms("checkout");
    other["metrics"][0]["type"] = json!("count");
    let refused = create(other).await;
    assert_eq!((refused.status, code(&refused).as_str()), (409, "key_taken"));
    // Another tenant has its own keys.
    let b = rig.client("admin-b");
    assert_eq!(b.post_json("/api/v1/experiments", &two_arms("checkout")).await.unwrap().status, 201);

    let deleted = rig.admin.request("DELETE", "/api/v1/experiments/checkout", &[], "").await.unwrap();
    assert_eq!(deleted.status, 204);
    assert_eq!(rig.get("/api/v1/experiments/checkout").await.status, 404);
    let deleted = rig.admin.request("DELETE", "/api/v1/experiments/checkout", &[], "").await.unwrap();
    assert_eq!((deleted.status, code(&deleted).as_str()), (404, "unknown_experiment"));
    let refused = create(two_arms("checkout")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (409, "key_used"));
    let catalogue = rig.catalogue();
    assert_eq!(catalogue.lookup("a", "checkout").await.unwrap(), None);
    assert!(catalogue.lookup("b", "checkout").await.unwrap().is_some());
}

#[tokio::test]
async fn statuses_move_as_allowed_and_the_gateways_follow() {
    let rig = Rig::start().await;
    rig.admin.post_json("/api/v1/experiments", &two_arms("checkout")).await.unwrap();
    let refused = rig.post("/api/v1/experiments/checkout/stop").await;
    assert_eq!((refused.status, code(&refused).as_str()), (409, "wrong_status"));
    for (action, status) in [
        ("start", "running"),
        ("start", "running"),
        ("stop", "stopped"),
        ("start", "running"),
        ("stop", "stopped"),
    ] {
        let answer = rig.post(&format!("/api/v1/experiments/checkout/{action}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json().unwrap();
        assert_eq!(body["status"], status);
        assert!(body["started_at"].is_string());
        let entry = rig.catalogue().lookup("a", "checkout").await.unwrap().unwrap();
        assert_eq!(entry.status, status);
    }
    assert_eq!(rig.post("/api/v1/experiments/checkout/archive").await.status, 200);
    let refused = rig.post("/api/v1/experiments/checkout/start").await;
    assert_eq!((refused.status, code(&refused).as_str()), (409, "wrong_status"));
    assert_eq!(rig.post("/api/v1/experiments/nothing/start").await.status, 404);
    // A body is none of an action's business, unless it is empty.
    let start = "/api/v1/experiments/checkout/archive";
    assert_eq!(rig.admin.post_json(start, &json!({})).await.unwrap().status, 200);
    let refused = rig.admin.post_json(start, &json!({"at": 1})).await.unwrap();
    assert_eq!((refused.status, code(&refused).as_str()), (422, "unknown_field"));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let rig = Rig::start().await;
    let empty = rig.ok("/api/v1/experiments").await;
    assert_eq!(empty, json!({"items": [], "next_cursor": null}));
    for n in 0..5 {
        rig.admin.post_json("/api/v1/experiments", &two_arms(&format!("e{n}"))).await.unwrap();
    }
    let mut path = "/api/v1/experiments?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = rig.ok(&path).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/experiments?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["e0", "e1", "e2", "e3", "e4"]);
    for (query, wanted) in [
        ("limit=0", "invalid_parameter"),
        ("limit=201", "invalid_parameter"),
        ("cursor=x", "invalid_parameter"),
        ("limit=1&limit=2", "invalid_parameter"),
        ("page=2", "unknown_parameter"),
    ] {
        let refused = rig.get(&format!("/api/v1/experiments?{query}")).await;
        assert_eq!((refused.status, code(&refused).as_str()), (422, wanted), "{query}");
    }
    let refused = rig.get("/api/v1/experiments?page=2").await.json().unwrap();
    assert!(refused["detail"].as_str().unwrap().contains("`page`"), "{refused}");
}

#[tokio::test]
async fn bad_definitions_are_refused_and_nothing_is_recorded() {
    let rig = Rig::start().await;
    let changed = |path: &str, value: serde_json::Value| {
        let mut definition = two_arms("checkout");
        *definition.pointer_mut(path).unwrap() = value;
        definition.to_string()
    };
    let with = |field: &str, value: serde_json::Value| {
        let mut definition = two_arms("checkout");
        definition[field] = value;
        definition.to_string()
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let infinite = two_arms("checkout").to_string().replace("\"control\"", "\"control\",\"weight\":1e999");
    let nan = two_arms("checkout").to_string().replace("\"control\"", "\"control\",\"weight\":NaN");
    for (body, status, wanted) in [
        (String::new(), 400, "invalid_json"),
        ("{\"key\":".to_owned(), 400, "invalid_json"),
        ("{\"key\":\"\u{1}\"}".to_owned(), 400, "invalid_json"),
        (infinite, 400, "invalid_json"),
        (nan, 400, "invalid_json"),
        (deep, 400, "json_too_deep"),
        ("[]".to_owned(), 422, "invalid_definition"),
        ("{}".to_owned(), 422, "invalid_definition"),
        (with("varations", json!([])), 422, "unknown_field"),
        (with("coverage", json!(1.5)), 422, "invalid_definition"),
        (with("analysis", json!({"alpha": 2})), 422, "invalid_definition"),
        (with("analysis", json!({"alhpa": 0.1})), 422, "unknown_field"),
        (changed("/key", json!("1st")), 422, "invalid_definition"),
        (changed("/key", json!("a\u{0}b")), 422, "invalid_definition"),
        (changed("/key", json!("k".repeat(101))), 422, "invalid_definition"),
        (changed("/key", json!(7)), 422, "invalid_definition"),
        (changed("/variations", json!([{"key": "only"}])), 422, "invalid_definition"),
        (changed("/variations/1/key", json!("control")), 422, "invalid_definition"),
        (changed("/variations/1/key", json!("nul\u{0}")), 422, "invalid_definition"),
        (changed("/metrics/0/type", json!("median")), 422, "invalid_definition"),
        (changed("/metrics", json!([])), 422, "invalid_definition"),
    ] {
        let shown: String = body.chars().take(80).collect();
        let headers = [("content-type", "application/json")];
        let answer = rig.admin.post("/api/v1/experiments", &headers, body).await.unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (status, wanted), "{shown}");
    }
    let bytes: &[u8] = b"{\"key\":\"\xff\"}";
    let answer =
        rig.admin.post("/api/v1/experiments", &[("content-type", "application/json")], bytes).await.unwrap();
    assert_eq!(answer.status, 400);
    for content_type in ["application/x-ndjson", "text/plain", "application/octet-stream"] {
        let headers = [("content-type", content_type)];
        let body = two_arms("checkout").to_string();
        let answer = rig.admin.post("/api/v1/experiments", &headers, body).await.unwrap();
        assert_eq!(answer.status, 415, "{content_type}");
    }
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    let answer =
        rig.admin.post("/api/v1/experiments", &[("content-type", "application/json")], large).await.unwrap();
    assert_eq!(answer.status, 413);
    let unknown = rig.admin.post_json("/api/v1/experiments?dry_run=1", &two_arms("checkout")).await.unwrap();
    assert_eq!((unknown.status, code(&unknown).as_str()), (422, "unknown_parameter"));
    assert_eq!(rig.ok("/api/v1/experiments").await["items"], json!([]));
    // Bad references are unknown experiments, whatever they hold.
    for reference in ["0", "-1", "99999999999999999999", "a%00b", "%ff", "..", "a'b"] {
        assert_eq!(
            rig.get(&format!("/api/v1/experiments/{reference}/live-stats")).await.status,
            404,
            "{reference}"
        );
    }
    assert_eq!(rig.get("/api/v1/experiments/").await.status, 404);
}

#[tokio::test]
async fn nobody_gets_in() {
    let rig = Rig::start().await;
    let id = rig.running(&two_arms("secret")).await.id;
    let other = rig.client("admin-b");
    for reference in ["secret".to_owned(), id.to_string()] {
        let base = format!("/api/v1/experiments/{reference}");
        for path in ["", "/live-stats", "/ingestion"] {
            let answer = other.get(&format!("{base}{path}")).await.unwrap();
            assert_eq!((answer.status, code(&answer).as_str()), (404, "unknown_experiment"), "{path}");
        }
        for action in ["start", "stop", "archive"] {
            assert_eq!(other.post(&format!("{base}/{action}"), &[], "").await.unwrap().status, 404);
        }
        assert_eq!(other.request("DELETE", &base, &[], "").await.unwrap().status, 404);
    }
    assert_eq!(other.get("/api/v1/experiments").await.unwrap().json().unwrap()["items"], json!([]));

    let reader = rig.client("read-a");
    assert_eq!(reader.get("/api/v1/experiments/secret/live-stats").await.unwrap().status, 200);
    assert_eq!(reader.post_json("/api/v1/experiments", &two_arms("new")).await.unwrap().status, 403);
    assert_eq!(reader.post("/api/v1/experiments/secret/stop", &[], "").await.unwrap().status, 403);
    assert_eq!(reader.request("DELETE", "/api/v1/experiments/secret", &[], "").await.unwrap().status, 403);
    let sender = rig.client("send-a");
    for path in ["/api/v1/experiments", "/api/v1/experiments/secret/live-stats", "/api/v1/accounting"] {
        let answer = sender.get(path).await.unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (403, "missing_scope"), "{path}");
    }
    let stranger = rig.client("stranger-key");
    assert_eq!(stranger.get("/api/v1/experiments").await.unwrap().status, 401);
    assert_eq!(rig.ok("/api/v1/experiments/secret").await["status"], "running");
    // Methods and paths that do not exist.
    let wrong = rig.admin.request("PUT", "/api/v1/experiments/secret/start", &[], "").await.unwrap();
    assert_eq!((wrong.status, wrong.header("allow").unwrap().contains("POST")), (405, true));
    assert_eq!(rig.get("/api/v1/experiments/secret/nothing").await.status, 404);
}

#[tokio::test]
async fn a_change_survives_a_lost_catalogue_and_is_projected_later() {
    let rig = Rig::start().await;
    rig.admin.post_json("/api/v1/experiments", &two_arms("before")).await.unwrap();
    rig.redis.stop().await.unwrap();
    let answer = rig.admin.post_json("/api/v1/experiments", &two_arms("during")).await.unwrap();
    assert_eq!((answer.status, code(&answer).as_str()), (503, "catalogue_unavailable"));
    assert_eq!(answer.json().unwrap()["retryable"], true);
    assert!(answer.header("retry-after").is_some());
    // Reading goes on without Redis, and the tier stays ready.
    assert_eq!(rig.ok("/api/v1/experiments/during").await["status"], "draft");
    assert_eq!(rig.get("/readyz").await.status, 200);
    // Emptied as well: everything is put back without anybody asking.
    rig.redis.restart_empty().await.unwrap();
    let catalogue = rig.catalogue();
    let known = || async {
        matches!(catalogue.lookup("a", "during").await, Ok(Some(_)))
            && matches!(catalogue.lookup("a", "before").await, Ok(Some(_)))
    };
    testkit::eventually("the catalogue is repaired", Duration::from_secs(120), known).await.unwrap();
    let again = rig.admin.post_json("/api/v1/experiments", &two_arms("during")).await.unwrap();
    assert_eq!(again.status, 200);
}
