//! Webhooks over HTTP.

use serde_json::{Value, json};

use super::receiver::Receiver;
use crate::rig::{Rig, code};

const HOOKS: &str = "/api/v1/webhooks";

async fn create(rig: &Rig, key: &str, body: &Value) -> testkit::http::Response {
    rig.client(key).post_json(HOOKS, body).await.unwrap()
}

#[tokio::test]
async fn webhooks_are_made_listed_and_deleted_by_their_tenants_admins() {
    let rig = Rig::start().await;
    let made = create(&rig, "admin-a", &json!({"url": "http://example.com/hook"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json().unwrap();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == "whsec_".len() + 44, "{secret}");
    assert_eq!(
        made["events"],
        json!(["dead_letters", "decision_changed", "guardrail_harmed", "srm_mismatch"])
    );
    let id = &made["id"];
    let mut without = made.clone();
    without.as_object_mut().unwrap().remove("secret");
    assert_eq!(
        rig.ok(HOOKS).await,
        json!({"items": [without], "next_cursor": null}),
        "the secret is shown once"
    );
    let again =
        create(&rig, "admin-a", &json!({"url": "http://example.com/hook", "events": ["srm_mismatch"]})).await;
    assert_ne!(again.json().unwrap()["secret"], made["secret"]);

    for (key, status, expected) in [("read-a", 403, "missing_scope"), ("send-a", 403, "missing_scope")] {
        let answers =
            [rig.client(key).get(HOOKS).await.unwrap(), create(&rig, key, &json!({"url": "x"})).await];
        assert!(answers.iter().all(|a| a.status == status && code(a) == expected), "{key}");
    }
    let other = rig.client("admin-b");
    assert_eq!(other.get(HOOKS).await.unwrap().json().unwrap(), json!({"items": [], "next_cursor": null}));
    let theirs = [
        other.get(&format!("{HOOKS}/{id}/deliveries")).await.unwrap(),
        other.post(&format!("{HOOKS}/{id}/test"), &[], "").await.unwrap(),
        other.request("DELETE", &format!("{HOOKS}/{id}"), &[], "").await.unwrap(),
        rig.get(&format!("{HOOKS}/999/deliveries")).await,
        rig.get(&format!("{HOOKS}/x/deliveries")).await,
    ];
    for answer in &theirs {
        assert_eq!((answer.status, code(answer).as_str()), (404, "unknown_webhook"));
    }

    let gone = rig.admin.request("DELETE", &format!("{HOOKS}/{id}"), &[], "").await.unwrap();
    assert_eq!(gone.status, 204);
    assert_eq!(rig.get(&format!("{HOOKS}/{id}/deliveries")).await.status, 404);
    assert_eq!(rig.ok(HOOKS).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_with_a_reason() {
    let rig = Rig::start().await;
    for (body, word) in [
        (json!({}), "url"),
        (json!({"url": "example.com"}), "absolute"),
        (json!({"url": "http://u:p@example.com"}), "password"),
        (json!({"url": "http://127.0.0.1:80/"}), "AB_WEBHOOK_ALLOW_PRIVATE"),
        (json!({"url": "http://[::ffff:169.254.169.254]/"}), "AB_WEBHOOK_ALLOW_PRIVATE"),
        (json!({"url": "http://example.com", "events": []}), "events"),
        (json!({"url": "http://example.com", "events": ["test"]}), "srm_mismatch"),
    ] {
        let refused = create(&rig, "admin-a", &body).await;
        assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_webhook"), "{body}");
        assert!(refused.text().contains(word), "{}", refused.text());
    }
    for _ in 0..store::WEBHOOKS_MAX {
        assert_eq!(create(&rig, "admin-a", &json!({"url": "http://example.com"})).await.status, 201);
    }
    let over = create(&rig, "admin-a", &json!({"url": "http://example.com"})).await;
    assert_eq!((over.status, code(&over).as_str()), (409, "too_many_webhooks"));
    assert_eq!(create(&rig, "admin-b", &json!({"url": "http://example.com"})).await.status, 201);
}

#[tokio::test]
async fn a_test_is_delivered_and_shows_in_the_log() {
    let rig = Rig::start_with(&[("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")]).await;
    let receiver = Receiver::willing().await;
    let made = create(&rig, "admin-a", &json!({"url": receiver.url()})).await.json().unwrap();
    let path = format!("{HOOKS}/{}", made["id"]);
    let mut tested = Vec::new();
    for _ in 0..3 {
        let answer = rig.post(&format!("{path}/test")).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        tested.push(answer.json().unwrap());
    }
    let seen = receiver.wait_for(3).await;
    let ids: Vec<Value> = seen.iter().map(|seen| json!(seen.id())).collect();
    assert_eq!(ids, tested.iter().map(|t| t["id"].clone()).collect::<Vec<_>>());
    assert_eq!((&seen[0].json()["type"], &seen[0].json()["tenant"]), (&json!("test"), &json!("a")));

    let delivered = format!("{path}/deliveries?state=delivered");
    let found = async || {
        let page = rig.ok(&delivered).await;
        (page["items"].as_array().unwrap().len() == 3).then_some(page)
    };
    let log = loop {
        if let Some(page) = found().await {
            break page;
        }
        tokio::task::yield_now().await;
    };
    let numbers: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|d| d["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let last = &log["items"][0];
    assert_eq!((&last["status"], &last["error"], &last["attempts"]), (&json!(200), &json!(null), &json!(1)));
    let page = rig.ok(&format!("{path}/deliveries?limit=2")).await;
    assert_eq!(page["next_cursor"], json!("2"));
    let rest = rig.ok(&format!("{path}/deliveries?limit=2&cursor=2")).await;
    assert_eq!((&rest["items"][0]["number"], &rest["next_cursor"]), (&json!(1), &json!(null)));
    assert_eq!(rig.ok(&format!("{path}/deliveries?state=waiting")).await["items"], json!([]));
}
