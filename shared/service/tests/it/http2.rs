//! HTTP/2 on the same port: it is spoken, and its connections do not last for nothing.

use crate::kit::{ENV, SENDER, limits, start, start_with};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(60);

type Ended = JoinHandle<Result<(), hyper::Error>>;

async fn connect(address: SocketAddr) -> (SendRequest<Full<Bytes>>, Ended) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn get(client: &mut SendRequest<Full<Bytes>>, path: &str) -> u16 {
    let request = hyper::Request::get(format!("http://localhost{path}")).body(Full::default()).unwrap();
    client.send_request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn http2_without_tls_on_the_same_port() {
    let server = start().await;
    let (mut client, connection) = connect(server.address).await;
    let body = Full::new(Bytes::from(vec![b' '; 300_000]));
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

#[tokio::test]
async fn a_connection_without_requests_ends_and_one_with_an_open_request_does_not() {
    let server = start_with(ENV, limits(|limits| limits.header_time = Duration::from_secs(3))).await;
    let (mut busy, of_busy) = connect(server.address).await;
    let held = tokio::spawn(async move { (get(&mut busy, "/held").await, busy) });
    server.app.begun.acquire().await.unwrap().forget();

    // Each of these outlasts the time of an idle connection.
    for asks in [false, true] {
        let (mut idle, of_idle) = connect(server.address).await;
        if asks {
            assert_eq!(get(&mut idle, "/health").await, 200);
        }
        let ended = tokio::time::timeout(LIMIT, of_idle).await.expect("an idle connection is ended");
        assert!(asks <= ended.unwrap().is_ok(), "in order, once it has been of use");
    }
    assert!(!of_busy.is_finished());
    server.app.release.add_permits(1);
    let (status, _busy) = held.await.unwrap();
    assert_eq!(status, 204);
    tokio::time::timeout(LIMIT, of_busy).await.expect("idle now").unwrap().unwrap();
    server.stop().await;
}
