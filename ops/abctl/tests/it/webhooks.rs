//! `abctl webhooks` against a real analyzer.

use crate::deployment::Deployment;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_tried_out_and_deleted() {
    let deployment = Deployment::start_with(&[("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")]).await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["webhooks"], arguments].concat());
    assert_eq!(run(&["list"]).ok(), "no webhooks\n");
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        for status in ["200 OK", "500 No"] {
            let (mut stream, _) = receiver.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut more = [0; 4_096];
                let read = stream.read(&mut more).unwrap();
                assert!(read > 0, "it ended early");
                request.extend_from_slice(&more[..read]);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });

    let made = run(&["create", &url, "--event", "srm_mismatch", "--event", "dead_letters"]).ok();
    assert!(made.starts_with("webhook 1\nsecret  whsec_"), "{made}");
    let listed = run(&["list"]).ok();
    let heads = "    id  waiting  next attempt          url, events\n";
    assert_eq!(
        listed,
        format!("{heads}     1        0  -                     {url}  dead_letters srm_mismatch\n")
    );
    assert!(!run(&["list", "--json"]).ok().contains("secret"));

    let tested = run(&["test", "1", "--wait", "60s"]).ok();
    assert!(
        tested.lines().count() == 2 && tested.ends_with("  delivered         1  test                  200\n"),
        "{tested}"
    );
    // It is tried again in seconds; nobody waits for that here.
    let failing = run(&["test", "1", "--wait", "1s", "--json"]);
    assert_eq!(failing.code, 1, "{failing:?}");
    let shown: Value = serde_json::from_str(&failing.out).unwrap();
    assert_eq!((&shown["number"], &shown["state"]), (&Value::from(2), &Value::from("waiting")));
    serving.join().unwrap();
    let log = run(&["deliveries", "1"]).ok();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert_eq!(run(&["deliveries", "1", "--state", "delivered"]).ok().lines().count(), 2);

    assert_eq!(run(&["delete", "1"]).ok(), "webhook 1 is deleted\n");
    let gone = run(&["deliveries", "1"]);
    assert!(gone.code == 1 && gone.error.contains("abctl webhooks list"), "{gone:?}");
    let refused = run(&["create", "http://10.0.0.1/"]);
    assert!(refused.code == 1 && refused.error.contains("AB_WEBHOOK_ALLOW_PRIVATE"), "{refused:?}");
}
