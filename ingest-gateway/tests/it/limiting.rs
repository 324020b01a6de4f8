//! A tenant that sends more than it may is told how long to wait; others are not concerned.

use serde_json::json;
use std::time::Duration;
use testkit::http::{Client, Response};

use crate::rig::{Rig, SHORT_BUDGET, error_code};

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

/// Posts until that is limited: a Redis that takes more than a quarter of a second to answer limits nobody. The refusal,
/// and how often it was accepted before.
async fn limited(rig: &Rig, path: &str, body: &str) -> (Response, u64) {
    let posting = async {
        let mut accepted = 0;
        loop {
            let answer = rig.post(path, body).await;
            match answer.status {
                200 | 202 => accepted += 1,
                _ => return (answer, accepted),
            }
        }
    };
    tokio::time::timeout(LIMIT, posting).await.expect("limited in the end")
}

#[tokio::test]
async fn past_its_events_a_tenant_waits_on_every_route_and_nobody_else_does() {
    let others = ("AB_RATE_LIMIT_TENANTS", "acme:events=unlimited");
    let rig = Rig::start_with(&[("AB_RATE_LIMIT_EVENTS", "1"), others]).await;
    // More than a second's worth passes while nothing is used, and then has to be waited for.
    let (answer, batches) = limited(&rig, CONVERSIONS, &conversions(1_000)).await;
    let wait = refused(&answer, "events");
    assert!(batches >= 1 && (900..=1_000 * batches).contains(&wait), "{wait} after {batches}");
    let (answer, conversion) = limited(&rig, CONVERSIONS, &conversions(1)).await;
    let wait = refused(&answer, "events");
    assert!((900..=1_000 * batches + conversion).contains(&wait), "{wait} after {batches}");
    let exposure = r#"{"exposures":[{"user_id":"late","variation_index":0}]}"#;
    let (answer, exposure) = limited(&rig, "/api/v1/experiments/checkout/exposures", exposure).await;
    refused(&answer, "events");
    let segment = r#"{"userId":"late","event":"m","messageId":"1"}"#;
    let (answer, track) = limited(&rig, "/v1/track", segment).await;
    refused(&answer, "events");

    let acme = Client::at(rig.addr).bearer("of-acme");
    for _ in 0..2 {
        let body = conversions(1_000);
        let answer = acme.post(CONVERSIONS, &[("content-type", "application/json")], body).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    let seen = rig.seen().await;
    let of = |tenant: &str| seen.iter().filter(|e| e.tenant == tenant).count() as u64;
    let accepted = 1_000 * batches + conversion + exposure + track;
    assert_eq!((of("default"), of("acme")), (accepted, 2_000), "what was refused is nowhere");
    assert_eq!(rig.metric("abstream_ingest_rejected_total{error_code=\"rate_limited\"}").await, 4.0);
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
    let rig = Rig::start_with(&[("AB_RATE_LIMIT_EVENTS", "1"), SHORT_BUDGET]).await;
    testkit::eventually("it is limited", LIMIT, || async {
        rig.post(CONVERSIONS, &conversions(1_000)).await.status == 429
    })
    .await
    .unwrap();
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
