//! In doubt the answer is 503 with `Retry-After`: never a false 404, never a false 202.

use std::time::Duration;

use testkit::Redis;

use crate::rig::{PARTITIONS, Rig, SHORT_BUDGET, error_code, fill_catalogue};

const LIMIT: Duration = Duration::from_secs(60);
const BODY: &str = r#"{"conversions":[{"user_id":"a","metric":"m","idempotency_key":"k"}]}"#;
const OF_CHECKOUT: &str = "/api/v1/experiments/checkout/conversions";
const TAKEN: &str = "";

/// Posts until the answer is 202 (`TAKEN`) or 503 with this `error_code`; it is always one of the two.
async fn until(rig: &Rig, path: &str, wanted: &str) {
    let posted = || async {
        let answer = rig.post(path, BODY).await;
        assert!(answer.status == 202 || answer.status == 503, "{} {}", answer.status, answer.text());
        let code = if answer.status == 503 { error_code(&answer) } else { TAKEN.to_owned() };
        code == wanted
    };
    testkit::eventually(&format!("{path} is told {wanted:?}"), LIMIT, posted).await.unwrap();
}

#[tokio::test]
async fn an_incomplete_catalogue_is_not_an_empty_one() {
    let rig = Rig::on(Redis::start().await.unwrap(), &[]).await;
    let answer = rig.post(OF_CHECKOUT, BODY).await;
    assert_eq!((answer.status, error_code(&answer).as_str()), (503, "catalogue_unavailable"));
    let event = r#"{"events":[{"type":"conversion","user_id":"a","experiment":"checkout","metric":"m"}]}"#;
    let answer = rig.post("/api/v1/events", event).await;
    assert_eq!((answer.status, error_code(&answer).as_str()), (503, "catalogue_unavailable"));
    let answer = rig.post("/api/v1/conversions", BODY).await;
    assert_eq!(answer.status, 202, "the tenant's conversions need no catalogue");

    fill_catalogue(&rig.redis, PARTITIONS).await;
    until(&rig, OF_CHECKOUT, TAKEN).await;
    rig.end().await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_gone_and_comes_back() {
    let rig = Rig::start_with(&[SHORT_BUDGET]).await;
    until(&rig, "/api/v1/conversions", TAKEN).await;
    rig.redis.stop().await.unwrap();
    until(&rig, "/api/v1/conversions", "queue_unavailable").await;
    let ready = rig.client.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "it can answer: {}", ready.text());
    assert_eq!(rig.client.get("/health").await.unwrap().status, 200);

    rig.redis.restart().await.unwrap();
    until(&rig, "/api/v1/conversions", TAKEN).await;
    until(&rig, OF_CHECKOUT, TAKEN).await;
    rig.end().await.unwrap();
}

#[tokio::test]
async fn a_backlog_at_its_limit_takes_nothing_more() {
    let rig = Rig::start_with(&[("AB_QUEUE_MAX_EVENTS", "3")]).await;
    until(&rig, "/api/v1/conversions", "queue_full").await;
    let shown = || async { rig.metric("abstream_queue_backlog_events").await >= 3.0 };
    testkit::eventually("the gauge shows it", LIMIT, shown).await.unwrap();
    assert!(rig.seen().await.len() >= 3);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn memory_near_its_limit_takes_nothing_more() {
    let rig = Rig::start().await;
    assert_eq!(rig.post("/api/v1/conversions", BODY).await.status, 202);
    rig.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    until(&rig, "/api/v1/conversions", "queue_full").await;
    rig.redis.command(&["CONFIG", "SET", "maxmemory", "2gb"]).await.unwrap();
    until(&rig, "/api/v1/conversions", TAKEN).await;
    rig.end().await.unwrap();
}
