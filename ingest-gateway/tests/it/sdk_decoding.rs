//! Bodies of SDKs that are not ours, taken apart: what each event becomes, or why it does not.

use ingest_gateway::body::{Item, Parsed, Variation, What};
use ingest_gateway::codes::Code;
use ingest_gateway::sdks::{Sdk, Terms, cloudevents};
use serde_json::{Value, json};
use service::http::header::{HeaderMap, HeaderName, HeaderValue};
use service::settings::SdkValues;

/// Values of tenant `shop`.
const VALUES: &str = "shop:checkout done=cart.total;shop:signup=;acme:*=amount";

pub fn headers(headers: &[(&str, &str)]) -> HeaderMap {
    let pairs = headers.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

/// Every event in one line, in order.
fn lines(parsed: &Parsed<'_>) -> Vec<String> {
    let mut lines: Vec<(u32, String)> = parsed.items.iter().map(|item| (item.index, line(item))).collect();
    lines.extend(parsed.faults.iter().map(|(index, fault)| {
        let field = fault.field.as_deref().map_or_else(String::new, |field| format!(" {field}"));
        (*index, format!("{}{field}", fault.code.as_str()))
    }));
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line(item: &Item<'_>) -> String {
    let mut line = match &item.what {
        What::Exposure(variation) => {
            let variation = match variation {
                Variation::Named(name) => name.to_string(),
                Variation::Flag(on) => format!("flag {on}"),
                other => format!("{other:?}"),
            };
            format!("{} saw {variation} of {}", item.user_id, item.experiment.as_deref().unwrap())
        }
        What::Conversion { metric, value, .. } => format!("{} did {metric} {value}", item.user_id),
        other => panic!("no SDK sends {other:?}"),
    };
    if let Some(key) = &item.key {
        line += &format!(" key {key}");
    }
    if let Some(at) = item.occurred_given {
        line += &format!(" at {at}");
    }
    line
}

fn decoded(path: &str, body: &Value) -> Vec<String> {
    of_tenant("default", path, body)
}

fn of_tenant(tenant: &str, path: &str, body: &Value) -> Vec<String> {
    let values = SdkValues::parse(VALUES).unwrap();
    let terms = Terms { tenant, values: &values, max_events: 100 };
    let text = body.to_string();
    lines(&Sdk::at(path).unwrap().decode(&HeaderMap::new(), &text, terms).unwrap())
}

fn refused(path: &str, body: &str) -> Code {
    let values = SdkValues::default();
    let terms = Terms { tenant: "default", values: &values, max_events: 3 };
    Sdk::at(path).unwrap().decode(&HeaderMap::new(), body, terms).unwrap_err().code
}

#[test]
fn segment_events() {
    let viewed = |properties: Value| json!({"type": "track", "event": "Experiment Viewed", "userId": "u", "properties": properties});
    let body = json!({"batch": [
        viewed(json!({"experiment_id": "e", "variation_id": "v", "experiment_name": "E", "variation_name": "V"})),
        viewed(json!({"experiment_name": "E", "variation_name": "V"})),
        viewed(json!({"experiment_id": 7, "variation_id": 0})),
        viewed(json!({"experiment_id": null, "experiment_name": "E", "variation_id": "", "variant": "x"})),
        {"type": "track", "event": "Bought", "anonymousId": "anon", "userId": null, "messageId": "m1",
         "timestamp": "2026-03-01T10:00:00.5+02:00", "originalTimestamp": "2020-01-01T00:00:00Z", "properties": {"revenue": "2.50", "value": 9}},
        {"type": "track", "event": "Bought", "userId": 17, "messageId": 5, "originalTimestamp": "2026-03-01T10:00:00Z"},
        {"type": "track", "event": "Bought", "userId": "u", "messageId": "", "properties": {"revenue": null, "total": 3}},
        {"type": "track", "event": "Bought", "userId": "", "anonymousId": "anon", "properties": {}, "context": {"a": [1]}},
        {"type": "identify", "userId": "u", "traits": {}},
        {"type": "page"},
        viewed(json!({"experiment_id": "e"})),
        viewed(json!("no object")),
        {"type": "track", "event": "Experiment Viewed", "userId": "u"},
        {"type": "track", "event": "Bought"},
        {"type": "track", "event": "Bought", "userId": {"id": 1}},
        {"type": "track", "event": "Bought", "userId": "u\u{7}"},
        {"type": "track", "userId": "u"},
        {"type": "track", "event": 5, "userId": "u"},
        {"type": "track", "event": "Bought", "userId": "u", "properties": {"revenue": "dear"}},
        {"type": "track", "event": "Bought", "userId": "u", "properties": {"revenue": 1e300}},
        {"type": "track", "event": "Bought", "userId": "u", "timestamp": "yesterday"},
        {"userId": "u"},
        [], null, "track",
    ], "sentAt": "2026-03-01T10:00:01Z", "writeKey": "k", "context": {}});
    assert_eq!(
        decoded("/v1/batch", &body),
        [
            "u saw v of e",
            "u saw V of E",
            "u saw 0 of 7",
            "u saw x of E",
            "anon did Bought 2.5 key m1 at 2026-03-01T08:00:00.5Z",
            "17 did Bought 1 key 5 at 2026-03-01T10:00:00Z",
            "u did Bought 3",
            "anon did Bought 1",
            "event_ignored",
            "event_ignored",
            "missing_field variation_id",
            "invalid_type properties",
            "missing_field experiment_id",
            "missing_field userId",
            "invalid_type userId",
            "invalid_user_id userId",
            "missing_field event",
            "invalid_type event",
            "invalid_value revenue",
            "value_out_of_range revenue",
            "invalid_occurred_at timestamp",
            "missing_field type",
            "invalid_item",
            "invalid_item",
            "invalid_item",
        ]
    );
}

#[test]
fn segment_calls_have_routes_of_their_own() {
    let event = json!({"event": "Bought", "userId": "u", "messageId": "m", "sentAt": 1_700_000_000, "properties": {"value": 2}});
    assert_eq!(decoded("/v1/track", &event), ["u did Bought 2 key m"]);
    assert_eq!(decoded("/v1/track/", &event), ["u did Bought 2 key m"]);
    for call in ["identify", "page", "screen", "group", "alias"] {
        assert_eq!(decoded(&format!("/v1/{call}"), &event), ["event_ignored"]);
    }
    for path in ["/v1/delete", "/v1/", "/v1", "/v1/batch/x", "/v1//batch", "/batch/x", "/", ""] {
        assert_eq!(Sdk::at(path), None, "{path}");
    }
}

#[test]
fn ids_that_cannot_be_keys_stand_by_their_digest() {
    let with_id = |id: &str| {
        let event = json!({"event": "e", "userId": "u", "messageId": id});
        decoded("/v1/track", &event).remove(0).split_once(" key ").unwrap().1.to_owned()
    };
    let node = "node-next-1795265392274-1da164ac-fea7-4286-a693-7edd1fc9f3ac";
    assert_eq!(with_id(node), node);
    let (long, longer) = (with_id(&"x".repeat(201)), with_id(&"x".repeat(202)));
    // Frozen: another digest would count a resent event twice.
    assert_eq!(long, "id:4635af52-b80a-58a4-aaec-850109da68d6");
    assert_ne!(long, longer);
    assert_eq!(long, with_id(&"x".repeat(201)));
    assert!(with_id("@batch/1").starts_with("id:") && with_id("a\nb").starts_with("id:"));
}

#[test]
fn values_are_where_the_settings_say() {
    let event =
        |name: &str, properties: Value| json!({"event": name, "userId": "u", "properties": properties});
    let cases = [
        (
            "shop",
            "checkout done",
            json!({"cart": {"total": "7.25"}, "revenue": 1}),
            "u did checkout done 7.25",
        ),
        ("shop", "checkout done", json!({"cart": {"total": null}, "revenue": 1}), "missing_field properties"),
        ("shop", "checkout done", json!({"cart": 5}), "missing_field properties"),
        ("shop", "checkout done", json!({"revenue": 1}), "missing_field properties"),
        ("shop", "checkout done", json!({"cart": {"total": true}}), "invalid_type value"),
        ("shop", "signup", json!({"value": "newsletter"}), "u did signup 1"),
        ("shop", "other", json!({"value": 4}), "u did other 4"),
        ("acme", "other", json!({"value": 4, "amount": -2}), "u did other -2"),
        ("default", "signup", json!({"value": "newsletter"}), "invalid_value value"),
        ("default", "checkout done", json!({"total": 3}), "u did checkout done 3"),
        ("default", "checkout done", json!({"revenue": {"amount": 3}}), "invalid_type revenue"),
    ];
    for (tenant, name, properties, expected) in cases {
        assert_eq!(of_tenant(tenant, "/v1/track", &event(name, properties)), [expected], "{tenant} {name}");
    }
}

#[test]
fn posthog_events() {
    let called = |flag: Value, response: Value| {
        json!({"event": "$feature_flag_called", "uuid": "n", "distinct_id": "u",
               "properties": {"$feature_flag": flag, "$feature_flag_response": response}})
    };
    let body = json!({"api_key": "k", "sent_at": "2026-03-01T10:00:01Z", "historical_migration": true, "batch": [
        called(json!("exp"), json!("test")),
        called(json!("exp"), json!(true)),
        called(json!("exp"), json!(false)),
        called(json!("exp"), Value::Null),
        called(Value::Null, json!("test")),
        called(json!("exp"), json!({"a": 1})),
        {"event": "purchase", "uuid": "5050483a-341f-4a89-b461-abffb16ec2b7", "distinct_id": "u", "timestamp": "2026-03-01T10:00:00Z", "properties": {"value": 9.5}},
        {"event": "$pageview", "distinct_id": 12},
        {"event": "$identify", "distinct_id": "u"},
        {"event": "$set", "distinct_id": "u"},
        {"event": "purchase", "distinct_id": "[object Object]"},
        {"event": "purchase", "distinct_id": " NULL "},
        {"event": "purchase", "distinct_id": "0"},
        {"event": "purchase"},
        {"distinct_id": "u"},
    ]});
    let expected = [
        "u saw test of exp key n",
        "u saw flag true of exp key n",
        "u saw flag false of exp key n",
        "event_ignored",
        "missing_field $feature_flag",
        "invalid_type $feature_flag_response",
        "u did purchase 9.5 key 5050483a-341f-4a89-b461-abffb16ec2b7 at 2026-03-01T10:00:00Z",
        "12 did $pageview 1",
        "event_ignored",
        "event_ignored",
        "invalid_user_id distinct_id",
        "invalid_user_id distinct_id",
        "invalid_user_id distinct_id",
        "missing_field distinct_id",
        "missing_field event",
    ];
    for path in ["/batch/", "/batch", "/i/v1/analytics/events"] {
        assert_eq!(decoded(path, &body), expected, "{path}");
    }
}

#[test]
fn growthbook_events_of_both_clients() {
    let js = |properties: Value| json!({"event_name": "Experiment Viewed", "properties_json": properties, "user_id": "other", "device_id": "u"});
    let python = |properties: Value| json!({"event_name": "$$experiment_viewed", "properties_json": properties, "user_id": null, "device_id": "u"});
    let body = json!([
        js(json!({"experimentId": "e", "variationId": "blue", "hashAttribute": "id", "hashValue": "u"})),
        js(json!({"experimentId": "e", "variationId": "1", "hashValue": 5})),
        python(json!({"experiment_id": "e", "variation_id": 1, "variation_key": "blue", "in_experiment": true, "hash_value": "u"})),
        python(json!({"experiment_id": "e", "variation_id": 1, "in_experiment": true, "hash_value": "u"})),
        python(json!({"experiment_id": "e", "variation_id": 0, "variation_key": "0", "in_experiment": false, "hash_value": "u"})),
        {"event_name": "purchase", "properties_json": {"value": 9.5}, "user_id": "u", "device_id": "d"},
        {"event_name": "purchase", "properties_json": {}, "user_id": null, "device_id": "d"},
        {"event_name": "Feature Evaluated", "properties_json": {}, "device_id": "d"},
        {"event_name": "$$feature_evaluated", "properties_json": {}, "device_id": "d"},
        js(json!({"experimentId": "e", "variationId": "1"})),
        js(json!({"variationId": "1", "hashValue": "u"})),
        {"event_name": "purchase", "properties_json": {}},
        7,
    ]);
    let expected = [
        "u saw blue of e",
        "5 saw 1 of e",
        "u saw blue of e",
        "u saw 1 of e",
        "event_ignored",
        "u did purchase 9.5",
        "d did purchase 1",
        "event_ignored",
        "event_ignored",
        "missing_field hashValue",
        "missing_field experimentId",
        "missing_field user_id",
        "invalid_item",
    ];
    assert_eq!(decoded("/track", &body), expected);
}

fn cloud(request_headers: &[(&str, &str)], body: &str) -> Vec<String> {
    let values = SdkValues::parse(VALUES).unwrap();
    let terms = Terms { tenant: "shop", values: &values, max_events: 100 };
    let headers = headers(request_headers);
    lines(&cloudevents::decode(body, &headers, terms).unwrap())
}

#[test]
fn cloudevents_in_three_forms() {
    let event = |kind: &str, data: Value| json!({"specversion": "1.0", "id": "1", "source": "/web", "type": kind, "subject": "u", "time": "2026-03-01T10:00:00Z", "data": data});
    let without = |name: &str| {
        let mut event = event("com.example.exposure", json!({"experiment": "e", "variation": "v"}));
        event.as_object_mut().unwrap().remove(name);
        event
    };
    let mut unknown_spec = without("");
    unknown_spec["specversion"] = "9".into();
    let batch = json!([
        event("com.example.exposure", json!({"experiment": "e", "variation": "v"})),
        event("exposure", json!({"experiment_id": 7, "variant": 1})),
        event("com.example.conversion", json!({"metric": "purchase", "value": 2})),
        event("com.example.conversion", json!({"metric": "checkout done", "cart": {"total": 3}})),
        event("com.example.order.placed", json!({"total": 4})),
        event("signup", Value::Null),
        without("time"),
        without("subject"),
        without("id"),
        without("source"),
        without("type"),
        without("specversion"),
        unknown_spec,
        event("com.example.conversion", json!({"value": 2})),
        event("com.example.exposure", json!({"experiment": "e"})),
        event("com.example.exposure", json!("text")),
        {"specversion": "1.0", "id": "2", "source": "/web", "type": "seen", "data": {"user_id": "by-data"}},
        [],
    ]);
    let expected = [
        "u saw v of e key /web 1 at 2026-03-01T10:00:00Z",
        "u saw 1 of 7 key /web 1 at 2026-03-01T10:00:00Z",
        "u did purchase 2 key /web 1 at 2026-03-01T10:00:00Z",
        "u did checkout done 3 key /web 1 at 2026-03-01T10:00:00Z",
        "u did com.example.order.placed 4 key /web 1 at 2026-03-01T10:00:00Z",
        "u did signup 1 key /web 1 at 2026-03-01T10:00:00Z",
        "u saw v of e key /web 1",
        "missing_field subject",
        "missing_field id",
        "missing_field source",
        "missing_field type",
        "invalid_item specversion",
        "invalid_item specversion",
        "missing_field metric",
        "missing_field variation",
        "invalid_type data",
        "by-data did seen 1 key /web 2",
        "invalid_item",
    ];
    let batch_type = ("content-type", "application/cloudevents-batch+json; charset=utf-8");
    assert_eq!(cloud(&[batch_type], &batch.to_string()), expected);

    let one = batch[0].to_string();
    assert_eq!(cloud(&[("content-type", "application/cloudevents+json")], &one), expected[..1]);
    let binary = [
        ("ce-id", "1"),
        ("ce-source", "/web"),
        ("ce-type", "com.example.conversion"),
        ("ce-subject", "M%C3%BCller%"),
        ("ce-specversion", "1.0"),
        ("ce-time", "2026-03-01T10:00:00Z"),
    ];
    let did = "Müller% did purchase 2 key /web 1 at 2026-03-01T10:00:00Z";
    assert_eq!(cloud(&binary, r#" {"metric":"purchase","value":2} "#), [did]);
    assert_eq!(cloud(&binary[..4], "{}"), ["invalid_item specversion"]);
    assert_eq!(cloud(&[&binary[..5], &[("ce-time", "soon")]].concat(), "{}"), ["invalid_occurred_at time"]);
}

#[test]
fn sources_and_ids_are_never_mixed_up() {
    let key = |source: &str, id: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": source, "type": "t", "subject": "u"});
        cloud(&[("content-type", "application/cloudevents+json")], &event.to_string()).remove(0)
    };
    let pairs = [("/a", "b c"), ("/a b", "c"), ("/a", "b"), ("/a b c", " "), ("4 /a", "b c")];
    let keys: std::collections::BTreeSet<String> = pairs.iter().map(|(source, id)| key(source, id)).collect();
    assert_eq!(keys.len(), pairs.len(), "{keys:?}");
}

#[test]
fn bodies_that_cannot_be_taken_apart() {
    let long = format!("[{}]", ["{}"; 4].join(","));
    let batch = format!(r#"{{"batch":{long}}}"#);
    let deep = format!(r#"{{"batch":[{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let cases: [(&str, &str, Code); 16] = [
        ("/v1/batch", "", Code::MalformedJson),
        ("/v1/batch", "{\"batch\":[", Code::MalformedJson),
        ("/v1/batch", "{\"batch\":[]} x", Code::MalformedJson),
        ("/v1/batch", "[]", Code::InvalidBody),
        ("/v1/batch", "{}", Code::InvalidBody),
        ("/v1/batch", "{\"batch\":{}}", Code::InvalidBody),
        ("/v1/batch", &batch, Code::TooManyEvents),
        ("/v1/track", "nothing", Code::MalformedJson),
        ("/v1/track", "[]", Code::InvalidBody),
        ("/batch/", "null", Code::InvalidBody),
        ("/batch/", "{\"api_key\":\"k\"}", Code::InvalidBody),
        ("/batch/", &batch, Code::TooManyEvents),
        ("/i/v1/analytics/events", "\"\"", Code::InvalidBody),
        ("/track", "{}", Code::InvalidBody),
        ("/track", "[{},]", Code::MalformedJson),
        ("/track", &long, Code::TooManyEvents),
    ];
    for (path, body, code) in cases {
        assert_eq!(refused(path, body), code, "{path} {body}");
    }
    // Nesting costs the event, not the batch, however deep.
    let values = SdkValues::default();
    let terms = Terms { tenant: "default", values: &values, max_events: 3 };
    let parsed = Sdk::at("/v1/batch").unwrap().decode(&HeaderMap::new(), &deep, terms).unwrap();
    assert_eq!(lines(&parsed), ["json_too_deep"]);
}

#[test]
fn clocks_are_read_where_each_client_says_them() {
    let values = SdkValues::default();
    let terms = Terms { tenant: "default", values: &values, max_events: 3 };
    let sent_at = |path: &str, request_headers: &[(&str, &str)], body: &str| {
        let parsed = Sdk::at(path).unwrap().decode(&headers(request_headers), body, terms).unwrap();
        parsed.sent_at.map(|at| at.to_string())
    };
    let told = Some("2026-03-01T10:00:01Z".to_owned());
    let clock = ("PostHog-Request-Timestamp", "2026-03-01T10:00:01+00:00");
    assert_eq!(sent_at("/v1/batch", &[], r#"{"batch":[],"sentAt":"2026-03-01T10:00:01Z"}"#), told);
    assert_eq!(sent_at("/v1/track", &[], r#"{"sentAt":"2026-03-01T10:00:01Z"}"#), told);
    assert_eq!(sent_at("/batch/", &[], r#"{"batch":[],"sent_at":"2026-03-01T10:00:01Z"}"#), told);
    assert_eq!(sent_at("/i/v1/analytics/events", &[clock], r#"{"batch":[]}"#), told);
    // One that cannot be read is no reason to lose the batch.
    assert_eq!(sent_at("/v1/batch", &[], r#"{"batch":[],"sentAt":"now"}"#), None);
    assert_eq!(sent_at("/v1/batch", &[], r#"{"batch":[],"sentAt":[1]}"#), None);
    assert_eq!(
        sent_at("/i/v1/analytics/events", &[("PostHog-Request-Timestamp", "x")], r#"{"batch":[]}"#),
        None
    );
}
