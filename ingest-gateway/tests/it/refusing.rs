//! Bad input: each mistake has its documented error, and nothing of it reaches a stream.

use std::io::Write;
use std::time::Duration;

use testkit::http::{Client, raw};

use crate::rig::{Rig, TOKEN, error_code};

const JSON: (&str, &str) = ("content-type", "application/json");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn every_mistake_has_its_error_and_leaves_no_trace() {
    let rig = Rig::start().await;
    let conversion =
        |value: &str| format!(r#"{{"conversions":[{{"user_id":"u","metric":"m","value":{value}}}]}}"#);
    let exposure = r#"{"exposures":[{"user_id":"u","variation":"control"}]}"#;
    let good = conversion("1");
    let nested = format!(
        r#"{{"conversions":[{{"user_id":"u","metric":"m","properties":{}{}}}]}}"#,
        r#"{"a":"#.repeat(10_000),
        "}".repeat(10_000)
    );
    let truncated = {
        let whole = gzip(good.as_bytes());
        whole[..whole.len() / 2].to_vec()
    };
    let two_members = [gzip(good.as_bytes()), gzip(good.as_bytes())].concat();
    let many =
        format!(r#"{{"conversions":[{}]}}"#, vec![r#"{"user_id":"u","metric":"m"}"#; 10_001].join(","));
    let key_255 = "k".repeat(255);
    let key_256 = "k".repeat(256);
    let compressed = ("content-encoding", "gzip");

    let conversions = "/api/v1/conversions";
    let of_checkout = "/api/v1/experiments/checkout/conversions";
    type Row<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16, &'a str);
    let mut table: Vec<Row<'_>> = vec![
        (
            conversions,
            vec![JSON],
            b"{\"conversions\":[{\"user_id\":\"\xff\",\"metric\":\"m\"}]}".to_vec(),
            400,
            "invalid_utf8",
        ),
        (conversions, vec![JSON], nested.into_bytes(), 400, "json_too_deep"),
        (conversions, vec![JSON], "[".repeat(10_000).into_bytes(), 400, "json_too_deep"),
        (conversions, vec![JSON], vec![b' '; 20 << 20], 413, "body_too_large"),
        (conversions, vec![JSON, compressed], gzip(&vec![b' '; 20 << 20]), 413, "decoded_body_too_large"),
        (conversions, vec![JSON, compressed], truncated, 400, "invalid_compression"),
        (conversions, vec![JSON, compressed], two_members, 400, "invalid_compression"),
        (conversions, vec![JSON, compressed], good.clone().into_bytes(), 400, "invalid_compression"),
        (
            conversions,
            vec![JSON, ("content-encoding", "br")],
            good.clone().into_bytes(),
            415,
            "unsupported_encoding",
        ),
        (
            conversions,
            vec![("content-type", "text/csv")],
            good.clone().into_bytes(),
            415,
            "unsupported_media_type",
        ),
        (conversions, vec![JSON], many.into_bytes(), 422, "batch_too_large"),
        (
            conversions,
            vec![JSON, ("idempotency-key", "")],
            good.clone().into_bytes(),
            422,
            "invalid_idempotency_header",
        ),
        (
            conversions,
            vec![JSON, ("idempotency-key", "a b")],
            good.clone().into_bytes(),
            422,
            "invalid_idempotency_header",
        ),
        (
            conversions,
            vec![JSON, ("idempotency-key", &key_256)],
            good.clone().into_bytes(),
            422,
            "invalid_idempotency_header",
        ),
        (conversions, vec![JSON, ("x-sent-at", "soon")], good.clone().into_bytes(), 422, "invalid_sent_at"),
    ];
    for (path, body, status, code) in [
        (conversions, "", 400, "malformed_json"),
        (conversions, "{", 400, "malformed_json"),
        (conversions, &conversion("NaN"), 400, "malformed_json"),
        (conversions, "[]", 422, "invalid_body"),
        (conversions, r#"{"conversions":[]}"#, 422, "empty_batch"),
        (conversions, r#"{"conversions":[{"user_id":"u","metric":"m"}],"more":1}"#, 422, "unknown_field"),
        (
            conversions,
            r#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":[]}"#,
            422,
            "invalid_sent_at",
        ),
        (conversions, &conversion("1e999"), 422, "invalid_items"),
        (conversions, &conversion("null"), 422, "invalid_items"),
        (conversions, &conversion("{}"), 422, "invalid_items"),
        (conversions, r#"{"conversions":[{"user_id":"a\u0000b","metric":"m"}]}"#, 422, "invalid_items"),
        (
            conversions,
            r#"{"conversions":[{"user_id":"u","metric":"m","colour":"red"}]}"#,
            422,
            "invalid_items",
        ),
        (
            conversions,
            r#"{"conversions":[{"user_id":"u","metric":"m","occurred_at":"2300-01-01T00:00:00Z"}]}"#,
            422,
            "invalid_items",
        ),
        (
            "/api/v1/experiments/checkout/exposures",
            r#"{"exposures":[{"user_id":"u","variation":"third"}]}"#,
            422,
            "invalid_items",
        ),
        (
            "/api/v1/experiments/checkout/exposures",
            r#"{"exposures":[{"user_id":"u","variation_index":2}]}"#,
            422,
            "invalid_items",
        ),
        (
            "/api/v1/experiments/checkout/exposures",
            r#"{"exposures":[{"user_id":"u","variation_index":-1}]}"#,
            422,
            "invalid_items",
        ),
        ("/api/v1/experiments/nowhere/exposures", exposure, 404, "unknown_experiment"),
        ("/api/v1/experiments/999/exposures", exposure, 404, "unknown_experiment"),
        ("/api/v1/experiments/theirs/exposures", exposure, 404, "unknown_experiment"),
        ("/api/v1/experiments/6/exposures", exposure, 404, "unknown_experiment"),
        ("/api/v1/experiments/planned/exposures", exposure, 409, "experiment_not_started"),
        ("/api/v1/experiments/gone/exposures", exposure, 409, "experiment_archived"),
        ("/api/v1/experiments/gone/conversions", &good, 409, "experiment_archived"),
        ("/api/v1/conversions?partial=yes", &good, 422, "invalid_query_parameter"),
        ("/api/v1/conversions?strict=", &good, 422, "invalid_query_parameter"),
        ("/api/v1/conversions?verbose=true", &good, 422, "unknown_query_parameter"),
        (
            "/api/v1/events?partial=false",
            r#"{"events":[{"type":"conversion","user_id":"u","metric":"m"}]}"#,
            422,
            "invalid_query_parameter",
        ),
        ("/api/v1/events", r#"{"events":[{"type":"conversion","user_id":"u"}]}"#, 422, "invalid_items"),
        ("/api/v1/experiments/checkout/elsewhere", &good, 404, "not_found"),
        ("/api/v1/experiments//conversions", &good, 404, "not_found"),
        (of_checkout, exposure, 422, "unknown_field"),
    ] {
        table.push((path, vec![JSON], body.as_bytes().to_vec(), status, code));
    }

    for (path, headers, body, status, code) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = rig.client.post(path, &headers, body).await.unwrap();
        assert_eq!(
            (answer.status, error_code(&answer).as_str()),
            (status, code),
            "{path} {headers:?} {shown}"
        );
    }
    for (client, status, code) in [
        (Client::at(rig.addr), 401, "missing_key"),
        (Client::at(rig.addr).bearer("nobody's"), 401, "unknown_key"),
        (Client::at(rig.addr).bearer("only-reads"), 403, "missing_scope"),
    ] {
        let answer = client.post(of_checkout, &[JSON], good.clone()).await.unwrap();
        assert_eq!((answer.status, error_code(&answer).as_str()), (status, code));
    }
    let acme = Client::at(rig.addr).bearer("of-acme");
    let answer = acme.post("/api/v1/experiments/checkout/conversions", &[JSON], good.clone()).await.unwrap();
    assert_eq!(
        (answer.status, error_code(&answer).as_str()),
        (404, "unknown_experiment"),
        "another tenant's"
    );
    assert_eq!(rig.client.get(conversions).await.unwrap().status, 405);

    assert_eq!(rig.seen().await, [], "nothing of all that is in a stream");
    assert_eq!(rig.metric("abstream_ingest_rejected_total{error_code=\"value_out_of_range\"}").await, 1.0);
    let answer = rig.post_with(conversions, &[("idempotency-key", &key_255)], &good).await;
    assert_eq!(answer.status, 202, "and the gateway is as good as before");
    assert_eq!(rig.seen().await.len(), 1);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn item_errors_say_which_and_why() {
    let rig = Rig::start().await;
    let items: Vec<String> = (0..300)
        .map(|i| {
            if i % 2 == 0 {
                format!(r#"{{"user_id":"u{i}","metric":"m"}}"#)
            } else {
                format!(r#"{{"user_id":{i},"metric":"m"}}"#)
            }
        })
        .collect();
    let answer =
        rig.post("/api/v1/conversions", &format!(r#"{{"conversions":[{}]}}"#, items.join(","))).await;
    assert_eq!(answer.status, 422);
    let problem = answer.json().unwrap();
    assert_eq!(problem["errors_total"], 150);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
    assert_eq!(problem["rejected_indexes"].as_array().unwrap().len(), 150);
    assert_eq!(problem["errors"][1]["index"], 3);
    assert_eq!(problem["errors"][1]["pointer"], "/conversions/3/user_id");
    assert_eq!(problem["errors"][1]["error_code"], "invalid_type");
    assert_eq!(problem["detail"], "150 of 300 items are not valid; nothing was accepted");

    let lines = "{\"user_id\":\"a\",\"metric\":\"m\"}\n{\"user_id\":\"b\"\n";
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = rig.client.post("/api/v1/conversions", &ndjson, lines).await.unwrap();
    let problem = answer.json().unwrap();
    assert_eq!((answer.status, &problem["errors"][0]["error_code"]), (422, &"malformed_json".into()));
    assert_eq!(problem["errors"][0]["pointer"], "/1");
    assert_eq!(rig.seen().await, []);
    rig.end().await.unwrap();
}

#[tokio::test]
async fn a_body_cut_short_is_no_batch() {
    let rig = Rig::start().await;
    let head = format!(
        "POST /api/v1/conversions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n"
    );
    let request = head + r#"{"conversions":[{"user_id":"u","metric":"m"}]}"#;
    let answer = raw(rig.addr, request.as_bytes(), true, Duration::from_secs(60)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(rig.seen().await, []);
    rig.end().await.unwrap();
}
