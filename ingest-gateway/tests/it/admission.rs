//! What a request has to pass, in the order that ops/docs/admission.md tells.

use std::io::Write;
use std::time::Duration;

use testkit::http::Response;

use crate::rig::{Rig, TOKEN, error_code};

const TABLE: &str = include_str!("../../../ops/docs/admission.md");
const LIMIT: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// The row that names a code.
fn row(code: &str) -> usize {
    let named = format!("`{code}`");
    let rows = TABLE.lines().filter(|line| line.starts_with("| "));
    let found = rows.enumerate().find(|(_, line)| line.contains(&named));
    found.unwrap_or_else(|| panic!("{code} is not in the table")).0
}

/// A request, mended step by step.
struct Wrong<'a> {
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Vec<u8>,
}

impl<'a> Wrong<'a> {
    fn set(&mut self, name: &'a str, value: &'a str) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
    }

    async fn send(&self, rig: &Rig) -> Response {
        let anonymous = testkit::http::Client::at(rig.addr);
        anonymous.post(self.path, &self.headers, self.body.clone()).await.unwrap()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_request_that_is_wrong_in_every_way_is_told_one_thing_after_the_other() {
    let rig = Rig::start().await;
    rig.redis.stop().await.unwrap();
    let mut last = row("not_found");
    let mut wrong = Wrong {
        path: "/api/v1/event?nonsense=1",
        headers: vec![("x-api-key", "nobody's"), ("content-type", "text/xml"), ("content-encoding", "br")],
        body: vec![b'['; 2 * MIB],
    };
    let mut told = async |wrong: &Wrong<'_>, codes: &[&str]| {
        let code = error_code(&wrong.send(&rig).await);
        assert!(codes.contains(&code.as_str()), "{code} instead of {codes:?}");
        assert!(row(&code) >= last, "{code} comes too late for ops/docs/admission.md");
        last = row(&code);
        code == *codes.last().unwrap()
    };
    told(&wrong, &["not_found"]).await;
    wrong.path = "/api/v1/events?nonsense=1";
    told(&wrong, &["unknown_key"]).await;
    wrong.set("x-api-key", "only-reads");
    told(&wrong, &["missing_scope"]).await;
    wrong.set("x-api-key", TOKEN);
    // As soon as the gateway has noticed; until then what comes after it is told.
    let away = || async { rig.metric("abstream_queue_reachable").await == 0.0 };
    testkit::eventually("the queue is known to be away", LIMIT, away).await.unwrap();
    told(&wrong, &["queue_unavailable"]).await;
    rig.redis.restart().await.unwrap();
    rig.redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.unwrap();
    while !told(&wrong, &["queue_unavailable", "queue_full"]).await {}
    rig.redis.command(&["CONFIG", "SET", "maxmemory", "2gb"]).await.unwrap();
    while !told(&wrong, &["queue_full", "unknown_query_parameter"]).await {}
    wrong.path = "/api/v1/events";
    told(&wrong, &["unsupported_media_type"]).await;
    wrong.set("content-type", "application/json");
    told(&wrong, &["unsupported_encoding"]).await;
    wrong.set("content-encoding", "gzip");
    told(&wrong, &["body_too_large"]).await;
    wrong.body = gzip(&vec![b'['; 20 * MIB]);
    told(&wrong, &["decoded_body_too_large"]).await;
    wrong.body = gzip(&[b'['; 1_000]);
    told(&wrong, &["json_too_deep"]).await;
    wrong.body = gzip(br#"{"events":[{"type":"exposure"}]}"#);
    told(&wrong, &["invalid_items"]).await;
    let events =
        r#"{"events":[{"type":"exposure","user_id":"u","experiment":"checkout","variation":"control"}]}"#;
    wrong.body = gzip(events.as_bytes());
    // The experiments are known again a moment after the queue is.
    let taken = || async { wrong.send(&rig).await.status == 202 };
    testkit::eventually("a request that is right is taken", LIMIT, taken).await.unwrap();
    rig.end().await.unwrap();
}
