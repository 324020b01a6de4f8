//! Facts become deliveries, once however many analyzers look.

use serde_json::{Value, json};
use service::boot::{Boot, Listeners};

use super::receiver::{Receiver, Seen};
use crate::answers::{converting, moments};
use crate::rig::{Rig, settings};
use domain::Day;

fn kinds(seen: &[Seen]) -> Vec<String> {
    let mut kinds: Vec<String> =
        seen.iter().map(|seen| seen.json()["type"].as_str().unwrap().to_owned()).collect();
    kinds.sort_unstable();
    kinds
}

fn watched(key: &str) -> Value {
    json!({
        "key": key,
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [
            {"key": "signup", "type": "proportion", "role": "primary"},
            {"key": "refund", "type": "proportion", "role": "guardrail", "direction": "down"},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_analyzers_tell_each_fact_once() {
    const SOON: [(&str, &str); 2] =
        [("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"), ("AB_WEBHOOK_INTERVAL", "1s")];
    let rig = Rig::start_with(&SOON).await;
    let url = testkit::postgres().await.url_for(&rig.database);
    let second = Boot::embedded(settings(&url, &rig.redis.url(), &SOON).await).unwrap();
    let serving = tokio::spawn(analyzer::serve(second.clone(), Listeners::loopback().await.unwrap()));

    let (all, letters, others) =
        (Receiver::willing().await, Receiver::willing().await, Receiver::willing().await);
    for (key, body) in [
        ("admin-a", json!({"url": all.url()})),
        ("admin-a", json!({"url": letters.url(), "events": ["dead_letters"]})),
        ("admin-b", json!({"url": others.url()})),
    ] {
        assert_eq!(rig.client(key).post_json("/api/v1/webhooks", &body).await.unwrap().status, 201);
    }
    let skewed = rig.running(&watched("skewed")).await;
    let harmful = rig.running(&watched("harmful")).await;
    let today = Day(domain::Timestamp::parse("2026-03-01T00:00:00Z").unwrap().day().0);
    // Both arms at once: a look between them would find users in one arm only, and tell that.
    let arms = [10_000, 12_000].map(|users| moments(&skewed.plan(), users, &[]));
    rig.arms(&skewed, 0, today, &[(0, &arms[0]), (1, &arms[1])]).await;
    let arms = [100, 900].map(|refunds| converting(&harmful.plan(), 10_000, &[2_000, refunds]));
    rig.arms(&harmful, 1, today, &[(0, &arms[0]), (1, &arms[1])]).await;
    rig.counter(skewed.id.0, 0, -1, "dead_lettered", 7).await;

    let expected =
        ["dead_letters", "decision_changed", "decision_changed", "guardrail_harmed", "srm_mismatch"];
    let heard = all.wait_until("facts", |seen| kinds(seen) == expected).await;
    let of = |kind: &str, key: &str| {
        let found = heard.iter().map(Seen::json).find(|body| {
            body["type"] == kind && (key.is_empty() || body["data"]["experiment"]["key"] == key)
        });
        found.unwrap_or_else(|| panic!("{kind} {key}: {heard:#?}"))
    };
    assert_eq!(of("dead_letters", "")["data"], json!({"events": 7, "total": 7}));
    assert_eq!(of("srm_mismatch", "skewed")["data"]["arms"][1]["users"], json!(12_000));
    assert_eq!(of("decision_changed", "skewed")["data"]["reasons"], json!(["srm_mismatch"]));
    assert_eq!(of("guardrail_harmed", "harmful")["data"]["metric"], json!("refund"));
    assert_eq!(of("decision_changed", "harmful")["data"]["reasons"], json!(["guardrail_harmed"]));

    // More letters are told after everything before: had anything been told twice, it would be here by then.
    rig.counter(skewed.id.0, 1, -1, "dead_lettered", 5).await;
    let heard = all.wait_until("more letters", |seen| {
        seen.last().is_some_and(|last| last.json()["data"]["total"] == 12)
    });
    assert_eq!(heard.await.len(), expected.len() + 1);
    let ids: std::collections::BTreeSet<String> = all.ids().into_iter().collect();
    assert_eq!(ids.len(), expected.len() + 1);
    let told = letters.wait_for(2).await;
    assert_eq!(kinds(&told), ["dead_letters", "dead_letters"]);
    assert!(others.seen().is_empty(), "another tenant's");
    second.shutdown.begin();
    serving.await.unwrap().unwrap();
}
