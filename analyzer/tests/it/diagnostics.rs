//! What an operator asks first, also while something is away; and how little of it everybody else is told.

use serde_json::{Value, json};

use crate::rig::{Rig, code};

const PATH: &str = "/api/v1/diagnostics";

async fn told(rig: &Rig, key: &str) -> Value {
    let answer = rig.client(key).get(PATH).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().unwrap()
}

#[tokio::test]
async fn an_operator_is_told_all_and_everybody_else_what_is_theirs() {
    let rig = Rig::start().await;
    rig.admin.post_json("/api/v1/keys", &json!({"name": "n", "scopes": ["read"]})).await.unwrap();
    let whole = told(&rig, "operator-a").await;
    assert_eq!((&whole["service"], &whole["environment"]), (&json!("analyzer"), &json!("local")));
    assert_eq!(whole["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(whole["storage"], json!({"backend": "postgresql", "write_probe_ok": true, "partitions": 2}));
    let queue = json!({
        "backend": "redis", "reachable": true, "oldest_unapplied_seconds": null, "in_flight_events": 0, "weak_settings": [],
    });
    assert_eq!(whole["queue"], queue);
    assert_eq!(
        whole["auth"],
        json!({"mode": "keys", "configured_keys": 5, "issued_keys": 1, "key_files": 0})
    );
    assert_eq!(whole["limits"]["max_request_body_bytes"], 1_048_576);
    assert_eq!(whole["limits"]["database_pool_size"], 10);
    for reader in ["read-a", "admin-b"] {
        let reduced = told(&rig, reader).await;
        assert_eq!(reduced.get("auth"), None);
        let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&reduced["queue"]), ["backend", "oldest_unapplied_seconds", "reachable"]);
        assert_eq!(
            keys(&reduced["limits"]),
            ["keys_per_tenant", "max_batch_events", "max_decoded_body_bytes", "max_request_body_bytes"]
        );
        assert_eq!(reduced["storage"], whole["storage"]);
    }
    let refused = rig.client("send-a").get(PATH).await.unwrap();
    assert_eq!((refused.status, code(&refused)), (403, "missing_scope".into()));
}

#[tokio::test]
async fn what_is_away_is_said_and_not_refused() {
    let rig = Rig::start().await;
    rig.sql("ALTER TABLE settings RENAME TO gone").await;
    assert_eq!(told(&rig, "operator-a").await["storage"]["write_probe_ok"], false);
    rig.sql("ALTER TABLE gone RENAME TO settings").await;
    rig.redis.kill().await.unwrap();
    let whole = told(&rig, "operator-a").await;
    assert_eq!(
        (&whole["storage"]["write_probe_ok"], &whole["queue"]["reachable"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(whole["queue"]["oldest_unapplied_seconds"], Value::Null);
}
