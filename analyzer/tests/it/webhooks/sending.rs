//! What happens when nobody answers, or two send.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use analyzer::webhooks::sender::Counts;
use analyzer::webhooks::signature::shown;
use analyzer::webhooks::{Policy, Sender};
use service::http::Networks;
use service::metrics::Metrics;
use store::{Actor, Delivery, DeliveryState, Location, NewWebhook, Note, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::receiver::{Receiver, Say, Seen};

const SECRET: [u8; 32] = [7; 32];
const ACTOR: Actor<'static> = Actor { name: "tester", request_id: "r-1" };

struct Outbox {
    store: Arc<dyn Store>,
    metrics: Metrics,
    counts: Counts,
}

impl Outbox {
    async fn new() -> Outbox {
        let server = testkit::postgres().await;
        let url = server.url_for(&server.create_database().await.unwrap());
        let location = Location::Postgres { url, pool_size: 8 };
        let store = store::open(&location, 1, Duration::from_secs(30)).await.unwrap();
        let metrics = Metrics::new();
        let counts = Counts::new(&metrics).unwrap();
        Outbox { store, metrics, counts }
    }

    async fn webhook(&self, url: &str) -> i64 {
        let new = NewWebhook { url, events: &[], secret: &SECRET };
        self.store.create_webhook("a", new, ACTOR).await.unwrap().unwrap().id
    }

    async fn tell(&self, webhook: i64, body: &str) -> String {
        let note = Note { event: "test", body: body.to_owned() };
        self.store.tell_one("a", webhook, &note).await.unwrap().unwrap().id.to_string()
    }

    /// Runs until the handle is dropped, as a process that is killed.
    fn sender(&self, policy: Policy) -> AbortOnDropHandle<()> {
        let sender = Sender::new(self.store.clone(), policy, self.counts.clone());
        AbortOnDropHandle::new(tokio::spawn(sender.run(CancellationToken::new())))
    }

    /// Once nothing waits.
    async fn log(&self, webhook: i64) -> Vec<Delivery> {
        loop {
            let mut log = self.store.deliveries(webhook, None, None, 1_000).await.unwrap();
            if log.iter().all(|delivery| delivery.state != DeliveryState::Waiting) {
                log.reverse();
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Once so many are counted, which is done when the outcome is written.
    async fn counted(&self, outcome: &str, wanted: impl Fn(u64) -> bool) {
        let counted = || std::future::ready(wanted(self.count(outcome)));
        testkit::eventually(outcome, Duration::from_secs(60), counted).await.unwrap();
    }

    fn count(&self, outcome: &str) -> u64 {
        let shown = self.metrics.render().unwrap();
        let line = format!("abstream_webhook_deliveries_total{{outcome=\"{outcome}\"}} ");
        shown.lines().find_map(|shown| shown.strip_prefix(&line)).unwrap().parse().unwrap()
    }
}

fn hasty() -> Policy {
    Policy {
        first: Duration::from_millis(1),
        last: Duration::from_millis(2),
        attempts: 100,
        timeout: Duration::from_secs(20),
        margin: Duration::from_secs(60),
        allowed: Networks::parse("127.0.0.0/8").unwrap(),
    }
}

/// By the standard library of another language.
fn verified(seen: &Seen) -> bool {
    let script = r#"
import base64, hashlib, hmac, sys
secret, id, timestamp, signature = sys.argv[1:]
body = sys.stdin.buffer.read()
key = base64.b64decode(secret.removeprefix("whsec_"))
mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
sys.exit(0 if hmac.compare_digest("v1," + base64.b64encode(mac).decode(), signature) else 1)
"#;
    let header = |name| seen.header(name).unwrap();
    let mut python = Command::new("python3")
        .args(["-c", script, &shown(&SECRET), header("webhook-id"), header("webhook-timestamp")])
        .arg(header("webhook-signature"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(seen.body.as_bytes()).unwrap();
    python.wait().unwrap().success()
}

#[tokio::test]
async fn a_delivery_is_signed_so_that_anybody_with_the_secret_can_tell() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::willing().await;
    let webhook = outbox.webhook(&receiver.url()).await;
    let id = outbox.tell(webhook, r#"{"data":"ünïcode"}"#).await;
    let _sender = outbox.sender(hasty());
    let seen = receiver.wait_for(1).await.remove(0);
    assert!(seen.head.starts_with("POST /hook?from=abstream HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.id(), seen.body.as_str()), (id, r#"{"data":"ünïcode"}"#));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("host"), Some(receiver.addr.to_string().as_str()));
    assert!(verified(&seen));
    let tampered = Seen { body: seen.body.replace('d', "e"), ..seen.clone() };
    assert!(!verified(&tampered));
    let replayed = Seen { head: seen.head.replace("webhook-timestamp: 1", "webhook-timestamp: 2"), ..seen };
    assert!(!verified(&replayed));
    assert_eq!(outbox.log(webhook).await[0].state, DeliveryState::Delivered);
    outbox.counted("delivered", |n| n == 1).await;
    assert_eq!(outbox.count("failed"), 0);
}

#[tokio::test]
async fn a_receiver_that_fails_in_every_way_hears_all_in_order() {
    let outbox = Outbox::new().await;
    let elsewhere = Receiver::willing().await;
    let redirect = Say::With(307, format!("location: {}\r\n", elsewhere.url()));
    let failing = [Say::Status(500), Say::Close, redirect, Say::Status(404), Say::Hang];
    let receiver =
        Receiver::start(move |before, _| failing.get(before).cloned().unwrap_or(Say::Status(204))).await;
    let webhook = outbox.webhook(&receiver.url()).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(outbox.tell(webhook, &n.to_string()).await);
    }
    let _sender = outbox.sender(Policy { timeout: Duration::from_secs(1), ..hasty() });
    let log = outbox.log(webhook).await;
    let outcome: Vec<_> = log.iter().map(|d| (d.state, d.attempts, d.status, d.error.as_deref())).collect();
    let delivered = |attempts| (DeliveryState::Delivered, attempts, Some(204), None);
    // A machine that is slow may fail one more time by the clock, never one less.
    assert!(outcome[0].1 >= 6, "{outcome:?}");
    assert_eq!(outcome[0], delivered(outcome[0].1));
    let heard = receiver.ids();
    assert!(heard[..6].iter().all(|id| *id == ids[0]), "{heard:?}");
    let mut in_order = heard.clone();
    in_order.dedup();
    assert_eq!(in_order, ids, "none passed another");
    assert!(elsewhere.seen().is_empty(), "redirects are not followed");
    outbox.counted("delivered", |n| n == 4).await;
    assert!(outbox.count("failed") >= 5);
}

#[tokio::test]
async fn retry_after_puts_a_delivery_off() {
    let outbox = Outbox::new().await;
    let wait = |_: usize, _: &Seen| Say::With(429, "retry-after: 3600\r\n".into());
    let receiver = Receiver::start(wait).await;
    let webhook = outbox.webhook(&receiver.url()).await;
    outbox.tell(webhook, "{}").await;
    let date =
        Receiver::start(|_, _| Say::With(503, "retry-after: Wed, 21 Oct 2150 07:28:00 GMT\r\n".into())).await;
    let later = outbox.webhook(&date.url()).await;
    outbox.tell(later, "{}").await;
    let _sender = outbox.sender(hasty());
    let due = async |webhook| loop {
        let tried = outbox.store.deliveries(webhook, None, None, 1).await.unwrap().remove(0);
        // Then its outcome is written, and when it is due again with it.
        if tried.status.is_some() {
            let all = outbox.store.webhooks("a").await.unwrap();
            let hook = all.into_iter().find(|hook| hook.id == webhook).unwrap();
            return hook.next_at.unwrap().0 - tried.tried_at.unwrap().0;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let hour = 3_600_000_000;
    let put_off = due(webhook).await;
    assert!(put_off >= hour, "{put_off}");
    // As far ahead as a receiver may put us off.
    let put_off = due(later).await;
    assert!((24 * hour..25 * hour).contains(&put_off), "{put_off}");
    assert_eq!((receiver.seen().len(), date.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_never_takes_it_is_given_up_and_the_next_is_tried() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::start(|_, seen| Say::Status(if seen.body == "bad" { 400 } else { 200 })).await;
    let webhook = outbox.webhook(&receiver.url()).await;
    outbox.tell(webhook, "bad").await;
    outbox.tell(webhook, "good").await;
    let _sender = outbox.sender(Policy { attempts: 3, ..hasty() });
    let log = outbox.log(webhook).await;
    let outcome: Vec<_> = log.iter().map(|d| (d.state, d.attempts, d.status, d.error.as_deref())).collect();
    let given_up = (DeliveryState::GivenUp, 3, Some(400), Some("status"));
    assert_eq!(outcome, [given_up, (DeliveryState::Delivered, 1, Some(200), None)]);
    outbox.counted("delivered", |n| n == 1).await;
    assert_eq!((outbox.count("given_up"), outbox.count("failed")), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let outbox = Outbox::new().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let receiver = Receiver::willing().await;
    let _sender = outbox.sender(Policy { attempts: 1, ..hasty() });
    let allowed = Networks::parse("").unwrap();
    for (url, error) in [
        (format!("http://{closed}/"), "not_connected"),
        ("http://no-such-host.invalid/".to_owned(), "unknown_host"),
        ("http://10.0.0.1/".to_owned(), "address_forbidden"),
    ] {
        let webhook = outbox.webhook(&url).await;
        outbox.tell(webhook, "{}").await;
        let log = outbox.log(webhook).await;
        assert_eq!((log[0].status, log[0].error.as_deref()), (None, Some(error)), "{url}");
    }
    drop(_sender);
    // A name that was public when the webhook was made, and is the loopback address now.
    let _strict = outbox.sender(Policy { attempts: 1, allowed, ..hasty() });
    let rebound = outbox.webhook(&format!("http://localhost:{}/", receiver.addr.port())).await;
    outbox.tell(rebound, "{}").await;
    assert_eq!(outbox.log(rebound).await[0].error.as_deref(), Some("address_forbidden"));
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_killed_senders_delivery_is_sent_by_another_with_the_same_id() {
    let outbox = Outbox::new().await;
    let receiver = Receiver::start(|before, _| if before == 0 { Say::Hang } else { Say::Status(200) }).await;
    let webhook = outbox.webhook(&receiver.url()).await;
    let id = outbox.tell(webhook, "{}").await;
    let quick = Policy { timeout: Duration::from_secs(1), margin: Duration::ZERO, ..hasty() };
    let killed = outbox.sender(quick);
    receiver.wait_for(1).await;
    drop(killed);
    let _sender = outbox.sender(hasty());
    let log = outbox.log(webhook).await;
    assert_eq!((log[0].state, log[0].attempts), (DeliveryState::Delivered, 2));
    assert_eq!(receiver.ids(), [id.clone(), id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_deliver_each_once_and_in_order() {
    const WEBHOOKS: usize = 5;
    const EACH: usize = 40;
    let outbox = Outbox::new().await;
    let receiver = Receiver::willing().await;
    let mut told: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut webhooks = Vec::new();
    for hook in 0..WEBHOOKS {
        webhooks.push(outbox.webhook(&receiver.url()).await);
        for n in 0..EACH {
            let id = outbox.tell(webhooks[hook], &format!("{hook} {n}")).await;
            told.entry(hook).or_default().push(id);
        }
    }
    let began = Instant::now();
    let _senders: Vec<_> = (0..4).map(|_| outbox.sender(hasty())).collect();
    let seen = receiver.wait_for(WEBHOOKS * EACH).await;
    for webhook in webhooks {
        outbox.log(webhook).await;
    }
    println!("{} deliveries in {:?}", seen.len(), began.elapsed());
    let seen = receiver.seen();
    assert_eq!(seen.len(), WEBHOOKS * EACH, "none twice");
    assert_eq!(receiver.ids().iter().collect::<BTreeSet<_>>().len(), WEBHOOKS * EACH);
    for (hook, ids) in told {
        let prefix = format!("{hook} ");
        let heard: Vec<String> = seen.iter().filter(|s| s.body.starts_with(&prefix)).map(Seen::id).collect();
        assert_eq!(heard, ids);
    }
    outbox.counted("delivered", |n| n == (WEBHOOKS * EACH) as u64).await;
}
