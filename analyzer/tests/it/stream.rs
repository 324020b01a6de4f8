//! live-stats as server-sent events, through a socket.

use std::time::Duration;

use domain::Day;
use domain::contribution::Heads;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::rig::{Rig, code, two_arms};

const PATH: &str = "/api/v1/experiments/checkout/live-stats/stream";
/// For what is told at once or within a second; nothing waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open stream, and the half that keeps it open. HTTP/1.0 has no chunks in between.
struct Stream {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _open: OwnedWriteHalf,
    head: String,
}

/// One event, or a comment.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Event { id: String, data: Value },
    Comment,
    End,
}

impl Stream {
    async fn open(rig: &Rig, more: &str) -> Stream {
        let (read, mut write) = TcpStream::connect(rig.addr).await.unwrap().into_split();
        let head = format!("GET {PATH} HTTP/1.0\r\nauthorization: Bearer read-a\r\n{more}\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        let mut stream = Stream { lines: BufReader::new(read).lines(), _open: write, head: String::new() };
        while let Some(line) = stream.line().await.filter(|line| !line.is_empty()) {
            stream.head += &format!("{}\n", line.to_lowercase());
        }
        stream
    }

    async fn line(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, self.lines.next_line()).await.expect("something is told").unwrap()
    }

    async fn told(&mut self) -> Told {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            if !line.is_empty() {
                lines.push(line);
                continue;
            }
            let [event, id, data] = lines.as_slice() else {
                assert_eq!(lines, [":"]);
                return Told::Comment;
            };
            assert_eq!(event, "event: live-stats");
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            return Told::Event { id: id.strip_prefix("id: ").unwrap().to_owned(), data };
        }
        assert_eq!(lines, Vec::<String>::new(), "an event is whole");
        Told::End
    }

    /// Past comments.
    async fn event(&mut self) -> Told {
        loop {
            match self.told().await {
                Told::Comment => {}
                told => return told,
            }
        }
    }

    async fn users(&mut self) -> (i64, String) {
        match self.event().await {
            Told::Event { id, data } => (data["users"].as_i64().unwrap(), id),
            told => panic!("{told:?}"),
        }
    }
}

/// Started, with `users` in the control.
async fn running(rig: &Rig, users: i64) {
    let e = rig.running(&two_arms("checkout")).await;
    let moments = domain::Moments { heads: Heads { enrolled: users, ..Heads::default() }, products: vec![] };
    rig.moments(&e, 0, 0, Day(20_513), &moments).await;
}

/// Another row on a later day.
async fn enroll(rig: &Rig, day: i32, users: i64) {
    let e = rig.store().await.experiment("a", "checkout").await.unwrap().unwrap();
    let moments = domain::Moments { heads: Heads { enrolled: users, ..Heads::default() }, products: vec![] };
    rig.moments(&e, 0, 0, Day(day), &moments).await;
}

#[tokio::test]
async fn an_answer_is_told_again_when_it_has_changed() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    let (mut one, mut two) = (Stream::open(&rig, "").await, Stream::open(&rig, "").await);
    assert!(
        one.head.starts_with("http/1.0 200 ok\n") || one.head.starts_with("http/1.1 200 ok\n"),
        "{}",
        one.head
    );
    for wanted in
        ["content-type: text/event-stream\n", "cache-control: no-store\n", "x-accel-buffering: no\n"]
    {
        assert!(one.head.contains(wanted), "{wanted} in {}", one.head);
    }
    let now = rig.get("/api/v1/experiments/checkout/live-stats").await;
    let tag = now.header("etag").unwrap().trim_matches('"').to_owned();
    let first = Told::Event { id: tag, data: now.json().unwrap() };
    assert_eq!((one.event().await, two.event().await), (first.clone(), first));
    for (day, users) in [(20_514, 8), (20_515, 9)] {
        enroll(&rig, day, users).await;
        // Nothing is told twice: the next event is the change.
        let (told, id) = one.users().await;
        assert_eq!((told, two.users().await), (users, (users, id)));
    }
    rig.post("/api/v1/experiments/checkout/stop").await;
    let Told::Event { data, .. } = one.event().await else { panic!("it goes on") };
    assert_eq!(data["experiment"]["status"], "stopped");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    let (_, seen) = Stream::open(&rig, "").await.users().await;
    let back = format!("last-event-id: {seen}\r\n");
    let mut same = Stream::open(&rig, &back).await;
    // Told of the connection only: a comment at once, and another one later.
    assert_eq!((same.told().await, same.told().await), (Told::Comment, Told::Comment));
    enroll(&rig, 20_514, 8).await;
    assert_eq!(same.users().await.0, 8);
    assert_eq!(Stream::open(&rig, &back).await.users().await.0, 8);
    assert_eq!(Stream::open(&rig, "last-event-id: nonsense\r\n").await.users().await.0, 8);
}

