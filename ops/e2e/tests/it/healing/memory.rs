//! Redis runs out of memory or of disk.

use super::{LIMIT, Patient, gateway};
use crate::support::{eventually, two_arms};
use e2e::run::settled;
use e2e::{Deployment, Load, Setup, System, patience};
use serde_json::json;
use testkit::Redis;

const REFUSALS: &str = "abstream_queue_refusals_total";
const PERCENT: &str = "abstream_queue_memory_percent";
/// Some 4 MB of requests.
const FEW: i64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_refused_before_redis_refuses_and_drains() {
    let redis = vec![("maxmemory", "48mb")];
    // With one partition a request is one frame: one that is refused has not left a part of it in the queue.
    let setup = Setup { partitions: 1, worker: false, redis, ..Setup::default() };
    let mut system = System::start(setup).await.unwrap();
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    let client = system.ingest();
    // The same few users with long names: cheap to apply, and not to keep.
    let exposures: Vec<_> =
        (0..100).map(|n| json!({"user_id": format!("{n:0>180}"), "variation_index": 0})).collect();
    let send = async || {
        let body = json!({"exposures": exposures});
        patience::post_json(&client, "/api/v1/experiments/exp/exposures", &body).await.unwrap()
    };
    let (mut accepted, mut shown) = (0, 0.0);
    let refused = loop {
        let answer = send().await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 100;
        // The gateway looks once a second. Who fills the rest of the memory meanwhile meets Redis itself.
        if accepted % FEW == 0 {
            let before = shown;
            eventually("the gateway looks", LIMIT, async || {
                shown = gateway(&system, PERCENT).await;
                shown > before
            })
            .await;
        }
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(gateway(&system, REFUSALS).await, 0.0, "Redis itself refused nothing");
    eventually("the gateway shows why", LIMIT, async || gateway(&system, PERCENT).await >= 80.0).await;
    println!("{accepted} events accepted");

    system.start_worker().unwrap();
    eventually("events are accepted again", LIMIT, async || {
        let answer = send().await;
        accepted += if answer.status == 202 { 100 } else { 0 };
        answer.status == 202
    })
    .await;
    let books = settled(&system).await.unwrap();
    assert_eq!((books.total.received, books.total.recorded, books.are_good()), (accepted, 100, true));
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_memory_others_have_taken() {
    let patient = Patient::admit(Setup::default(), 74).await;
    let before = gateway(&patient.system, REFUSALS).await;
    patient.system.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    eventually("the gateway is refused, and refuses", LIMIT, async || {
        gateway(&patient.system, REFUSALS).await > before && gateway(&patient.system, PERCENT).await >= 100.0
    })
    .await;
    patient.system.redis.command(&["CONFIG", "SET", "maxmemory", "2gb"]).await.unwrap();
    patient.heals("out of memory for a while").await;
    patient.discharge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_disk_is_full_until_the_operator_makes_room() {
    let redis = Redis::start_with_disk(32 << 20).await.unwrap();
    let system = System::start_with(Setup::default(), redis).await.unwrap();
    let load = Load::start(&system, 75).await.unwrap();
    let patient = Patient { system, load };
    patient.heals("it is well").await;
    let redis = &patient.system.redis;
    // It does not go on when it cannot keep what it would acknowledge: not now, nor when started again.
    redis.fill_disk().unwrap();
    eventually("Redis has ended", LIMIT, async || redis.pid().is_none()).await;
    assert!(redis.log().contains("Can't recover from AOF write error"), "{}", redis.log());
    let unreachable = async || gateway(&patient.system, "abstream_queue_reachable").await == 0.0;
    eventually("the gateway misses it", LIMIT, unreachable).await;
    redis.free_disk().unwrap();
    redis.restart().await.unwrap();
    patient.heals("the disk full").await;
    patient.discharge().await;
}
