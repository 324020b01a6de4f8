use crate::kit::{BROWSER, ENV, READER, SENDER, limits, start, start_with};

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

#[tokio::test]
async fn forwarded_addresses_count_behind_trusted_proxies_only() {
    let forwarded = ("X-Forwarded-For", "6.6.6.6, 9.9.9.9, 10.1.2.3");
    let server = start().await;
    assert_eq!(server.echo(&[forwarded], b"{}").await.json()["client"], "127.0.0.1");
    server.stop().await;
    let env = [ENV, &[("AB_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")]].concat();
    let server = start_with(&env, limits(|_| {})).await;
    assert_eq!(server.echo(&[forwarded], b"{}").await.json()["client"], "9.9.9.9");
    assert_eq!(server.echo(&[("X-Forwarded-For", "nonsense")], b"{}").await.json()["client"], "127.0.0.1");
    server.stop().await;
}

#[tokio::test]
async fn http2_without_tls_on_the_same_port() {
    let server = start().await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = http_body_util::Full::new(bytes::Bytes::from(vec![b' '; 300_000]));
    let request = hyper::Request::post("http://localhost/echo")
        .header("x-api-key", SENDER)
        .header("x-request-id", "over-h2")
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-request-id"]),
        (200, &"over-h2".parse().unwrap())
    );
    let frame = http_body_util::BodyExt::frame(&mut response.into_body()).await.unwrap().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
    assert_eq!(answer["length"], 300_000);
    // The idle connection ends with the server.
    assert_eq!(server.stop().await.cut, 0);
    connection.await.unwrap().unwrap();
}
