//! SDKs that are not ours over HTTP: keys, refusals, what is counted, and that one bad event never costs a batch.

use serde_json::{Value, json};
use testkit::http::{Client, Response};

use crate::rig::{Rig, SHORT_BUDGET, TOKEN};

/// A key with only `events`.
const KEY: &str = "only-events";
/// `only-events:` as Basic credentials.
const BASIC: (&str, &str) = ("authorization", "Basic b25seS1ldmVudHM6");

async fn post(rig: &Rig, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    Client::at(rig.addr).post(path, headers, body.to_string()).await.unwrap()
}

/// One good event and one of every other fate, in Segment's shape.
fn mixed() -> Value {
    let viewed = |experiment: &str, variation: &str| {
        json!({"type": "track", "event": "Experiment Viewed", "userId": "u", "messageId": format!("{experiment}-{variation}"),
               "properties": {"experiment_id": experiment, "variation_id": variation}})
    };
    json!({"batch": [
        viewed("checkout", "treatment"),
        viewed("nowhere", "treatment"),
        viewed("checkout", "green"),
        viewed("planned", "control"),
        viewed("gone", "control"),
        viewed("theirs", "control"),
        viewed("5", "1"),
        {"type": "page", "userId": "u"},
        {"type": "track", "event": "Bought", "userId": "u", "messageId": "late", "timestamp": "9000-01-01T00:00:00Z"},
        {"type": "track", "event": "Bought", "userId": "", "messageId": "nobody"},
        {"type": "track", "event": "Bought", "userId": "u", "messageId": "good", "properties": {"revenue": 2}},
        "nonsense",
    ]})
}

const FATES: [&str; 9] = [
    "unknown_experiment",
    "unknown_variation",
    "experiment_not_started",
    "experiment_archived",
    "unknown_experiment",
    "event_ignored",
    "occurred_in_future",
    "missing_field",
    "invalid_item",
];

