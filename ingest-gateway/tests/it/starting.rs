//! When the gateway starts, when it refuses to, and how it ends.

use std::time::Duration;

use ingest_gateway::serve;
use service::boot::{Boot, BootError, Listeners};
use testkit::Redis;
use testkit::http::Client;

use crate::rig::{PARTITIONS, Rig, SHORT_BUDGET, fill_catalogue, queue, settings};

const KEY: &str = "a-key-long-enough-for-production";

/// Starts in production and gives the line with which it refuses; a start that succeeds is ended.
async fn refusal(url: &str, more: &[(&str, &str)]) -> Option<String> {
    let production = [("AB_ENV", "production"), ("AB_API_TOKEN", KEY), ("AB_API_KEYS", "")];
    let boot = Boot::embedded(settings(url, &[&production[..], more].concat())).unwrap();
    let listeners = Listeners::loopback().await.unwrap();
    // Begun at once, it ends as soon as it serves.
    boot.shutdown.begin();
    match serve(boot, listeners, queue(url, PARTITIONS)).await {
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
    let line = refusal(&url, &[("AB_STARTUP_TIMEOUT", "1s")]).await.unwrap();
    assert!(line.starts_with("AB_REDIS_URL: ") && !line.contains("secret"), "{line}");

    let rig = Rig::on(redis, &[SHORT_BUDGET]).await;
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
async fn elsewhere_a_weak_redis_only_shows() {
    let weak = Redis::start_with(&[("appendfsync", "everysec"), ("maxmemory", "0")]).await.unwrap();
    let rig = Rig::on(weak, &[]).await;
    let shown = || async { rig.metric("abstream_queue_weak_settings").await == 2.0 };
    testkit::eventually("the gauge shows both", Duration::from_secs(60), shown).await.unwrap();
    rig.end().await.unwrap();
}

#[tokio::test]
async fn the_ports_are_free_after_the_end() {
    let rig = Rig::start().await;
    let (public, internal) = (rig.addr, rig.internal);
    rig.end().await.unwrap();
    for (port, path) in [(public, "/health"), (internal, "/metrics")] {
        assert!(Client::at(port).get(path).await.is_err());
    }
}
