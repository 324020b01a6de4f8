//! Redis is away for a while, or has lost what is not an event.

use super::{LIMIT, Patient, analyzer, gateway};
use crate::support::{eventually, two_arms};
use e2e::{Deployment, Setup};

/// Channels that a gateway follows.
const CHANNELS: usize = 3;
/// Of a variation that no experiment has: refused once the experiment is known, so that nothing is ever written.
const BODY: &str = r#"{"exposures": [{"user_id": "probe", "variation_index": 9}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_or_without_catalogue() {
    let mut patient = Patient::admit(Setup::default(), 73).await;
    // The gateway is not asked about it before the catalogue is gone.
    patient.system.experiment(two_arms("quiet", &["purchase"])).await.unwrap();

    let before = gateway(&patient.system, "abstream_queue_unreachable_total").await;
    patient.system.redis.stop().await.unwrap();
    eventually("the gateway misses it", LIMIT, async || {
        gateway(&patient.system, "abstream_queue_reachable").await == 0.0
            && gateway(&patient.system, "abstream_queue_unreachable_total").await > before
    })
    .await;
    let subscriptions = || {
        let log = patient.system.gateway.stderr();
        ["subscription lost", "subscription is back"].map(|what| log.matches(what).count())
    };
    eventually("the loss of its subscriptions is told", LIMIT, async || subscriptions()[0] > 0).await;
    let [lost, back] = subscriptions();
    assert!(lost <= back + CHANNELS, "told once, however often it is tried: {lost}, {back}");
    patient.system.redis.restart().await.unwrap();
    patient.heals("stopped and started").await;
    eventually("and their return", LIMIT, async || {
        let [lost, back] = subscriptions();
        lost == back
    })
    .await;
    eventually("the gateway finds it", LIMIT, async || {
        gateway(&patient.system, "abstream_queue_reachable").await == 1.0
    })
    .await;

    let (before, client) =
        (analyzer(&patient.system, "abstream_catalogue_repairs_total").await, patient.system.ingest());
    let ask = async |key: &str| {
        let path = format!("/api/v1/experiments/{key}/exposures");
        client.post(&path, &[("content-type", "application/json")], BODY).await.unwrap()
    };
    // It would repair it before we look.
    patient.system.analyzer.pause().unwrap();
    patient.system.redis.command(&["DEL", "ab:{catalogue}"]).await.unwrap();
    for key in ["quiet", "nobody-knows-it"] {
        let answer = ask(key).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    patient.heals("what is known goes on").await;
    patient.system.analyzer.resume().unwrap();
    eventually("the catalogue is whole again", LIMIT, async || {
        let status = ask("quiet").await.status;
        assert!(matches!(status, 422 | 503), "{status}");
        status != 503
    })
    .await;
    // A failure is the answer for a while.
    eventually("nobody knows it", LIMIT, async || {
        let status = ask("nobody-knows-it").await.status;
        assert!(matches!(status, 404 | 503), "{status}");
        status != 503
    })
    .await;
    let repairs = async || analyzer(&patient.system, "abstream_catalogue_repairs_total").await;
    eventually("the repair is counted", LIMIT, async || repairs().await > before).await;
    patient.heals("the catalogue deleted").await;

    patient.discharge().await;
}