#[tokio::test]
async fn every_event_of_a_mixed_batch_has_a_named_fate() {
    let rig = Rig::start().await;
    let answer = post(&rig, "/v1/batch", &[BASIC], &mixed()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json().unwrap();
    assert_eq!(
        (&body["success"], &body["received"], &body["rejected"]),
        (&true.into(), &3.into(), &9.into())
    );
    let errors = body["errors"].as_array().unwrap();
    let told: Vec<&str> = errors.iter().map(|error| error["error_code"].as_str().unwrap()).collect();
    assert_eq!(told, FATES);
    let indexes: Vec<u64> = errors.iter().map(|error| error["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [1, 2, 3, 4, 5, 7, 8, 9, 11]);

    let mut facts: Vec<String> =
        rig.seen().await.iter().map(|s| format!("{} {} {}", s.experiment, s.user, s.what)).collect();
    facts.sort();
    assert_eq!(facts, ["0 u did Bought 2 key good", "1 u saw 1 key checkout-treatment", "5 u saw 1 key 5-1"]);
    for (code, count) in [("unknown_experiment", 2.0), ("event_ignored", 1.0), ("invalid_item", 1.0)] {
        let name = format!("abstream_ingest_rejected_total{{error_code=\"{code}\"}}");
        assert_eq!(rig.metric(&name).await, count, "{code}");
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_left_is_still_a_success() {
    let rig = Rig::start().await;
    for (path, headers, body) in [
        ("/v1/batch", vec![BASIC], json!({"batch": [{"type": "page"}, {"type": "identify"}]})),
        ("/v1/batch", vec![BASIC], json!({"batch": []})),
        ("/v1/page", vec![BASIC], json!({"userId": "u"})),
        ("/batch/", vec![], json!({"api_key": KEY, "batch": [{"event": "$set", "distinct_id": "u"}]})),
        ("/track?client_key=only-events", vec![], json!([])),
    ] {
        let answer = post(&rig, path, &headers, &body).await;
        assert_eq!((answer.status, &answer.json().unwrap()["received"]), (200, &json!(0)), "{path}");
    }
    assert_eq!(rig.seen().await, []);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn posthog_is_told_of_every_event() {
    let rig = Rig::start().await;
    let called = |uuid: &str, flag: &str, response: Value| {
        json!({"event": "$feature_flag_called", "uuid": uuid, "distinct_id": "u",
               "properties": {"$feature_flag": flag, "$feature_flag_response": response}})
    };
    let body = json!({"batch": [
        called("good", "checkout", json!("treatment")),
        called("switch", "checkout", json!(true)),
        called("plain-flag", "some-flag", json!(true)),
        called("typo", "checkout", json!("tretment")),
        {"event": "$identify", "uuid": "person", "distinct_id": "u"},
        {"event": "purchase", "uuid": "twice", "distinct_id": "u"},
        {"event": "purchase", "uuid": "twice", "distinct_id": "null"},
        {"event": "purchase", "uuid": "twice", "distinct_id": "u"},
        {"event": "purchase", "distinct_id": "u"},
    ]});
    let bearer = format!("Bearer {TOKEN}");
    let answer = post(&rig, "/i/v1/analytics/events", &[("authorization", &bearer)], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ok = json!({"result": "ok"});
    let expected = json!({"results": {
        "good": ok,
        "switch": {"result": "warning", "details": "event_ignored"},
        "plain-flag": {"result": "warning", "details": "unknown_experiment"},
        "typo": {"result": "drop", "details": "unknown_variation"},
        "person": {"result": "warning", "details": "event_ignored"},
        "twice": {"result": "drop", "details": "invalid_user_id"},
    }});
    assert_eq!(answer.json().unwrap(), expected);
    assert_eq!(rig.seen().await.len(), 4);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn keys_are_taken_where_each_client_puts_them() {
    let rig = Rig::start().await;
    let track = json!({"event": "e", "userId": "u", "messageId": "m"});
    let with_key = json!({"event": "e", "userId": "u", "messageId": "m", "writeKey": KEY});
    let posthog = |key: &str| json!({"api_key": key, "batch": [{"event": "e", "distinct_id": "u"}]});
    let book = json!([{"event_name": "e", "user_id": "u", "properties_json": {}}]);
    let bearer = ("authorization", "Bearer only-events");
    for (path, headers, body, status, code) in [
        ("/v1/track", vec![BASIC], &track, 200, ""),
        ("/v1/track", vec![], &with_key, 200, ""),
        ("/v1/track", vec![], &track, 401, "missing_key"),
        // "only-reads:"
        ("/v1/track", vec![("authorization", "Basic b25seS1yZWFkczo=")], &track, 403, "missing_scope"),
        ("/batch/", vec![], &posthog(KEY), 200, ""),
        ("/batch", vec![], &posthog(TOKEN), 200, ""),
        ("/batch/", vec![], &posthog("nobody"), 401, "unknown_key"),
        ("/i/v1/analytics/events", vec![bearer], &posthog(""), 200, ""),
        ("/i/v1/analytics/events", vec![], &posthog(KEY), 401, "missing_key"),
        ("/track?client_key=only-events", vec![("content-type", "text/plain")], &book, 200, ""),
        ("/track?client_key=ingest-token", vec![], &book, 401, "key_in_query"),
        ("/track", vec![], &book, 401, "missing_key"),
    ] {
        let answer = post(&rig, path, &headers, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status != 200 {
            let problem = answer.json().unwrap();
            assert_eq!((&problem["code"], &problem["error_code"]), (&json!(code), &json!(code)));
            assert_eq!(problem["message"], problem["detail"]);
        }
    }
    for path in ["/v1/batch", "/batch/", "/track", "/i/v1/analytics/events", "/api/v1/cloudevents"] {
        let answer = Client::at(rig.addr).get(path).await.unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{path}");
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn more_events_than_may_be_are_too_large_so_that_clients_split() {
    let rig = Rig::start_with(&[("AB_MAX_BATCH_EVENTS", "2")]).await;
    let events = vec![json!({"event": "e", "distinct_id": "u", "uuid": "1"}); 3];
    let answer = post(&rig, "/batch/", &[], &json!({"api_key": KEY, "batch": events})).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json().unwrap()["error_code"], "too_many_events");
    assert_eq!(rig.metric("abstream_ingest_rejected_total{error_code=\"too_many_events\"}").await, 1.0);
    assert_eq!(rig.seen().await, []);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn bodies_that_are_not_what_they_say_are_refused_for_good() {
    let rig = Rig::start().await;
    let (gzip, form) = (("content-encoding", "gzip"), ("content-type", "application/x-www-form-urlencoded"));
    for (path, headers, body, status, code) in [
        ("/v1/batch", vec![BASIC, gzip], "no gzip", 400, "invalid_compression"),
        ("/batch/", vec![gzip], "no gzip", 400, "invalid_compression"),
        ("/v1/batch", vec![BASIC, ("content-encoding", "br")], "", 415, "unsupported_encoding"),
        ("/v1/batch", vec![BASIC, form], "batch=1", 400, "malformed_json"),
        ("/v1/batch", vec![BASIC], "\u{feff}{}", 400, "malformed_json"),
        ("/v1/batch", vec![BASIC], "[]", 422, "invalid_body"),
        ("/track?client_key=only-events", vec![], "{}", 422, "invalid_body"),
    ] {
        let answer = Client::at(rig.addr).post(path, &headers, body).await.unwrap();
        let problem = answer.json().unwrap();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{path} {body}");
        assert_eq!(problem["retryable"], false);
    }
    let not_utf8 =
        Client::at(rig.addr).post("/v1/batch", &[BASIC], &b"{\"batch\":[\"\xff\"]}"[..]).await.unwrap();
    assert_eq!((not_utf8.status, &not_utf8.json().unwrap()["code"]), (400, &json!("invalid_utf8")));
    rig.end().await.unwrap();
}

#[tokio::test]
async fn without_a_queue_every_client_is_told_to_come_again() {
    let rig = Rig::start_with(&[SHORT_BUDGET]).await;
    assert_eq!(post(&rig, "/v1/batch", &[BASIC], &mixed()).await.status, 200);
    rig.redis.kill().await.unwrap();
    let posthog = json!({"api_key": KEY, "batch": [{"event": "e", "distinct_id": "u", "uuid": "1"}]});
    for (path, headers, body) in [
        ("/v1/batch", vec![BASIC], &mixed()),
        ("/batch/", vec![], &posthog),
        ("/i/v1/analytics/events", vec![("x-api-key", KEY)], &posthog),
    ] {
        let answer = post(&rig, path, &headers, body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.header("retry-after").is_some() && answer.json().unwrap()["retryable"] == true);
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn cloudevents_are_answered_as_our_own_events_are() {
    let rig = Rig::start().await;
    let event = |kind: &str, id: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/web", "type": kind, "subject": "u",
               "data": {"experiment": "checkout", "variation": "treatment", "metric": "purchase"}})
    };
    let structured = ("content-type", "application/cloudevents+json");
    let batch = ("content-type", "application/cloudevents-batch+json");
    let ask = async |headers: &[(&str, &str)], body: Value| {
        rig.client.post("/api/v1/cloudevents", headers, body.to_string()).await.unwrap()
    };
    let answer = ask(&[structured], event("a.exposure", "1")).await;
    assert_eq!((answer.status, &answer.json().unwrap()["received"]), (202, &json!(1)), "{}", answer.text());
    let binary = [("ce-id", "2"), ("ce-source", "/web"), ("ce-type", "a.conversion"), ("ce-subject", "u")];
    let binary = [&binary[..], &[("ce-specversion", "1.0")]].concat();
    assert_eq!(ask(&binary, json!({"metric": "purchase", "value": 3})).await.status, 202);

    // Some are good, so the rest is told; with none good, the request is refused as any of ours is.
    let mixed = ask(&[batch], json!([event("a.exposure", "3"), {"id": "4"}, event("b.exposure", "")])).await;
    let body = mixed.json().unwrap();
    assert_eq!(
        (mixed.status, &body["received"], &body["rejected_indexes"]),
        (202, &json!(1), &json!([1, 2]))
    );
    assert_eq!(body["errors"][1]["pointer"], "/2/id");
    let none = ask(&[structured], json!({"id": "5"})).await;
    assert_eq!(
        (none.status, &none.json().unwrap()["errors"][0]["error_code"]),
        (422, &json!("invalid_item"))
    );
    let waiting = ask(&[structured, ("prefer", "respond-async")], event("a.exposure", "6")).await;
    assert_eq!((waiting.status, waiting.header("location").is_some()), (202, true));

    let mut facts: Vec<String> = rig.seen().await.into_iter().map(|s| s.what).collect();
    facts.sort();
    assert_eq!(
        facts,
        ["did purchase 3 key /web 2", "saw 1 key /web 1", "saw 1 key /web 3", "saw 1 key /web 6"]
    );
    rig.end().await.unwrap();
}
