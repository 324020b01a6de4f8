//! When the gateway starts, when it refuses to, and how it ends.

use std::time::Duration;

use ingest_gateway::serve;
use service::boot::{Boot, BootError, Listeners};
use testkit::Redis;

use crate::rig::{PARTITIONS, Rig, fill_catalogue, settings};

const KEY: &str = "a-key-long-enough-for-production";

/// Starts in production and gives the line with which it refuses; a start that succeeds is ended.
async fn refusal(url: &str, more: &[(&str, &str)]) -> Option<String> {
    let production =
        [("AB_ENV", "production"), ("AB_API_TOKEN", KEY), ("AB_API_KEYS", ""), ("AB_STARTUP_TIMEOUT", "1s")];
    let boot = Boot::for_testing(settings(url, &[&production[..], more].concat())).unwrap();
    let listeners = Listeners::loopback().await.unwrap();
    // Begun at once, it ends as soon as it serves.
    boot.shutdown.begin();
    match serve(boot, listeners).await {
        Ok(()) => None,
        Err(BootError::Refused(refusal)) => Some(refusal.to_string()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn production_wants_a_redis_that_keeps_what_it_takes() {
    let weak = Redis::start_with(&[("appendfsync", "everysec")]).await.unwrap();
    let line = refusal(&weak.url(), &[]).await.unwrap();
    assert!(line.starts_with("AB_REDIS_URL: ") && line.contains("appendfsync everysec"), "{line}");
    assert_eq!(refusal(&weak.url(), &[("AB_ALLOW_WEAK_DURABILITY", "true")]).await, None);
    let fit = Redis::start().await.unwrap();
    assert_eq!(refusal(&fit.url(), &[]).await, None, "an empty catalogue is no reason");
}

#[tokio::test]
async fn production_wants_its_redis_now_and_others_wait_for_it() {
    let redis = Redis::start().await.unwrap();
    fill_catalogue(&redis, PARTITIONS).await;
    redis.stop().await.unwrap();
    let url = redis.url().replace("redis://", "redis://user:secret@");
    let line = refusal(&url, &[]).await.unwrap();
    assert!(line.starts_with("AB_REDIS_URL: ") && !line.contains("secret"), "{line}");

    let rig = Rig::on(redis, &[]).await;
    assert_eq!(rig.client.get("/readyz").await.unwrap().status, 200);
    rig.redis.restart().await.unwrap();
    let body = r#"{"conversions":[{"user_id":"a","metric":"m"}]}"#;
    let accepted =
        || async { rig.post("/api/v1/experiments/checkout/conversions", body).await.status == 202 };
    testkit::eventually("the gateway finds its Redis", Duration::from_secs(60), accepted).await.unwrap();
    rig.end().await.unwrap();
}

#[tokio::test]
async fn production_does_not_mix_partition_counts() {
    let redis = Redis::start().await.unwrap();
    fill_catalogue(&redis, PARTITIONS + 1).await;
    let line = refusal(&redis.url(), &[]).await.unwrap();
    assert!(line.starts_with("AB_PARTITIONS: ") && line.contains('5') && line.contains('4'), "{line}");
}

#[tokio::test]
async fn an_answered_request_outlives_the_gateway() {
    let rig = Rig::start().await;
    let body = r#"{"conversions":[{"user_id":"a","metric":"m"}]}"#;
    assert_eq!(rig.post("/api/v1/conversions", body).await.status, 202);
    let (redis, internal) = (rig.redis.url(), rig.internal);
    assert_eq!(rig.metric("abstream_queue_weak_settings").await, 0.0);
    let seen = rig.seen().await;
    assert_eq!(seen.len(), 1, "{redis}");
    rig.end().await.unwrap();
    assert!(testkit::http::Client::at(internal).get("/metrics").await.is_err(), "its ports are free again");
}
