//! What clients and balancers see of a Redis that is away: one kind of answer, and a gateway that stays ready.

use super::{LIMIT, gateway};
use crate::support::eventually;
use e2e::run::settled;
use e2e::{Deployment, Setup, System};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::http::Client;
use tokio::task::JoinSet;

const CLIENTS: usize = 3;
/// Refusals that an outage lasts for, beside its time.
const REFUSALS: u64 = 20;

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Conversions of the tenant, each with a key of its own, and how often each answer was given.
async fn send(client: Client, user: usize, seen: Arc<Seen>) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for n in 0u64.. {
        if seen.stop.load(Ordering::Relaxed) {
            break;
        }
        let (user, key) = (format!("client-{user}"), n.to_string());
        let body = json!({"conversions": [{"user_id": user, "metric": "purchase", "idempotency_key": key}]});
        let answer = client.post_json("/api/v1/conversions", &body).await.unwrap();
        let what = match answer.status {
            503 => {
                seen.refused.fetch_add(1, Ordering::Relaxed);
                let code = &answer.json().unwrap()["error_code"];
                format!("503 {} after {}", code.as_str().unwrap(), answer.header("retry-after").unwrap())
            }
            status => {
                seen.accepted.fetch_add(1, Ordering::Relaxed);
                status.to_string()
            }
        };
        *answers.entry(what).or_default() += 1;
    }
    answers
}

/// Counts the looks of a balancer; every one of them finds a gateway that can answer.
async fn probe(client: Client, seen: Arc<Seen>) -> u64 {
    let mut looks = 0;
    while !seen.stop.load(Ordering::Relaxed) {
        let answer = client.get("/readyz").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        looks += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    looks
}

/// Until the gateway has noticed and refused, and as long as whoever measures wants.
#[allow(clippy::disallowed_methods)] // no setting of a tier
async fn lasts(system: &System, seen: &Seen) {
    let seconds = std::env::var("OUTAGE_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let (begun, refused) = (Instant::now(), seen.refused.load(Ordering::Relaxed));
    eventually("the gateway misses Redis", LIMIT, async || {
        gateway(system, "abstream_queue_reachable").await == 0.0
            && seen.refused.load(Ordering::Relaxed) >= refused + REFUSALS
    })
    .await;
    tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed())).await;
}

#[allow(clippy::print_stdout)] // for whoever runs the test
async fn resumes(seen: &Seen, what: &str) {
    let (begun, accepted) = (Instant::now(), seen.accepted.load(Ordering::Relaxed));
    let again = async || seen.accepted.load(Ordering::Relaxed) > accepted;
    eventually("events are taken again", LIMIT, again).await;
    println!("{what}: events are taken again after {:.2?}", begun.elapsed());
}

#[allow(clippy::print_stdout)] // for whoever runs the test
#[tokio::test(flavor = "multi_thread")]
async fn clients_see_503_and_the_gateway_stays_ready() {
    // The budget that requests have unless an operator says otherwise.
    let environment = vec![("AB_SLA_TIMEOUTS", "ingest=5s".to_owned())];
    let system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for user in 0..CLIENTS {
        clients.spawn(send(system.ingest(), user, Arc::clone(&seen)));
    }
    let probe = tokio::spawn(probe(Client::at(system.gateway_addr), Arc::clone(&seen)));
    resumes(&seen, "started").await;
    system.redis.pause().unwrap();
    lasts(&system, &seen).await;
    system.redis.resume().unwrap();
    resumes(&seen, "stopped with SIGSTOP").await;
    system.redis.stop().await.unwrap();
    lasts(&system, &seen).await;
    system.redis.restart().await.unwrap();
    resumes(&seen, "shut down").await;

    seen.stop.store(true, Ordering::Relaxed);
    let mut answers: BTreeMap<String, u64> = BTreeMap::new();
    for (what, n) in clients.join_all().await.into_iter().flatten() {
        *answers.entry(what).or_default() += n;
    }
    let (looks, books) = (probe.await.unwrap(), settled(&system).await.unwrap());
    println!("clients saw {answers:?}, a probe found the gateway ready {looks} times; {}", books.total);
    let expected = |what: &String| what == "202" || what.starts_with("503 queue_unavailable after ");
    assert!(answers.keys().all(expected), "{answers:?}");
    // What was refused may have been written all the same; what was accepted is there once.
    let (accepted, sent) = (answers["202"], answers.values().sum::<u64>());
    assert!(books.are_good() && books.total.in_flight == 0 && books.total.lost == 0, "{}", books.total);
    let recorded = u64::try_from(books.total.recorded).unwrap();
    assert!((accepted..=sent).contains(&recorded), "{accepted} accepted of {sent}; {}", books.total);
    system.stop().await.unwrap();
}
