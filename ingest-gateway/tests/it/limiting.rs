//! A tenant that sends more than it may is told how long to wait; others are not concerned.

use serde_json::json;
use std::time::Duration;
use testkit::http::{Client, Response};

use crate::rig::{Rig, error_code};

const LIMIT: Duration = Duration::from_secs(60);
const CONVERSIONS: &str = "/api/v1/conversions";

fn conversions(n: u32) -> String {
    let one = |i| json!({"user_id": format!("user-{i}"), "metric": "m", "idempotency_key": format!("k-{i}")});
    json!({"conversions": (0..n).map(one).collect::<Vec<_>>()}).to_string()
}

/// Seconds to wait, after a look at everything else that such an answer says.
fn refused(answer: &Response, what: &str) -> u64 {
    assert_eq!((answer.status, error_code(answer).as_str()), (429, "rate_limited"), "{}", answer.text());
    assert_eq!(answer.json().unwrap()["retryable"], true);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(answer.header("ratelimit"), Some(format!("\"{what}\";r=0;t={wait}").as_str()));
    assert_eq!(answer.header("ratelimit-policy"), Some(format!("\"{what}\";q=1;w=1").as_str()));
    wait
}

#[tokio::test]
async fn past_its_events_a_tenant_waits_on_every_route_and_nobody_else_does() {
    let others = ("AB_RATE_LIMIT_TENANTS", "acme:events=unlimited");
    let rig = Rig::start_with(&[("AB_RATE_LIMIT_EVENTS", "1"), others]).await;
    // More than a second's worth passes while nothing is used, and then has to be waited for.
    assert_eq!(rig.post(CONVERSIONS, &conversions(1_000)).await.status, 202);
    let wait = refused(&rig.post(CONVERSIONS, &conversions(1)).await, "events");
    assert!((900..=1_000).contains(&wait), "{wait}");
    let exposure = r#"{"exposures":[{"user_id":"late","variation_index":0}]}"#;
    refused(&rig.post("/api/v1/experiments/checkout/exposures", exposure).await, "events");
    let segment = r#"{"userId":"late","event":"m","messageId":"1"}"#;
    refused(&rig.post("/v1/track", segment).await, "events");

    let acme = Client::at(rig.addr).bearer("of-acme");
    for _ in 0..2 {
        let body = conversions(1_000);
        let answer = acme.post(CONVERSIONS, &[("content-type", "application/json")], body).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    let seen = rig.seen().await;
    assert_eq!(seen.iter().filter(|e| e.tenant == "default").count(), 1_000, "what was refused is nowhere");
    assert_eq!(seen.len(), 3_000);
    assert_eq!(rig.metric("abstream_ingest_rejected_total{error_code=\"rate_limited\"}").await, 3.0);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn past_its_requests_a_tenant_waits_before_its_body_is_read() {
    let rig = Rig::start_with(&[("AB_RATE_LIMIT_REQUESTS", "1")]).await;
    testkit::eventually("a second request within a second", LIMIT, || async {
        let answer = rig.post(CONVERSIONS, "not even JSON").await;
        if answer.status == 429 {
            refused(&answer, "requests");
        }
        answer.status == 429
    })
    .await
    .unwrap();
    rig.end().await.unwrap();
}

#[tokio::test]
async fn without_redis_it_is_the_queue_that_refuses() {
    let rig = Rig::start_with(&[("AB_RATE_LIMIT_EVENTS", "1")]).await;
    assert_eq!(rig.post(CONVERSIONS, &conversions(1_000)).await.status, 202);
    refused(&rig.post(CONVERSIONS, &conversions(1)).await, "events");
    rig.redis.stop().await.unwrap();
    let statuses = |wanted: u16| {
        let rig = &rig;
        move || async move { rig.post(CONVERSIONS, &conversions(1)).await.status == wanted }
    };
    testkit::eventually("the queue is away", LIMIT, statuses(503)).await.unwrap();
    rig.redis.restart().await.unwrap();
    testkit::eventually("the limit holds as before", LIMIT, statuses(429)).await.unwrap();
    rig.end().await.unwrap();
}
