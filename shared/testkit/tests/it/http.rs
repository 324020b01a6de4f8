use std::net::SocketAddr;
use std::time::Duration;

use testkit::http::{Client, raw};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every connection's first `per_connection` requests with a JSON body that tells what was received. The last
/// answer says that it is the last: a close alone may meet a request that is on its way.
async fn echo_server(per_connection: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for connection in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut received = Vec::new();
                for request in 1..=per_connection {
                    while !received.ends_with(b"END") {
                        if stream.read_buf(&mut received).await.unwrap() == 0 {
                            return;
                        }
                    }
                    let text = String::from_utf8(std::mem::take(&mut received)).unwrap();
                    let body = serde_json::json!({"connection": connection, "request": text}).to_string();
                    let way = if request < per_connection { "keep-alive" } else { "close" };
                    let head = format!(
                        "HTTP/1.1 202 Accepted\r\nX-Mark: m\r\nConnection: {way}\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn sends_what_it_is_given_on_a_kept_connection() {
    let addr = echo_server(2).await;
    let client = Client::new(&format!("http://{addr}/")).unwrap().bearer("secret");
    let send = async || client.post("/a?b=c", &[("content-encoding", "gzip")], "x END").await.unwrap();

    let first = send().await;
    assert_eq!((first.status, first.header("x-mark")), (202, Some("m")));
    let sent = first.json().unwrap()["request"].as_str().unwrap().to_lowercase();
    assert!(sent.starts_with("post /a?b=c http/1.1\r\n") && sent.ends_with("\r\n\r\nx end"), "{sent}");
    for line in [
        "authorization: bearer secret",
        "content-encoding: gzip",
        "content-length: 5",
        &format!("host: {addr}"),
    ] {
        assert!(sent.contains(&format!("\r\n{line}\r\n")), "{line} missing in {sent}");
    }
    assert_eq!(send().await.json().unwrap()["connection"], 1);
    // The server closes the first one after two requests.
    assert_eq!(send().await.json().unwrap()["connection"], 2);
}

#[tokio::test]
async fn raw_bytes_go_out_unchanged() {
    let addr = echo_server(1).await;
    let answer = raw(addr, b"NONSENSE\r\n END", true, Duration::from_secs(30)).await.unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(r#""request":"NONSENSE\r\n END""#));
}

#[tokio::test]
async fn no_answer_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::at(listener.local_addr().unwrap()).timeout(Duration::from_millis(50));
    assert!(client.get("/").await.unwrap_err().to_string().contains("no answer"));
}
