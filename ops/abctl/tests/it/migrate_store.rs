//! Everything that `abctl up` has kept, read over HTTP before and after it was moved to PostgreSQL.

use crate::deployment::{ADMIN_TOKEN, Deployment, abctl, takes_deliveries};
use crate::up::rig::{Up, command, definition, visit};
use serde_json::{Value, json};
use std::path::Path;
use testkit::http::Client;

/// What a tenant can ask for, besides what depends on the queue.
const ASKED: [&str; 9] = [
    "/api/v1/experiments",
    "/api/v1/experiments/load",
    "/api/v1/experiments/load/live-stats",
    "/api/v1/experiments/sealed/live-stats",
    "/api/v1/experiments/load/history",
    "/api/v1/webhooks",
    "/api/v1/webhooks/1/deliveries",
    "/api/v1/keys",
    "/api/v1/audit",
];

async fn answers(client: &Client) -> Vec<(&'static str, Value)> {
    let mut answers = Vec::new();
    for path in ASKED {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answers.push((path, answer.json().unwrap()));
    }
    answers
}

fn exposure_of(user: &str, i: usize) -> Value {
    json!({"user_id": user, "variation_index": i % 2})
}

/// What an experiment that is deleted comes back with.
async fn gone(client: &Client) -> Value {
    let answer = client.get("/api/v1/experiments/gone/live-stats").await.unwrap();
    let answer = answer.json().unwrap();
    assert_eq!(answer["users"], 40, "{answer:#}");
    answer["metrics"][0]["arms"].clone()
}

/// Users of three experiments, of which one is put away; weights that changed; a webhook, a key, a user to be erased.
async fn fill(up: &Up) -> String {
    let (admin, hook) = (up.admin(), takes_deliveries());
    let post = async |path: &str, body: Value| {
        let answer = admin.post_json(&format!("/api/v1/{path}"), &body).await.unwrap();
        assert!(matches!(answer.status, 200..=204), "{path}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json().unwrap() }
    };
    up.create().await;
    post("experiments", definition("gone")).await;
    post("experiments/gone/start", json!({})).await;
    let mut sealed = definition("sealed");
    sealed["metrics"][0]["key"] = "basket".into();
    post("experiments", sealed).await;
    post("experiments/sealed/start", json!({})).await;
    for i in 0..40_usize {
        let user = format!("user-{i:0>width$}", width = i % 3 + 1);
        post("events", visit(&user)).await;
        post("experiments/sealed/exposures", json!({"exposures": [exposure_of(&user, i)]})).await;
        post("experiments/gone/exposures", json!({"exposures": [exposure_of(&user, i)]})).await;
        let basket = json!({"user_id": user, "metric": "basket", "idempotency_key": "b"});
        post("experiments/sealed/conversions", json!({"conversions": [basket]})).await;
    }
    let weights = json!({"variations": [{"key": "a", "weight": 1}, {"key": "b", "weight": 3}]});
    let path = "/api/v1/experiments/load";
    let json_body = [("content-type", "application/json")];
    let changed = admin.request("PATCH", path, &json_body, weights.to_string()).await.unwrap();
    assert!(matches!(changed.status, 200 | 202), "{}", changed.text());
    let is_built = async || admin.get(path).await.unwrap().json().unwrap()["rebuilding"].is_null();
    testkit::eventually("the sums by phase are there", crate::up::rig::LIMIT, is_built).await.unwrap();
    for user in ["later-1", "later-22"] {
        post("events", visit(user)).await;
    }
    post("experiments/sealed/stop", json!({})).await;
    post("experiments/sealed/archive", json!({})).await;
    post("webhooks", json!({"url": hook, "events": ["decision_changed"]})).await;
    let tested = abctl(
        &["webhooks", "test", "1", "--wait", "60s"],
        &[("AB_URL", &up.url()), ("AB_ADMIN_TOKEN", &up.keys().0)],
        None,
    );
    assert_eq!(tested.code, 0, "{}", tested.error);
    post("keys", json!({"name": "reader", "scopes": ["read"]})).await["key"].as_str().unwrap().to_owned()
}

/// As a purge leaves an experiment that was put away long ago: its sums stand, what they came of is gone.
fn seal(data: &Path) {
    let file = rusqlite::Connection::open(data.join(backends::DATABASE_FILE)).unwrap();
    let gone = "DELETE FROM conversions WHERE experiment = (SELECT id FROM experiments WHERE key = 'sealed')";
    assert_eq!(file.execute(gone, []).unwrap(), 40);
    let sealed = "UPDATE experiments SET purged_at = created_at WHERE key = 'sealed'";
    assert_eq!(file.execute(sealed, []).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_asked_for_is_the_same_afterwards() {
    let data = testkit::temp_dir("migrate-store").unwrap();
    let (process, addr) = command(&data);
    let up = Up::of(process.env("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"), addr, &data).await;
    let key = fill(&up).await;
    up.stop().await;
    seal(&data);
    let up = Up::start(&data).await;
    let as_it_was = gone(&up.admin()).await;
    let deleted = up.admin().request("DELETE", "/api/v1/experiments/gone", &[], "").await.unwrap();
    assert!(matches!(deleted.status, 200 | 204), "{}", deleted.text());
    let before = answers(&up.admin()).await;
    up.stop().await;

    let postgres = testkit::postgres().await;
    let database = postgres.create_database().await.unwrap();
    let url = postgres.url_for(&database);
    let env = [("AB_DATABASE_URL", url.as_str())];
    let moved = abctl(&["migrate-store", "--from", data.to_str().unwrap(), "--json"], &env, None).ok();
    let moved: Value = serde_json::from_str(&moved).unwrap();
    assert_eq!((&moved["experiments"], &moved["differences"]), (&json!(2), &json!([])), "{moved}");

    let deployment = Deployment::on(database, &[]).await;
    let after = answers(&Client::new(&deployment.url).unwrap().bearer(ADMIN_TOKEN)).await;
    for ((path, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(after, before, "{path}");
    }
    let admin = Client::new(&deployment.url).unwrap().bearer(ADMIN_TOKEN);
    let restored = admin.post("/api/v1/experiments/gone/restore", &[], "").await.unwrap();
    assert!((200..300).contains(&restored.status), "{}", restored.text());
    assert_eq!(gone(&admin).await, as_it_was);
    assert_eq!(after[5].1["items"].as_array().unwrap().len(), 1);
    let with_it =
        Client::new(&deployment.url).unwrap().bearer(&key).get("/api/v1/experiments").await.unwrap();
    assert_eq!(with_it.status, 200, "{}", with_it.text());
    for key in ["load", "gone"] {
        let verified = abctl(&["verify", key], &env, None).ok();
        assert!(verified.starts_with(&format!("verify {key}: equal")), "{verified}");
    }
}
