//! Requests of the real clients, recorded byte for byte (`ops/clients/real/record.py`), through the whole gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testkit::http::raw;

use crate::rig::{Rig, Seen};

/// What every client was told to send: three users, each seen once, each doing something once, and something else.
const SENT: [&str; 6] = [
    "0 user-0 did Order Completed 0",
    "0 user-1 did Order Completed 0.87",
    "0 user-1 did Order Completed 1.24",
    "1 user-0 saw 0",
    "1 user-1 saw 1",
    "1 user-2 saw 0",
];

struct Recorded {
    client: &'static str,
    requests: &'static [&'static [u8]],
    /// Events of its that are neither exposure nor conversion.
    others: f64,
}

macro_rules! recorded {
    ($client:literal, $($number:literal)+, $others:literal) => {
        Recorded {
            client: $client,
            requests: &[$(include_bytes!(concat!("../data/sdks/", $client, "-", $number, ".http"))),+],
            others: $others,
        }
    };
}

const RECORDED: [Recorded; 12] = [
    recorded!("segment-python", "1", 1.0),
    recorded!("segment-node", "1", 1.0),
    recorded!("rudder-python", "1", 1.0),
    recorded!("rudder-node", "1" "2", 1.0),
    recorded!("posthog-python", "1", 1.0),
    recorded!("posthog-python-v1", "1", 1.0),
    recorded!("posthog-node", "1", 1.0),
    recorded!("posthog-node-v1", "1", 1.0),
    recorded!("growthbook-python", "1" "2", 1.0),
    recorded!("growthbook-node", "1" "2", 1.0),
    recorded!("cloudevents-python", "1" "2" "3" "4", 0.0),
    recorded!("cloudevents-node", "1" "2" "3" "4", 0.0),
];

impl Recorded {
    /// Whether its events have ids and times; GrowthBook's have neither.
    fn keyed(&self) -> bool {
        !self.client.starts_with("growthbook")
    }
}

/// Sends the recorded bytes and gives the answer's body.
async fn replay(rig: &Rig, request: &[u8], client: &str) -> Value {
    let answer = raw(rig.addr, request, false, Duration::from_secs(60)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    // Half of the clients take nothing but 200 for a success; CloudEvents are answered as our own events are.
    let expected = if client.starts_with("cloudevents") { "HTTP/1.1 202 " } else { "HTTP/1.1 200 " };
    assert!(head.starts_with(expected), "{client}: {answer}");
    serde_json::from_str(body).unwrap()
}

/// Experiment, user and what happened, without key and time.
fn facts(seen: &[Seen]) -> Vec<String> {
    let facts = seen.iter().map(|event| {
        let what = event.what.split(" key ").next().unwrap().split(" at ").next().unwrap();
        format!("{} {} {what}", event.experiment, event.user)
    });
    let mut facts: Vec<String> = facts.collect();
    facts.sort();
    facts
}

fn keys(seen: &[Seen]) -> BTreeSet<&str> {
    let after = |event: &Seen| event.what.find(" key ").map(|at| at + " key ".len());
    let keys = seen.iter().filter_map(|event| event.what.get(after(event)?..));
    keys.map(|key| key.split(" at ").next().unwrap()).filter(|key| !key.starts_with('#')).collect()
}

#[tokio::test]
async fn what_a_real_client_sends_is_what_it_was_told_to_send() {
    for recorded in RECORDED {
        let keyed = recorded.keyed();
        let Recorded { client, requests, others } = recorded;
        let rig = Rig::start().await;
        let mut answers = Vec::new();
        for request in requests {
            answers.push(replay(&rig, request, client).await);
        }
        let seen = rig.seen().await;
        assert_eq!(facts(&seen), SENT, "{client}");
        assert_eq!(keys(&seen).len(), if keyed { 6 } else { 0 }, "{client}: {seen:?}");
        assert!(seen.iter().all(|event| event.what.contains(" at ") == keyed), "{client}: {seen:?}");
        // All but GrowthBook and CloudEvents say when they sent, which is long ago.
        let corrected = seen.iter().all(|event| event.clock_shift > 0);
        assert_eq!(corrected, keyed && !client.starts_with("cloudevents"), "{client}");
        let ignored = rig.metric("abstream_ingest_rejected_total{error_code=\"event_ignored\"}").await;
        assert_eq!(ignored, others, "{client}");
        let keyless = rig.metric("abstream_ingest_keyless_total").await;
        assert_eq!(keyless, if keyed { 0.0 } else { 3.0 }, "{client}");
        if client.ends_with("-v1") {
            let results = answers[0]["results"].as_object().unwrap();
            let verdicts: Vec<&str> = results.values().map(|r| r["result"].as_str().unwrap()).collect();
            assert_eq!(verdicts.iter().filter(|verdict| **verdict == "ok").count(), 6, "{verdicts:?}");
            assert_eq!(verdicts.iter().filter(|verdict| **verdict == "warning").count(), 1, "{verdicts:?}");
            assert!(keys(&seen).iter().all(|key| results[*key]["result"] == "ok"), "{results:?}");
        } else if !client.starts_with("cloudevents") {
            let number = |name: &str| answers.iter().map(|a| a[name].as_u64().unwrap()).sum::<u64>();
            assert_eq!((number("received"), number("rejected")), (6, 1), "{client}");
            assert_eq!((&answers[0]["success"], &answers[0]["status"]), (&true.into(), &"Ok".into()));
        }
        rig.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_sent_again_has_the_same_keys() {
    for Recorded { client, requests, .. } in RECORDED.iter().filter(|recorded| recorded.keyed()) {
        let rig = Rig::start().await;
        for request in requests.iter().chain(*requests) {
            replay(&rig, request, client).await;
        }
        let seen = rig.seen().await;
        assert_eq!((seen.len(), keys(&seen).len()), (12, 6), "{client}");
        rig.end().await.unwrap();
    }
}
