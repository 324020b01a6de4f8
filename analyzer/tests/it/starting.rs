//! What the analyzer refuses to start with, and how it ends.

use service::boot::{Boot, BootError, Listeners};
use testkit::{Postgres, Redis};

use crate::rig::{Rig, settings};

/// The refusal a start with these settings ends in.
async fn refusal(database: &str, redis: &str, more: &[(&str, &str)]) -> (String, String) {
    let boot = Boot::embedded(settings(database, redis, more).await).unwrap();
    match analyzer::serve(boot, Listeners::loopback().await.unwrap()).await {
        Err(BootError::Refused(refusal)) => (refusal.variable, refusal.reason),
        other => panic!("started: {other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_name() {
    let server = testkit::postgres().await;
    let name = server.create_database().await.unwrap();
    let database = server.url_for(&name);
    let weak = Redis::start_with(&[("appendfsync", "everysec")]).await.unwrap();
    let production = [
        ("AB_ENV", "production"),
        (
            "AB_API_KEYS",
            "c0rrect-horse-battery-5taple-91:a:ingest,read;p1nk-elephants-0n-parade-2207:a:admin",
        ),
    ];
    let (variable, reason) = refusal(&database, &weak.url(), &production).await;
    assert_eq!(variable, "AB_REDIS_URL");
    assert!(reason.contains("appendfsync") && reason.contains("everysec"), "{reason}");

    let nowhere = testkit::free_port().unwrap();
    let dead_redis = format!("redis://:hunter2-hunter2@127.0.0.1:{nowhere}/");
    let soon = [("AB_STARTUP_TIMEOUT", "1s")];
    let (variable, reason) = refusal(&database, &dead_redis, &soon).await;
    assert_eq!(variable, "AB_REDIS_URL");
    assert!(!reason.contains("hunter2"), "{reason}");
    let dead_database = format!("postgres://me:hunter2-hunter2@127.0.0.1:{nowhere}/x");
    let (variable, reason) = refusal(&dead_database, &weak.url(), &soon).await;
    assert_eq!(variable, "AB_DATABASE_URL");
    assert!(reason.contains("me:***@") && !reason.contains("hunter2"), "{reason}");

    // The first start recorded two partitions.
    let (variable, reason) = refusal(&database, &weak.url(), &[("AB_PARTITIONS", "3")]).await;
    assert_eq!(variable, "AB_PARTITIONS");
    assert!(reason.contains('2') && reason.contains('3'), "{reason}");

    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    server.execute("postgres", &read_only).await.unwrap();
    let (variable, reason) = refusal(&database, &weak.url(), &soon).await;
    assert_eq!(variable, "AB_DATABASE_URL");
    assert!(reason.contains("read-only"), "{reason}");
}

#[tokio::test]
async fn readiness_is_a_write_and_the_end_is_orderly() {
    let rig = Rig::start().await;
    let ready = rig.ok("/readyz").await;
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["checks"][0]["name"], "database");
    let metrics = testkit::http::Client::at(rig.internal).get("/metrics").await.unwrap();
    assert!(metrics.text().contains("abstream_catalogue_failures_total 0"), "{}", metrics.text());
    rig.boot.shutdown.begin();
    rig.serving.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(rig.addr).await.is_err());
}

#[tokio::test]
async fn a_database_that_goes_away_is_said_and_comes_back() {
    let server = Postgres::fast().await.unwrap();
    let name = server.create_database().await.unwrap();
    let redis = Redis::start().await.unwrap();
    let boot = Boot::embedded(settings(&server.url_for(&name), &redis.url(), &[]).await).unwrap();
    let listeners = Listeners::loopback().await.unwrap();
    let addr = listeners.public_addr().unwrap();
    let serving = tokio::spawn(analyzer::serve(boot.clone(), listeners));
    let admin = crate::rig::client(addr, "admin-a");
    assert_eq!(admin.get("/api/v1/experiments").await.unwrap().status, 200);
    server.stop().await.unwrap();
    let refused = admin.get("/api/v1/experiments").await.unwrap();
    assert_eq!((refused.status, crate::rig::code(&refused).as_str()), (503, "storage_unavailable"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(admin.get("/health").await.unwrap().status, 200);
    assert_eq!(admin.get("/readyz").await.unwrap().status, 503);
    server.restart().await.unwrap();
    let back =
        || async { matches!(admin.get("/api/v1/experiments").await, Ok(answer) if answer.status == 200) };
    testkit::eventually("the analyzer answers again", std::time::Duration::from_secs(60), back)
        .await
        .unwrap();
    boot.shutdown.begin();
    serving.await.unwrap().unwrap();
}
