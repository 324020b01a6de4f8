//! Whatever is sent: the documented error, nothing recorded, no process dies, no 500.

use crate::support::{applied, assert_problem, two_arms};
use e2e::run::settled;
use e2e::{Deployment, Setup, patience};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::Write;
use testkit::http::Client;

const OTHER_TENANT: &str = "other-tenant-token-0123456789";
const EVENTS_ONLY: &str = "events-only-token-0123456789";
const READ_ONLY: &str = "read-only-token-0123456789";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn conversion(fields: &str) -> String {
    format!(r#"{{"conversions":[{{"user_id":"u","metric":"purchase"{fields}}}]}}"#)
}

fn setup() -> Setup {
    let keys = format!(
        "{OTHER_TENANT}:acme:events,ingest,read,admin;{EVENTS_ONLY}:default:events;{READ_ONLY}:default:read"
    );
    Setup { environment: vec![("AB_API_KEYS", keys)], ..Setup::default() }
}

async fn bad_input_gets_the_documented_error_and_nothing_is_recorded(system: &dyn Deployment) {
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    let draft = two_arms("draft", &["purchase"]);
    let draft = patience::post_json(&system.admin(), "/api/v1/experiments", &draft).await.unwrap();
    assert!(matches!(draft.status, 200 | 201), "{}", draft.text());
    let client = system.ingest();

    // Bodies that cannot be read.
    let bodies: [(&[u8], u16, &str); 8] = [
        (b"{\"conversions\":", 400, "malformed_json"),
        (b"{\"conversions\":[{\"user_id\":\"\xff\xfe\",\"metric\":\"m\"}]}", 400, "invalid_utf8"),
        (b"{\"conversions\":[{\"user_id\":\"u\",\"metric\":\"m\",\"value\":NaN}]}", 400, "malformed_json"),
        (b"[]", 422, "invalid_body"),
        (b"{\"conversions\":[]}", 422, "empty_batch"),
        (b"{\"conversions\":{}}", 422, "invalid_body"),
        (b"", 400, "malformed_json"),
        (b"{\"conversions\":[], \"surprise\":1}", 422, "unknown_field"),
    ];
    for (body, status, code) in bodies {
        let answer = patience::post(&client, "/api/v1/conversions", &JSON, body.to_vec()).await.unwrap();
        assert_problem(&answer, status, code);
    }
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert_problem(
        &patience::post(&client, "/api/v1/conversions", &JSON, deep).await.unwrap(),
        400,
        "json_too_deep",
    );

    // Items that are not events.
    for (fields, code) in [
        (r#","value":1e999"#, "value_out_of_range"),
        (r#","value":"NaN""#, "invalid_value"),
        (r#","value":true"#, "invalid_type"),
        (r#","value":null"#, "invalid_value"),
        (r#","idempotency_key":"@mine""#, "invalid_idempotency_key"),
        (r#","idempotency_key":"a\u0000b""#, "invalid_idempotency_key"),
        (r#","occurred_at":"yesterday""#, "invalid_occurred_at"),
        (r#","occurred_at":"2099-01-01T00:00:00Z""#, "occurred_in_future"),
        (r#","revenue":3"#, "unknown_field"),
    ] {
        let answer = patience::post(&client, "/api/v1/conversions", &JSON, conversion(fields)).await.unwrap();
        assert_problem(&answer, 422, "invalid_items");
        let body = answer.json().unwrap();
        assert_eq!(
            (&body["errors"][0]["error_code"], &body["rejected_indexes"]),
            (&json!(code), &json!([0]))
        );
    }
    for user in ["\u{0}", "", &"x".repeat(201)] {
        let body = json!({"conversions": [{"user_id": user, "metric": "purchase"}]}).to_string();
        let answer = patience::post(&client, "/api/v1/conversions", &JSON, body).await.unwrap();
        assert_problem(&answer, 422, "invalid_items");
        assert_eq!(answer.json().unwrap()["errors"][0]["error_code"], "invalid_user_id");
    }
    // One bad item refuses the whole batch.
    let mixed = json!({"conversions": [{"user_id": "u", "metric": "purchase"}, {"user_id": 7, "metric": "purchase"}]});
    let answer = patience::post(&client, "/api/v1/conversions", &JSON, mixed.to_string()).await.unwrap();
    assert_problem(&answer, 422, "invalid_items");
    assert_eq!(answer.json().unwrap()["rejected_indexes"], json!([1]));

    // Too large, plain and compressed; damaged compression.
    let large = conversion(&format!(r#","properties":{{"x":"{}"}}"#, "y".repeat(20 << 20)));
    for (body, headers, status, code) in [
        (large.clone().into_bytes(), &JSON[..], 413, "body_too_large"),
        (gzip(large.as_bytes()), &GZIP[..], 413, "decoded_body_too_large"),
        (gzip(conversion("").as_bytes())[..40].to_vec(), &GZIP[..], 400, "invalid_compression"),
        (b"not gzip at all".to_vec(), &GZIP[..], 400, "invalid_compression"),
    ] {
        // A server may answer and close before it has read everything; the client may then see only the close.
        let client = Client::at(system.gateway_addr()).bearer(e2e::API_TOKEN);
        if let Ok(answer) = patience::post(&client, "/api/v1/conversions", headers, body).await {
            assert_problem(&answer, status, code);
        }
    }

    // Experiments that are not there, not started, not theirs.
    let exposures = json!({"exposures": [{"user_id": "u", "variation_index": 0}]}).to_string();
    let wrong = json!({"exposures": [{"user_id": "u", "variation_index": 2}]}).to_string();
    let at = |key: &str| format!("/api/v1/experiments/{key}/exposures");
    let acme = Client::at(system.gateway_addr()).bearer(OTHER_TENANT);
    assert_problem(
        &patience::post(&client, &at("nowhere"), &JSON, exposures.clone()).await.unwrap(),
        404,
        "unknown_experiment",
    );
    assert_problem(
        &patience::post(&client, &at("draft"), &JSON, exposures.clone()).await.unwrap(),
        409,
        "experiment_not_started",
    );
    assert_problem(
        &patience::post(&acme, &at("exp"), &JSON, exposures.clone()).await.unwrap(),
        404,
        "unknown_experiment",
    );
    assert_problem(&patience::post(&client, &at("exp"), &JSON, wrong).await.unwrap(), 422, "invalid_items");

    // Keys.
    let anonymous = Client::at(system.gateway_addr());
    let stranger = Client::at(system.gateway_addr()).bearer("nobody-knows-this-key-0123456789");
    let reader = Client::at(system.gateway_addr()).bearer(READ_ONLY);
    assert_eq!(patience::post(&anonymous, &at("exp"), &JSON, exposures.clone()).await.unwrap().status, 401);
    assert_eq!(patience::post(&stranger, &at("exp"), &JSON, exposures.clone()).await.unwrap().status, 401);
    assert_eq!(patience::post(&reader, &at("exp"), &JSON, exposures.clone()).await.unwrap().status, 403);
    let results = "/api/v1/experiments/exp/live-stats";
    let there = |token: &str| Client::at(system.analyzer_addr()).bearer(token);
    assert_eq!(there(READ_ONLY).get(results).await.unwrap().status, 200);
    assert_eq!(there(EVENTS_ONLY).get(results).await.unwrap().status, 403);
    assert_eq!(there(OTHER_TENANT).get(results).await.unwrap().status, 404);
    let create = there(READ_ONLY).post_json("/api/v1/experiments", &two_arms("mine", &["m"])).await.unwrap();
    assert_eq!(create.status, 403);

    // Nothing of it was accepted, and everybody is still there.
    let books = settled(system).await.unwrap();
    assert_eq!(books.total, store::Book::default());
    for addr in system.health_addrs() {
        assert_eq!(Client::at(addr).get("/health").await.unwrap().status, 200);
    }
    let client = Client::at(system.gateway_addr()).bearer(EVENTS_ONLY);
    let answer = applied(&client, &at("exp"), &[], exposures).await;
    assert_eq!(answer["recorded"], 1);
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const GZIP: [(&str, &str); 2] = [("content-type", "application/json"), ("content-encoding", "gzip")];

on_both!(super::setup(); bad_input_gets_the_documented_error_and_nothing_is_recorded);