#[tokio::test]
async fn streams_end_with_their_experiment_and_with_the_process() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    let mut stream = Stream::open(&rig, "").await;
    assert_eq!(stream.users().await.0, 7);
    let deleted = rig.admin.request("DELETE", "/api/v1/experiments/checkout", &[], "").await.unwrap();
    assert_eq!(deleted.status, 204);
    assert_eq!(stream.event().await, Told::End);

    rig.running(&two_arms("other")).await;
    let path = PATH.replace("checkout", "other");
    let (read, mut write) = TcpStream::connect(rig.addr).await.unwrap().into_split();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer read-a\r\n\r\n");
    write.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(read).lines();
    while !lines.next_line().await.unwrap().unwrap().starts_with("event:") {}
    rig.boot.shutdown.begin();
    // The body ends as HTTP/1.1 bodies do, and the process is not held up by it.
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last += &line;
        last += "\n";
    }
    assert!(last.ends_with("\n0\n\n"), "{last}");
    rig.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_outlives_the_database() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    let mut stream = Stream::open(&rig, "").await;
    assert_eq!(stream.users().await.0, 7);
    // Every read fails meanwhile.
    rig.sql("ALTER TABLE experiments RENAME TO elsewhere").await;
    while stream.told().await != Told::Comment {}
    rig.sql("ALTER TABLE elsewhere RENAME TO experiments").await;
    enroll(&rig, 20_514, 8).await;
    assert_eq!(stream.users().await.0, 8);
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    let mut streams = Vec::new();
    for _ in 0..256 {
        streams.push(Stream::open(&rig, "").await);
    }
    let refused = rig.get(PATH).await;
    assert_eq!((refused.status, code(&refused).as_str()), (503, "too_many_streams"));
    assert!(refused.header("retry-after").is_some());
    // Everything else is answered, and a place that becomes free is given away.
    assert_eq!(rig.get("/api/v1/experiments/checkout/live-stats").await.status, 200);
    streams.pop();
    let free = async || Stream::open(&rig, "").await.head.contains(" 200 ok");
    testkit::eventually("a place is free", PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn nobody_follows_what_is_not_theirs() {
    let rig = Rig::start().await;
    running(&rig, 7).await;
    for (key, status, wanted) in [
        ("admin-b", 404, "unknown_experiment"),
        ("send-a", 403, "missing_scope"),
        ("stranger", 401, "unknown_key"),
    ] {
        let refused = rig.client(key).get(PATH).await.unwrap();
        assert_eq!((refused.status, code(&refused).as_str()), (status, wanted), "{key}");
    }
    let unknown = rig.get(&format!("{PATH}?as_of=2026-01-01")).await;
    assert_eq!((unknown.status, code(&unknown).as_str()), (422, "unknown_parameter"));
    let wrong = rig.post(PATH).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let head = rig.admin.request("HEAD", PATH, &[], "").await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        json!([]),
        rig.client("admin-b").get("/api/v1/experiments").await.unwrap().json().unwrap()["items"]
    );
}
