use crate::kit::{Answer, ENV, SENDER, Server, limits, read_answer, request, start, start_with};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use service::http::{Capacity, check_depth};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ENCODINGS: [(&str, Compress); 3] = [("gzip", gzip), ("deflate", zlib), ("zstd", zstd)];

async fn encoded(server: &Server, encoding: &str, body: &[u8]) -> Answer {
    server.echo(&[("Content-Encoding", encoding)], body).await
}

#[tokio::test]
async fn bodies_up_to_the_limit_arrive_whole() {
    let server = start().await;
    for length in [0, 1, 70_000, MIB] {
        let answer = server.echo(&[], &vec![b' '; length]).await;
        assert_eq!((answer.status, answer.json()["length"].as_u64()), (200, Some(length as u64)));
    }
    server.stop().await;
}

#[tokio::test]
async fn body_past_the_wire_limit_is_refused_whatever_its_size() {
    let server = start().await;
    for length in [MIB + 1, 20 * MIB] {
        server.echo(&[], &vec![b' '; length]).await.is_problem(413, "body_too_large");
    }
    server.stop().await;
}

#[tokio::test]
async fn announced_length_is_refused_before_the_body_comes() {
    let server = start().await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: h\r\nX-API-Key: {SENDER}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    read_answer(&mut connection).await.is_problem(413, "body_too_large");
    server.stop().await;
}

#[tokio::test]
async fn chunked_body_past_the_limit_is_refused_on_the_way() {
    let server = start().await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: h\r\nX-API-Key: {SENDER}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b' '; MIB], b"\r\n"].concat();
    // As in Server::ask: the answer comes first.
    for _ in 0..3 {
        let _ = connection.write_all(&chunk).await;
    }
    let _ = connection.write_all(b"0\r\n\r\n").await;
    read_answer(&mut connection).await.is_problem(413, "body_too_large");
    server.stop().await;
}

#[tokio::test]
async fn compressed_bodies_are_decoded() {
    let server = start().await;
    for (encoding, compress) in ENCODINGS {
        for length in [0, 2, 8 * MIB] {
            let answer = encoded(&server, encoding, &compress(&vec![b' '; length])).await;
            assert_eq!(answer.json()["length"].as_u64(), Some(length as u64), "{encoding} {length}");
        }
    }
    assert_eq!(encoded(&server, "identity", b"{}").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn bombs_are_refused() {
    let server = start().await;
    for (encoding, compress) in ENCODINGS {
        for length in [8 * MIB + 1, 64 * MIB] {
            let body = compress(&vec![0; length]);
            assert!(body.len() < MIB);
            encoded(&server, encoding, &body).await.is_problem(413, "decoded_body_too_large");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_past_what_is_held_at_once_are_refused_as_they_come_and_counted_as_they_go() {
    let bodies = Capacity::new(MIB);
    let held = Arc::clone(&bodies);
    let server = start_with(ENV, limits(move |limits| limits.bodies = bodies)).await;
    let whole = server.echo(&[], &vec![b' '; MIB]).await;
    assert_eq!(whole.status, 200);
    for (encoding, compress) in ENCODINGS {
        let answer = encoded(&server, encoding, &compress(&vec![b' '; MIB + 1])).await;
        answer.is_problem(503, "too_many_bodies");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(encoded(&server, encoding, &compress(&vec![b' '; MIB / 2])).await.status, 200);
    }
    // A client that sends half of a body holds half, and keeps out only what does not fit beside it.
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: h\r\nX-API-Key: {SENDER}\r\nContent-Length: {MIB}\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&vec![b' '; MIB / 2]).await.unwrap();
    let come = || std::future::ready(held.used() == MIB / 2);
    testkit::eventually("half a body is held", Duration::from_secs(60), come).await.unwrap();
    server.echo(&[], &vec![b' '; MIB]).await.is_problem(503, "too_many_bodies");
    assert_eq!(server.echo(&[], &vec![b' '; MIB / 2]).await.status, 200);
    drop(slow);
    let gone = || std::future::ready(held.used() == 0);
    testkit::eventually("nothing is held", Duration::from_secs(60), gone).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn broken_compression_is_refused() {
    let server = start().await;
    for (encoding, compress) in ENCODINGS {
        let whole = compress(br#"{"events": [1, 2, 3]}"#);
        for cut in [1, 4, whole.len() / 2, whole.len() - 1] {
            encoded(&server, encoding, &whole[..cut]).await.is_problem(400, "invalid_compression");
        }
        let twice = [&whole[..], &whole[..]].concat();
        encoded(&server, encoding, &twice).await.is_problem(400, "invalid_compression");
        let garbage = [&whole[..], b"x"].concat();
        encoded(&server, encoding, &garbage).await.is_problem(400, "invalid_compression");
        encoded(&server, encoding, b"{}").await.is_problem(400, "invalid_compression");
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        if encoding != "zstd" {
            encoded(&server, encoding, &flipped).await.is_problem(400, "invalid_compression");
        }
    }
    assert_eq!(encoded(&server, "gzip", b"").await.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn unknown_and_stacked_encodings_are_refused() {
    let server = start().await;
    for encoding in ["br", "compress", "gzip, gzip", "zstd,gzip"] {
        encoded(&server, encoding, b"{}").await.is_problem(415, "unsupported_encoding");
    }
    server.stop().await;
}

#[tokio::test]
async fn body_that_stops_coming_is_given_up() {
    let server = start_with(ENV, limits(|limits| limits.body_time = Duration::from_millis(50))).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let whole =
        request("POST", "/echo", &[("X-API-Key", SENDER), ("Content-Type", "application/json")], b"{    }");
    connection.write_all(&whole[..whole.len() - 2]).await.unwrap();
    let problem = read_answer(&mut connection).await.is_problem(408, "body_timeout");
    assert_eq!(problem["retryable"], true);
    server.stop().await;
}

#[tokio::test]
async fn body_cut_short_is_refused_and_reaches_no_handler_result() {
    let server = start().await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let whole =
        request("POST", "/echo", &[("X-API-Key", SENDER), ("Content-Type", "application/json")], b"{    }");
    connection.write_all(&whole[..whole.len() - 2]).await.unwrap();
    connection.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    server.stop().await;
}

#[test]
fn depth_counts_brackets_outside_strings() {
    let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    assert!(check_depth(nested(32).as_bytes()).is_ok());
    assert_eq!(check_depth(nested(33).as_bytes()).unwrap_err().code(), "json_too_deep");
    assert!(check_depth("{\"a\":".repeat(10_000).as_bytes()).is_err());
    let siblings = format!("[{}]", vec!["[[]]"; 1_000].join(","));
    assert!(check_depth(siblings.as_bytes()).is_ok());
    let in_string = format!(r#"["{}", "\"{}"]"#, "[".repeat(100), "{".repeat(100));
    assert!(check_depth(in_string.as_bytes()).is_ok());
    let after_string = format!(r#"["\\", {}]"#, nested(33));
    assert!(check_depth(after_string.as_bytes()).is_err());
    for odd in [&b""[..], b"\"", b"\"\\", b"]]]]", b"\xff\xfe"] {
        assert!(check_depth(odd).is_ok());
    }
}

#[tokio::test]
async fn deep_body_is_refused() {
    let server = start().await;
    server.echo(&[], "[".repeat(10_000).as_bytes()).await.is_problem(400, "json_too_deep");
    server.stop().await;
}
