use crate::kit::{READER, SENDER, start};

#[tokio::test]
async fn request_id_is_echoed_on_every_answer() {
    let server = start().await;
    let id = ("X-Request-ID", "order.42_A-b");
    let cases = [
        ("POST", "/echo", vec![id, ("X-API-Key", SENDER), ("Content-Type", "application/json")], 200),
        ("POST", "/echo", vec![id, ("X-API-Key", SENDER), ("Content-Type", "image/png")], 415),
        ("POST", "/echo", vec![id], 401),
        ("POST", "/echo", vec![id, ("X-API-Key", READER)], 403),
        ("GET", "/nowhere", vec![id], 404),
        ("GET", "/echo", vec![id], 405),
        ("OPTIONS", "/echo", vec![id], 204),
        ("GET", "/health", vec![id], 200),
        ("GET", "/readyz", vec![id], 200),
        ("GET", "/panic", vec![id], 500),
        ("GET", "/items", vec![id], 422),
    ];
    for (method, path, headers, status) in cases {
        let answer = server.ask(method, path, &headers, b"").await;
        assert_eq!(
            (answer.status, answer.header("x-request-id")),
            (status, "order.42_A-b"),
            "{method} {path}"
        );
        if status >= 400 {
            assert_eq!(answer.json()["request_id"], "order.42_A-b");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn request_id_that_is_no_good_is_replaced() {
    let server = start().await;
    let long = "x".repeat(129);
    for bad in ["", "two words", "a/b", "<script>", long.as_str()] {
        let answer = server.ask("GET", "/health", &[("X-Request-ID", bad)], b"").await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{bad:?} gave {id:?}");
    }
    let longest = "x".repeat(128);
    let answer = server.ask("GET", "/health", &[("X-Request-ID", &longest)], b"").await;
    assert_eq!(answer.header("x-request-id"), longest);
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_common_headers_and_no_banner() {
    let server = start().await;
    for path in ["/health", "/nowhere", "/panic", "/read"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("server"), "", "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_path_and_method() {
    let server = start().await;
    assert_eq!(server.get("/nowhere").await.is_problem(404, "not_found")["retryable"], false);
    let answer = server.ask("DELETE", "/read", &[], b"").await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    let answer = server.get("/echo").await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "POST, OPTIONS");
    server.ask("POST", "/health", &[], b"").await.is_problem(405, "method_not_allowed");
    server.stop().await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = start().await;
    let answer = server.ask("HEAD", "/read", &[("X-API-Key", READER)], b"").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_ne!(answer.header("content-length"), "0");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = start().await;
    let problem = server.get("/panic").await.is_problem(500, "internal_error");
    assert!(!problem.to_string().contains("a defect"));
    assert_eq!(server.get("/health").await.status, 200);
    assert!(server.metrics.render().unwrap().contains("abstream_http_panics_total 1"));
    server.stop().await;
}

#[tokio::test]
async fn item_errors_are_cut_at_a_hundred_and_indexes_are_complete() {
    let server = start().await;
    let problem = server.get("/items").await.is_problem(422, "invalid_items");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
    assert_eq!(problem["errors"][7]["pointer"], "/events/7/value");
    assert_eq!(problem["errors"][7]["error_code"], "out_of_range");
    assert_eq!(problem["errors_total"], 150);
    let indexes: Vec<_> =
        problem["rejected_indexes"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..150).collect::<Vec<u64>>());
    server.stop().await;
}

#[tokio::test]
async fn answers_are_counted_by_route_and_status() {
    let server = start().await;
    server.echo(&[], b"{}").await;
    server.echo(&[], b"{}").await;
    server.get("/nowhere").await;
    let text = server.metrics.render().unwrap();
    assert!(text.contains(r#"abstream_http_requests_total{route="echo",status="200"} 2"#), "{text}");
    assert!(text.contains(r#"abstream_http_requests_total{route="unmatched",status="404"} 1"#), "{text}");
    assert!(text.contains(r#"abstream_http_request_seconds_count{route="echo"} 2"#), "{text}");
    server.stop().await;
}
