//! `Prefer: wait` and `respond-async`: who asks is told, by a receipt or by where to find one.

use std::time::Duration;

use domain::Partition;
use queue::reader::EntryId;
use queue::receipts::ReceiptMessage;
use serde_json::json;
use testkit::http::Response;

use crate::rig::{PARTITIONS, Rig, Seen, queue};

const BODY: &str = r#"{"conversions":[{"user_id":"a","metric":"m"},{"user_id":"b","metric":"m"},{"user_id":"c","metric":"m"},{"user_id":"d","metric":"m"},{"user_id":"e","metric":"m"}]}"#;

async fn until_seen(rig: &Rig, count: usize) {
    let there = || async { rig.seen().await.len() == count };
    testkit::eventually("the events are in the streams", Duration::from_secs(60), there).await.unwrap();
}

/// Plays the owners of all partitions: waits until `count` events are there, then sends a receipt for each frame,
/// in which the first event is a conflict and the others are recorded.
async fn apply(rig: &Rig, count: usize) {
    until_seen(rig, count).await;
    let seen = rig.seen().await;
    // A receipt told to nobody is only to be found in the database.
    let address = seen[0].receipt.clone().expect("the client waits").0;
    let heard = || async {
        let told = rig.redis.command(&["PUBSUB", "NUMSUB", &address]).await.unwrap();
        redis::from_redis_value::<(String, u64)>(told).unwrap().1 == 1
    };
    testkit::eventually("the gateway hears of receipts", Duration::from_secs(60), heard).await.unwrap();
    let reporter = queue(&rig.redis.url(), PARTITIONS).reporter();
    for receipt in receipts(&seen) {
        reporter.report(Partition(0), &[], &[receipt], EntryId::ZERO, Duration::ZERO).await;
    }
}

fn receipts(seen: &[Seen]) -> Vec<ReceiptMessage> {
    let mut receipts: Vec<ReceiptMessage> = Vec::new();
    for event in seen {
        let (address, part, _) = event.receipt.clone().expect("the client waits");
        match receipts.iter_mut().find(|receipt| receipt.part == part) {
            Some(receipt) => receipt.recorded += 1,
            None => receipts.push(ReceiptMessage {
                address,
                request_id: event.request_id.clone(),
                batch: event.batch,
                part,
                recorded: 0,
                deduplicated: 1,
                conflicts: 1,
                dead_lettered: 0,
            }),
        }
    }
    receipts
}

fn check_location(answer: &Response, base: &str, parts: usize) {
    let body = answer.json().unwrap();
    let location = answer.header("location").unwrap();
    let wanted = format!(
        "{base}/api/v1/batches/{}?request={}&parts={parts}&received=5&at=",
        body["batch_id"].as_str().unwrap(),
        answer.header("x-request-id").unwrap()
    );
    let at =
        location.strip_prefix(&wanted).unwrap_or_else(|| panic!("{location} does not begin with {wanted}"));
    assert!(domain::Timestamp::parse(at).is_some(), "{at}");
    assert_eq!(body["status"], "queued");
}

fn parts(seen: &[Seen]) -> usize {
    let (_, _, parts) = seen[0].receipt.clone().unwrap();
    usize::from(parts)
}

#[tokio::test]
async fn who_waits_is_told_the_totals_of_the_commit() {
    let rig = Rig::start().await;
    let wait = [("prefer", "handling=lenient, wait=30")];
    let (answer, ()) = tokio::join!(rig.post_with("/api/v1/conversions", &wait, BODY), apply(&rig, 5));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    let body = answer.json().unwrap();
    let parts = parts(&rig.seen().await);
    let wanted = json!({"batch_id": body["batch_id"], "received": 5, "recorded": 5 - parts, "deduplicated": parts,
        "conflicts": parts, "dead_lettered": 0, "status": "applied"});
    assert_eq!(body, wanted);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn who_waits_in_vain_is_told_where_to_look() {
    let rig = Rig::start_with(&[("AB_RESULTS_URL", "https://results.example")]).await;
    let answer = rig.post_with("/api/v1/conversions", &[("prefer", "wait=1")], BODY).await;
    assert_eq!(answer.status, 202);
    let seen = rig.seen().await;
    check_location(&answer, "https://results.example", parts(&seen));
    assert!(seen.iter().all(|s| s.receipt.as_ref().is_some_and(|(address, ..)| !address.is_empty())));
    rig.end().await.unwrap();
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_told_at_once() {
    let rig = Rig::start_with(&[("AB_DEFAULT_WAIT", "20s")]).await;
    let answer = rig.post_with("/api/v1/conversions", &[("prefer", "respond-async")], BODY).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let seen = rig.seen().await;
    check_location(&answer, "", parts(&seen));
    assert!(
        seen.iter().all(|s| s.receipt.as_ref().is_some_and(|(address, ..)| address.is_empty())),
        "stored only"
    );
    let answer = rig.post_with("/api/v1/conversions", &[("prefer", "wait=0")], BODY).await;
    assert_eq!(answer.status, 202);
    assert!(answer.header("location").is_some());
    rig.end().await.unwrap();
}

#[tokio::test]
async fn clients_that_cannot_ask_wait_by_setting() {
    let rig = Rig::start_with(&[("AB_DEFAULT_WAIT", "20s")]).await;
    let (answer, ()) = tokio::join!(rig.post("/api/v1/conversions", BODY), apply(&rig, 5));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("preference-applied"), None, "nothing was asked for");
    rig.end().await.unwrap();
}

#[tokio::test]
async fn ending_does_not_make_anybody_wait() {
    let rig = Rig::start().await;
    let end_when_queued = async {
        until_seen(&rig, 5).await;
        rig.shutdown.begin();
    };
    let wait = [("prefer", "wait=30")];
    let (answer, ()) = tokio::join!(rig.post_with("/api/v1/conversions", &wait, BODY), end_when_queued);
    assert_eq!(answer.status, 202, "durable, and the receipt will be in the database");
    assert!(answer.header("location").is_some());
    rig.end().await.unwrap();
}
