//! What is accepted stands in the streams, exactly as sent.

use std::io::Write;

use domain::{BatchId, ExperimentId, Timestamp};
use serde_json::json;
use testkit::http::Client;

use crate::rig::{Rig, Seen};

fn lines(seen: &[Seen]) -> Vec<String> {
    let mut lines: Vec<String> = seen
        .iter()
        .map(|s| {
            format!("{} {} {}{}", s.experiment, s.user, s.what, if s.after_stop { " after stop" } else { "" })
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_route_writes_what_it_was_sent() {
    let rig = Rig::start().await;
    let exposures = r#"{"exposures":[{"user_id":"a","variation":"treatment","idempotency_key":"x1"},
        {"user_id":"b","variation_index":0,"occurred_at":"2026-03-01T00:00:00Z"}]}"#;
    let answer = rig.post("/api/v1/experiments/checkout/exposures", exposures).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("location"), None);
    let body = answer.json().unwrap();
    assert_eq!(
        (&body["received"], &body["keyless"], &body["status"]),
        (&json!(2), &json!(0), &json!("queued"))
    );
    assert_eq!(body.as_object().unwrap().len(), 4, "{body}");

    let conversions = r#"{"conversions":[{"user_id":"a","metric":"purchase","value":"12.50","idempotency_key":"k1"},
        {"user_id":"b","metric":"unheard-of"}]}"#;
    let answer = rig.post("/api/v1/experiments/1/conversions", conversions).await;
    assert_eq!((answer.status, &answer.json().unwrap()["keyless"]), (202, &json!(1)));
    let answer =
        rig.post("/api/v1/conversions", r#"{"conversions":[{"user_id":"c","metric":"purchase"}]}"#).await;
    assert_eq!(answer.status, 202);
    let stopped = r#"{"exposures":[{"user_id":"d","variation":"control"}]}"#;
    assert_eq!(rig.post("/api/v1/experiments/ended/exposures", stopped).await.status, 202);
    let draft = r#"{"conversions":[{"user_id":"e","metric":"purchase","idempotency_key":"k"}]}"#;
    assert_eq!(rig.post("/api/v1/experiments/planned/conversions", draft).await.status, 202);

    assert_eq!(
        lines(&rig.seen().await),
        [
            "0 c did purchase 1 key #0",
            "1 a did purchase 12.5 key k1",
            "1 a saw 1 key x1",
            "1 b did unheard-of 1 key #1",
            "1 b saw 0 at 2026-03-01T00:00:00Z",
            "2 e did purchase 1 key k",
            "4 d saw 0 after stop",
        ]
    );
    assert_eq!(rig.metric("abstream_ingest_events_total{kind=\"exposure\"}").await, 3.0);
    assert_eq!(rig.metric("abstream_ingest_events_total{kind=\"conversion\"}").await, 4.0);
    assert_eq!(rig.metric("abstream_ingest_keyless_total").await, 2.0);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn frames_carry_the_request() {
    let rig = Rig::start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body: Vec<_> = (0..100)
        .map(|i| json!({"type": "conversion", "user_id": format!("u{i}"), "metric": "m", "idempotency_key": i.to_string()}))
        .collect();
    let headers = [("x-request-id", "req.1"), ("traceparent", parent), ("x-sent-at", "1700000000")];
    let answer = rig.post_with("/api/v1/events", &headers, &json!({"events": body}).to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("x-request-id"), Some("req.1"));
    let batch = answer.json().unwrap()["batch_id"].as_str().unwrap().to_owned();

    let seen = rig.seen().await;
    assert_eq!(seen.len(), 100);
    let partitions: std::collections::BTreeSet<u16> = seen.iter().map(|s| s.partition).collect();
    assert_eq!(partitions.len(), 4, "100 users meet every partition");
    for event in &seen {
        assert_eq!(event.batch.to_string(), batch);
        assert_eq!((event.tenant.as_str(), event.request_id.as_str()), ("default", "req.1"));
        assert_eq!(event.traceparent.as_deref(), Some(parent));
        assert_eq!(event.sent_at, Some(Timestamp(1_700_000_000_000_000)));
        assert_eq!(event.clock_shift, event.received_at.0 - 1_700_000_000_000_000, "a clock years behind");
        assert_eq!(event.receipt, None);
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn one_users_events_keep_their_order() {
    let rig = Rig::start().await;
    let events: Vec<_> = (0..60)
        .map(|i| json!({"type": "conversion", "user_id": format!("u{}", i % 3), "metric": "m", "idempotency_key": format!("{i:02}"),
                        "experiment": if i % 2 == 0 { json!("checkout") } else { json!(5) }}))
        .collect();
    assert_eq!(rig.post("/api/v1/events", &json!({"events": events}).to_string()).await.status, 202);
    let seen = rig.seen().await;
    for user in ["u0", "u1", "u2"] {
        for experiment in [1, 5] {
            let keys: Vec<&str> = seen
                .iter()
                .filter(|s| s.user == user && s.experiment == experiment)
                .map(|s| s.what.as_str())
                .collect();
            assert_eq!(keys.len(), 10);
            assert!(keys.is_sorted(), "{keys:?}");
        }
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn good_items_of_a_partial_batch_keep_their_index() {
    let rig = Rig::start().await;
    let body = r#"{"conversions":[{"user_id":"a","metric":"m"},{"user_id":"","metric":"m"},{"user_id":"b","metric":"m"},{"metric":1}]}"#;
    let refused = rig.post("/api/v1/conversions", body).await;
    assert_eq!(refused.status, 422);
    assert_eq!(rig.seen().await, []);

    let answer = rig.post("/api/v1/conversions?partial=true", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = answer.json().unwrap();
    assert_eq!((&body["received"], &body["rejected"], &body["keyless"]), (&json!(2), &json!(2), &json!(2)));
    assert_eq!((&body["errors_total"], &body["rejected_indexes"]), (&json!(2), &json!([1, 3])));
    assert_eq!(body["errors"][0]["pointer"], "/conversions/1/user_id");
    assert_eq!(body["errors"][0]["error_code"], "invalid_user_id");
    assert_eq!(body["errors"][1]["error_code"], "missing_field");
    assert_eq!(lines(&rig.seen().await), ["0 a did m 1 key #0", "0 b did m 1 key #2"]);

    let all_good = rig
        .post("/api/v1/conversions?partial=true", r#"{"conversions":[{"user_id":"a","metric":"m"}]}"#)
        .await;
    assert_eq!(all_good.json().unwrap()["rejected"], 0);
    assert_eq!(rig.metric("abstream_ingest_rejected_total{error_code=\"invalid_user_id\"}").await, 2.0);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn events_are_judged_one_by_one() {
    let rig = Rig::start().await;
    let good = json!({"type": "exposure", "user_id": "a", "experiment": "checkout", "variation": "control"});
    let with = |changes: serde_json::Value| {
        let mut event = good.clone();
        event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        event
    };
    let events = json!({"events": [
        good,
        with(json!({"experiment": "nowhere"})),
        with(json!({"experiment": "theirs"})),
        with(json!({"experiment": 6})),
        with(json!({"experiment": "planned"})),
        with(json!({"experiment": "gone"})),
        with(json!({"variation": "third"})),
        with(json!({"experiment": "ended", "user_id": "b"})),
        {"type": "conversion", "user_id": "a", "experiment": "gone", "metric": "m"},
        {"type": "conversion", "user_id": "a", "metric": "m"},
    ]});
    let answer = rig.post("/api/v1/events", &events.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let body = answer.json().unwrap();
    assert_eq!((&body["received"], &body["rejected"]), (&json!(3), &json!(7)));
    let codes: Vec<(u64, &str)> = body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["index"].as_u64().unwrap(), e["error_code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        codes,
        [
            (1, "unknown_experiment"),
            (2, "unknown_experiment"),
            (3, "unknown_experiment"),
            (4, "experiment_not_started"),
            (5, "experiment_archived"),
            (6, "unknown_variation"),
            (8, "experiment_archived"),
        ]
    );
    assert_eq!(lines(&rig.seen().await), ["0 a did m 1 key #9", "1 a saw 0", "4 b saw 0 after stop"]);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn an_idempotency_key_names_the_batch() {
    let rig = Rig::start().await;
    let body = r#"{"conversions":[{"user_id":"a","metric":"m"}]}"#;
    let id = async |path: &str, key: &str| {
        let answer = rig.post_with(path, &[("idempotency-key", key)], body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json().unwrap()["batch_id"].as_str().unwrap().to_owned()
    };
    let derived = |experiment, key| {
        BatchId::derived("default", ExperimentId(experiment), "conversions", key).to_string()
    };
    assert_eq!(id("/api/v1/conversions", "k").await, derived(0, "k"));
    assert_eq!(id("/api/v1/conversions", "k").await, derived(0, "k"));
    assert_eq!(id("/api/v1/experiments/checkout/conversions", "k").await, derived(1, "k"));
    assert_eq!(id("/api/v1/experiments/1/conversions", "k").await, derived(1, "k"), "by number as by key");
    let fresh = |answer: testkit::http::Response| answer.json().unwrap()["batch_id"].clone();
    assert_ne!(
        fresh(rig.post("/api/v1/conversions", body).await),
        fresh(rig.post("/api/v1/conversions", body).await)
    );
    rig.end().await.unwrap();
}

#[tokio::test]
async fn ndjson_plain_text_and_beacons() {
    let rig = Rig::start().await;
    let lines_body = "{\"user_id\":\"a\",\"metric\":\"m\"}\n{\"user_id\":\"b\",\"metric\":\"m\"}\n";
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = rig.client.post("/api/v1/conversions", &ndjson, lines_body).await.unwrap();
    assert_eq!((answer.status, &answer.json().unwrap()["received"]), (202, &json!(2)));

    let anonymous = Client::at(rig.addr);
    let json_body = r#"{"conversions":[{"user_id":"c","metric":"m"}]}"#;
    let beacon = "/api/v1/conversions?key=only-events";
    for headers in [&[("content-type", "text/plain;charset=UTF-8")][..], &[]] {
        let answer = anonymous.post(beacon, headers, json_body).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let not_for_queries = format!("/api/v1/conversions?key={}", crate::rig::TOKEN);
    assert_eq!(anonymous.post(&not_for_queries, &[], json_body).await.unwrap().status, 401);
    assert_eq!(rig.seen().await.len(), 4);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn a_gzip_batch_of_ten_thousand_passes_the_default_limits() {
    let rig = Rig::start().await;
    let conversions: Vec<_> = (0..10_000)
        .map(|i| json!({"user_id": format!("user-{:06}", i % 3_000), "metric": "purchase", "value": f64::from(i) / 100.0,
                        "idempotency_key": format!("order-{i:08}"), "occurred_at": "2026-03-01T10:00:00.000Z"}))
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(json!({"conversions": conversions}).to_string().as_bytes()).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = rig.client.post("/api/v1/conversions", &headers, gzip.finish().unwrap()).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json().unwrap()["received"], 10_000);
    let mut keys: Vec<String> = rig.seen().await.into_iter().map(|s| s.what).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 10_000);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn the_clients_clock_is_corrected_before_any_check() {
    let rig = Rig::start_with(&[("AB_MAX_EVENT_AGE", "1h")]).await;
    let now = ingest_gateway::clock::now();
    let hours = |n: i64| now.plus(n * 3_600_000_000);
    let post = async |sent: Option<Timestamp>, occurred: Timestamp| {
        let mut body =
            json!({"conversions": [{"user_id": "a", "metric": "m", "occurred_at": occurred.to_string()}]});
        if let Some(sent) = sent {
            body["sent_at"] = json!(sent.to_string());
        }
        let answer = rig.post("/api/v1/conversions", &body.to_string()).await;
        match answer.status {
            202 => "accepted".to_owned(),
            _ => answer.json().unwrap()["errors"][0]["error_code"].as_str().unwrap().to_owned(),
        }
    };
    assert_eq!(post(None, hours(0)).await, "accepted");
    assert_eq!(post(None, hours(23)).await, "accepted");
    assert_eq!(post(None, hours(25)).await, "occurred_in_future");
    assert_eq!(post(None, hours(-2)).await, "occurred_too_long_ago");
    // A clock two days ahead: what it calls "in two days" is now, what it calls "now" is two days ago.
    assert_eq!(post(Some(hours(48)), hours(48)).await, "accepted");
    assert_eq!(post(Some(hours(48)), hours(0)).await, "occurred_too_long_ago");
    // Ten seconds off is no reason to touch anything; by then a minute may have passed since the test began.
    let soon = ingest_gateway::clock::now().plus(10_000_000);
    assert_eq!(post(Some(soon), hours(0)).await, "accepted");

    let seen = rig.seen().await;
    let shifts: Vec<i64> = seen.iter().map(|s| s.clock_shift / 3_600_000_000).collect();
    assert_eq!(shifts.iter().filter(|hours| **hours != 0).count(), 1, "{shifts:?}");
    let corrected = seen.iter().find(|s| s.clock_shift != 0).unwrap();
    assert_eq!(corrected.sent_at, Some(hours(48)));
    assert_eq!(corrected.clock_shift, corrected.received_at.0 - hours(48).0);
    assert!(corrected.what.ends_with(&hours(48).to_string()), "as the client wrote it: {}", corrected.what);
    assert_eq!(rig.metric("abstream_ingest_clock_corrected_total").await, 1.0);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn strict_refuses_metrics_no_plan_uses() {
    let rig = Rig::start().await;
    let body = r#"{"conversions":[{"user_id":"a","metric":"purchase"},{"user_id":"a","metric":"other","value":0.00000049}]}"#;
    for path in ["/api/v1/conversions", "/api/v1/experiments/checkout/conversions"] {
        let refused = rig.post(&format!("{path}?strict=true"), body).await;
        assert_eq!(refused.status, 422);
        let problem = refused.json().unwrap();
        assert_eq!(problem["errors"][0]["error_code"], "unused_metric");
        assert_eq!(problem["rejected_indexes"], json!([1]));
        assert_eq!(rig.post(&format!("{path}?strict=false"), body).await.status, 202);
        let partial = rig.post(&format!("{path}?strict=true&partial=true"), body).await;
        assert_eq!(partial.json().unwrap()["received"], 1);
    }
    assert_eq!(rig.metric("abstream_ingest_values_rounded_total").await, 2.0);
    rig.end().await.unwrap();
}
