//! What the database knows of the whole deployment, as metrics.

use analyzer::watch::Watch;
use service::metrics::Metrics;

use crate::answers::{DAY, moments};
use crate::rig::{PARTITIONS, Rig, queue, two_arms};

#[tokio::test]
async fn books_and_experiments_show_as_metrics() {
    let rig = Rig::start().await;
    let balanced = rig.running(&two_arms("balanced")).await;
    let skewed = rig.running(&two_arms("skewed")).await;
    assert_eq!(rig.post("/api/v1/experiments/skewed/stop").await.status, 200);
    rig.admin.post_json("/api/v1/experiments", &two_arms("draft")).await.unwrap();
    for (experiment, users) in [(&balanced, [1_000, 1_010]), (&skewed, [1_000, 1_500])] {
        for (variation, users) in [(0, users[0]), (1, users[1])] {
            let arm = moments(&experiment.plan(), users, &[]);
            rig.moments(experiment, 0, variation, DAY, &arm).await;
        }
    }
    let metrics = Metrics::new();
    let watch = Watch::new(rig.store().await, queue(&rig.redis.url()), PARTITIONS, &metrics).unwrap();
    let shown = async || {
        watch.look().await.unwrap();
        metrics.render().unwrap()
    };

    let stopped = shown().await;
    for line in [
        "abstream_partitions 2",
        "abstream_books_events{line=\"received\"} 0",
        "abstream_books_events{line=\"in_flight\"} 0",
        "abstream_experiments{status=\"draft\"} 1",
        "abstream_experiments{status=\"running\"} 1",
        "abstream_experiments{status=\"stopped\"} 1",
        "abstream_experiments{status=\"archived\"} 0",
        "abstream_experiments_rebuilding 0",
        "abstream_experiments_sample_ratio_mismatch 0",
        "abstream_watch_failures_total 0",
    ] {
        assert!(stopped.lines().any(|shown| shown == line), "{line}\n{stopped}");
    }

    // Only those that run are anybody's to look at now.
    assert_eq!(rig.post("/api/v1/experiments/skewed/start").await.status, 200);
    let running = shown().await;
    assert!(running.contains("abstream_experiments_sample_ratio_mismatch 1\n"), "{running}");

    // Another metric is another plan; nobody builds its sums here, so the rebuild goes on.
    let mut changed = two_arms("skewed");
    changed["metrics"] = serde_json::json!([{"key": "revenue", "type": "mean"}]);
    let body = changed.to_string();
    let headers = [("content-type", "application/json")];
    let put = rig.admin.request("PUT", "/api/v1/experiments/skewed", &headers, body).await.unwrap();
    assert_eq!(put.status, 200, "{}", put.text());
    let rebuilding = shown().await;
    assert!(rebuilding.contains("abstream_experiments_rebuilding 1\n"), "{rebuilding}");
    // What an owner of the partitions does last.
    rig.sql("DELETE FROM rebuilds; UPDATE experiments SET next_definition = NULL, next_version = NULL").await;
    let built = shown().await;
    assert!(built.contains("abstream_experiments_rebuilding 0\n"), "{built}");

    // Without the queue nobody knows what is in flight.
    rig.redis.kill().await.unwrap();
    assert!(watch.look().await.is_err());
}
