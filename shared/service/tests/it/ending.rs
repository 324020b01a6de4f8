use crate::kit::{ENV, Server, limits, read_answer, request, start, start_with};
use service::http::Capacity;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request the handler has begun and holds until released.
async fn held(server: &Server) -> TcpStream {
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(&request("GET", "/held", &[], b"")).await.unwrap();
    server.app.begun.acquire().await.unwrap().forget();
    connection
}

#[tokio::test]
async fn drain_finishes_open_requests_and_takes_no_new_ones() {
    let server = start().await;
    let mut open = held(&server).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1_000]).await.unwrap(), 0);
    server.shutdown.begin();
    // An idle connection is closed; that it is shows that the drain has begun.
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    server.app.release.add_permits(1);
    assert_eq!(read_answer(&mut open).await.status, 204);
    assert_eq!(server.task.await.unwrap().cut, 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn drain_has_a_deadline() {
    let server = start_with(ENV, limits(|limits| limits.drain_time = Duration::from_millis(30))).await;
    let mut open = held(&server).await;
    server.shutdown.begin();
    assert_eq!(server.task.await.unwrap().cut, 1);
    assert_eq!(open.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn second_signal_cuts_at_once() {
    let server = start().await;
    let _open = held(&server).await;
    server.shutdown.begin();
    server.shutdown.abort();
    assert_eq!(server.task.await.unwrap().cut, 1);
}

#[tokio::test]
async fn connections_past_the_limit_are_told_so() {
    let server = start_with(ENV, limits(|limits| limits.max_connections = 1)).await;
    let mut open = held(&server).await;
    let answer = server.ask("GET", "/health", &[("X-Request-ID", "third")], b"").await;
    let problem = answer.is_problem(503, "too_many_connections");
    assert_eq!((answer.header("retry-after"), &problem["request_id"]), ("1", &"third".into()));
    assert_eq!(problem["retryable"], true);
    assert_eq!(answer.header("connection"), "close");
    server.app.release.add_permits(1);
    assert_eq!(read_answer(&mut open).await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn requests_past_what_is_handled_at_once_are_told_so_and_health_is_not() {
    let server = start_with(ENV, limits(|limits| limits.open = Capacity::new(1))).await;
    let mut open = held(&server).await;
    let answer = server.get("/held").await;
    answer.is_problem(503, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(server.get("/health").await.status, 200);
    server.app.release.add_permits(1);
    assert_eq!(read_answer(&mut open).await.status, 204);
    server.app.release.add_permits(1);
    assert_eq!(server.get("/held").await.status, 204);
    server.stop().await;
}

#[tokio::test]
async fn an_answer_past_its_budget_is_given_up() {
    let env = [ENV, &[("AB_SLA_TIMEOUTS", "stats=1ms")]].concat();
    let server = start_with(&env, limits(|_| {})).await;
    let answer = server.get("/late").await;
    let problem = answer.is_problem(504, "answer_timeout");
    assert_eq!((answer.header("retry-after"), &problem["retryable"]), ("1", &true.into()));
    server.stop().await;
}

#[tokio::test]
async fn head_that_stops_coming_is_answered_and_an_idle_connection_closed() {
    let env = [ENV, &[("AB_IDLE_TIMEOUT", "1s")]].concat();
    let server = start_with(&env, limits(|_| {})).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n").await.unwrap();
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut all = String::new();
    kept.read_to_string(&mut all).await.unwrap();
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "its answer, and nothing of its end: {all}");
    read_answer(&mut slow).await.is_problem(408, "head_timeout");
    for silent in [&b""[..], b"PRI * HT"] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(silent).await.unwrap();
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert!(!rest.starts_with(b"HTTP"), "{silent:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = start().await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let keep = b"GET /health HTTP/1.1\r\nHost: h\r\nX-Request-ID: kept\r\n\r\n";
    let last = request("GET", "/health", &[], b"");
    let pipelined = [&keep[..], keep, keep, &last].concat();
    connection.write_all(&pipelined).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.matches("HTTP/1.1 200 OK").count(), text.matches("x-request-id: kept").count()), (4, 3));
    server.stop().await;
}

#[tokio::test]
async fn malformed_heads_are_refused_and_harm_nobody() {
    let server = start().await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(100_000));
    for bad in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"NONSENSE\r\n\r\n", long.as_bytes()]
    {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let _ = connection.write_all(bad).await;
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.get("/health").await.status, 200);
    server.stop().await;
}

#[test]
fn what_is_left_of_a_drain_counts_from_its_beginning() {
    let (shutdown, hour) = (service::shutdown::Shutdown::manual(), Duration::from_secs(3_600));
    assert_eq!(shutdown.left(hour), hour);
    shutdown.begin();
    while shutdown.left(hour) == hour {
        std::hint::spin_loop();
    }
    let left = shutdown.left(hour);
    shutdown.abort();
    assert!(shutdown.left(hour) <= left, "the second signal does not begin it anew");
    assert_eq!(shutdown.left(Duration::ZERO), Duration::ZERO);
}
