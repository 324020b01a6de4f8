use crate::kit::{BROWSER, READER, SENDER, start};

#[tokio::test]
async fn query_parameters_are_decoded_and_the_key_is_not_among_them() {
    let server = start().await;
    let path = "/read?name=a%20b+c&key=secret&flag&x=%zz&y=%C3%A9&name=second";
    let answer = server.ask("GET", path, &[("X-API-Key", READER)], b"").await.json();
    let expected =
        serde_json::json!([["name", "a b c"], ["flag", ""], ["x", "%zz"], ["y", "é"], ["name", "second"]]);
    assert_eq!((&answer["parameters"], &answer["name"]), (&expected, &"a b c".into()));
    server.stop().await;
}

#[tokio::test]
async fn content_types() {
    let server = start().await;
    let cases = [
        (Some("application/json"), "Json"),
        (Some("application/json; charset=UTF-8"), "Json"),
        (Some("application/vnd.app+json"), "Json"),
        (Some("application/x-ndjson"), "NdJson"),
        (Some("text/plain;charset=UTF-8"), "Json"),
        (None, "Json"),
    ];
    for (content_type, payload) in cases {
        let mut headers = vec![("X-API-Key", SENDER)];
        headers.extend(content_type.map(|text| ("Content-Type", text)));
        let answer = server.ask("POST", "/echo", &headers, b"{}").await;
        assert_eq!(answer.json()["payload"], payload, "{content_type:?}");
    }
    for bad in ["application/xml", "application/json; charset=latin1", "multipart/form-data"] {
        server
            .ask("POST", "/echo", &[("X-API-Key", SENDER), ("Content-Type", bad)], b"{}")
            .await
            .is_problem(415, "unsupported_media_type");
    }
    // Only the event routes take what beacons send.
    let plain = [("X-API-Key", SENDER), ("Content-Type", "text/plain")];
    server.ask("POST", "/ingest", &plain, b"{}").await.is_problem(415, "unsupported_media_type");
    server.ask("POST", "/ingest", &plain[..1], b"{}").await.is_problem(415, "unsupported_media_type");
    server.stop().await;
}

#[tokio::test]
async fn beacon_key_in_the_query() {
    let server = start().await;
    let answer = server.ask("POST", &format!("/echo?key={BROWSER}"), &[], b"{}").await;
    assert_eq!((answer.status, &answer.json()["tenant"]), (200, &"shop".into()));
    let more = server.ask("POST", &format!("/echo?key={SENDER}"), &[], b"{}").await;
    more.is_problem(401, "key_in_query");
    server.ask("POST", "/echo?key=wrong", &[], b"{}").await.is_problem(401, "unknown_key");
    server.ask("POST", &format!("/ingest?key={BROWSER}"), &[], b"{}").await.is_problem(401, "missing_key");
    server.stop().await;
}

#[tokio::test]
async fn traceparent_is_carried_only_when_well_formed() {
    let server = start().await;
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(server.echo(&[("traceparent", good)], b"{}").await.json()["trace"], good);
    let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
    for bad in ["", "00-xyz", &good.to_uppercase(), &zero, &format!("{good}-x")] {
        let answer = server.echo(&[("traceparent", bad)], b"{}").await.json();
        assert!(answer["trace"].is_null(), "{bad}");
    }
    server.stop().await;
}
