//! One allowance for all gateways: four of them, over HTTP, give what one may give.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{API_TOKEN, Setup, System, Tier};
use serde_json::json;
use testkit::Process;
use testkit::http::Client;
use tokio::task::JoinSet;

/// Few enough for a slow machine to come to it.
const PER_SECOND: u32 = 300;
const SENDING: Duration = Duration::from_secs(3);
/// Until the limit is met at the latest.
const LIMIT: Duration = Duration::from_secs(60);

/// Of all senders.
struct Sending {
    begun: Instant,
    met: AtomicBool,
}

impl Sending {
    fn goes_on(&self) -> bool {
        let met = self.met.load(Ordering::Relaxed);
        self.begun.elapsed() < if met { SENDING } else { LIMIT }
    }
}

/// Sends batches of this size; events accepted, requests refused.
async fn send(gateway: SocketAddr, name: usize, size: usize, sending: Arc<Sending>) -> (usize, usize) {
    let client = Client::at(gateway).bearer(API_TOKEN);
    let (mut accepted, mut refused) = (0, 0);
    for batch in 0.. {
        if !sending.goes_on() {
            break;
        }
        let key = format!("{name}-{batch}");
        let one = |n| json!({"type": "conversion", "user_id": format!("{key}-{n}"), "metric": "m"});
        let body = json!({"events": (0..size).map(one).collect::<Vec<_>>()}).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        // What a queue too slow for a busy machine has not confirmed may be written all the same: until it is known.
        let mut doubtful = false;
        loop {
            let answer = client.post("/api/v1/events", &headers, body.clone()).await.unwrap();
            match answer.status {
                202 => accepted += size,
                503 => {
                    doubtful = true;
                    continue;
                }
                429 => {
                    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
                    refused += 1;
                    sending.met.store(true, Ordering::Relaxed);
                    if doubtful {
                        continue;
                    }
                }
                other => panic!("{other}: {}", answer.text()),
            }
            break;
        }
    }
    (accepted, refused)
}

#[allow(clippy::print_stdout)] // for whoever runs the test
#[tokio::test(flavor = "multi_thread")]
async fn four_gateways_together_accept_what_a_tenant_may_send_and_no_more() {
    let environment = vec![("AB_RATE_LIMIT_EVENTS", PER_SECOND.to_string())];
    // A Redis that waits for no disk: one that does not answer for a quarter of a second limits nobody meanwhile.
    let redis = vec![("appendfsync", "everysec")];
    let setup = Setup { environment, redis, ..Setup::default() };
    let system = System::start(setup).await.unwrap();
    let mut more: Vec<Tier> = Vec::new();
    for _ in 0..3 {
        more.push(system.another("ingest-gateway").unwrap());
    }
    for gateway in &mut more {
        gateway.ready().await.unwrap();
    }
    let gateways = more.iter().map(|gateway| gateway.addr).chain([system.gateway_addr]);
    let sending = Arc::new(Sending { begun: Instant::now(), met: AtomicBool::new(false) });
    let mut senders = JoinSet::new();
    for (number, gateway) in gateways.enumerate() {
        // One of them is sent most.
        let size = if number == 0 { 100 } else { 25 };
        senders.spawn(send(gateway, number, size, Arc::clone(&sending)));
    }
    let (mut accepted, mut refused) = (0, 0);
    for (of_one, refused_by_one) in senders.join_all().await {
        (accepted, refused) = (accepted + of_one, refused + refused_by_one);
    }
    let seconds = sending.begun.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let accepted_events = accepted as f64;
    let allowed = f64::from(PER_SECOND) * (seconds + 1.0);
    // Which is said by whoever does not limit.
    let is_open = |gateway: &Process| gateway.stderr().contains("rates are not limited");
    let open = more.iter().map(|gateway| &gateway.process).chain([&system.gateway]).any(is_open);
    println!(
        "4 gateways: {accepted} events accepted in {seconds:.2} s, {allowed:.0} allowed: {:+.1}%; {refused} requests \
         refused; Redis answered in time: {}",
        (accepted_events / allowed - 1.0) * 100.0,
        !open
    );
    assert!(open || accepted_events <= allowed + 1.0, "never more");
    assert!(refused > 0, "the limit was met");
    let books = e2e::run::settled(&system).await.unwrap().total;
    assert_eq!(books.recorded, i64::try_from(accepted).unwrap(), "what was refused is nowhere: {books}");
    system.stop().await.unwrap();
}
