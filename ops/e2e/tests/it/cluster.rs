//! The queue in a Redis Cluster: slots move and masters die under load.

use crate::support::{counted, eventually, two_arms};
use e2e::{Deployment, Load, Setup, System, run};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::http::Client;
use testkit::{Process, RedisCluster};

const LIMIT: Duration = Duration::from_secs(60);
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// Fewer than usual, so that one master's share is many of them.
const PARTITIONS: u16 = 6;

async fn system(replicas: u16) -> System<RedisCluster> {
    let cluster = RedisCluster::start_replicated(NODE_TIMEOUT).await.unwrap();
    let environment = vec![("AB_QUEUE_REPLICAS", replicas.to_string())];
    let setup = Setup { partitions: PARTITIONS, environment, ..Setup::default() };
    System::start_on(setup, cluster).await.unwrap()
}

/// What has been accepted by now is applied, and more comes in.
async fn flows(system: &System<RedisCluster>) {
    let mut goal = None;
    eventually("all is applied", LIMIT, async || {
        let Ok(books) = system.books().await else { return false };
        let total = books.total;
        total.received - total.in_flight > *goal.get_or_insert(total.received)
    })
    .await;
}

/// How often the gateway's writers found no connection, or could not tell what became of an entry: whichever a dead
/// master does to the one that is being sent.
async fn troubles(system: &System<RedisCluster>) -> f64 {
    let metrics = Client::at(system.internal[0]).get("/metrics").await.unwrap().text();
    let names = ["abstream_queue_unreachable_total ", "abstream_queue_resends_total "];
    let counts = metrics.lines().filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
    counts.map(|count| count.parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_slots_move_and_masters_die() {
    let system = system(1).await;
    let load = Load::start(&system, 71).await.unwrap();
    flows(&system).await;
    let keys: Vec<String> = (0..PARTITIONS).map(|p| format!("ab:{{events:{p:02}}}")).collect();
    for key in keys.iter().map(String::as_str).chain(["ab:{catalogue}"]) {
        let from = system.redis.owner(key).await.unwrap().unwrap().addr();
        let at = system.redis.masters.iter().position(|master| master.addr() == from).unwrap();
        system.redis.move_slot(key, &system.redis.masters[(at + 1) % 3]).await.unwrap();
    }
    flows(&system).await;
    // The master of a stream, and then that of the catalogue, which may be another.
    for key in [keys[0].as_str(), "ab:{catalogue}"] {
        let before = troubles(&system).await;
        let dead = system.redis.fail_over(key).await.unwrap();
        eventually("the gateway says so", LIMIT, async || troubles(&system).await > before).await;
        // Back as a replica: without one, nothing is acknowledged.
        dead.restart().await.unwrap();
        flows(&system).await;
    }
    let (simulation, outcome) = load.finish().await.unwrap();
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{}", found.len());
    println!("{} retries; {}", outcome.answers.retries, books.total);
    system.stop().await.unwrap();
}

/// Exposes so many new users and returns when that is acknowledged.
async fn expose(system: &System<RedisCluster>, batch: u64, users: u64) {
    let exposures: Vec<Value> = (0..users)
        .map(|i| json!({"user_id": format!("user-{batch}-{i}"), "variation_index": i % 2}))
        .collect();
    let (body, key) = (json!({"exposures": exposures}).to_string(), format!("batch-{batch}"));
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
    eventually("acknowledged", LIMIT, async || {
        let answer = system.ingest().post("/api/v1/experiments/tail/exposures", &headers, body.clone()).await;
        matches!(answer, Ok(answer) if answer.status == 202)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_what_a_dead_master_took_along_is_counted_to_the_event() {
    let mut system = system(0).await;
    system.experiment(two_arms("tail", &["purchase"])).await.unwrap();
    for batch in 0..5 {
        expose(&system, batch, 200).await;
    }
    assert_eq!(run::settled(&system).await.unwrap().total.in_flight, 0);

    // A tail that neither a replica nor a worker has seen.
    system.worker.take().unwrap().kill().unwrap();
    let key = "ab:{events:00}";
    let master = system.redis.owner(key).await.unwrap().unwrap();
    system.redis.stop_replication(master).await.unwrap();
    for batch in 5..10 {
        expose(&system, batch, 200).await;
    }
    let dead = system.redis.fail_over(key).await.unwrap();
    dead.restart().await.unwrap();
    system.start_worker().unwrap();
    for batch in 10..15 {
        expose(&system, batch, 200).await;
    }
    // Every user was exposed once: who is missing is lost.
    let mut settled = None;
    eventually("the books are settled", LIMIT, async || {
        let Ok(books) = system.books().await else { return false };
        let all = books.total.received == 3_000 && books.total.in_flight == 0;
        settled = all.then_some(books);
        all
    })
    .await;
    let books = settled.unwrap();
    let arms = [counted(&system, "tail", 0).await, counted(&system, "tail", 1).await];
    let lost = 3_000 - arms[0].0 - arms[1].0;
    assert!(lost > 0, "a third of a thousand or so");
    assert_eq!((books.total.lost, books.total.recorded), (lost, 3_000 - lost), "{}", books.total);
    assert!(books.partitions.iter().all(|(_, book)| book.closes()));
    let named: u64 = books.losses.iter().map(|loss| loss.events).sum();
    assert_eq!(i64::try_from(named).unwrap(), lost, "every loss is named: {:?}", books.losses);
    println!("{}", books.total);

    let mut accounting = Process::of("abctl")
        .unwrap()
        .env("AB_DATABASE_URL", &system.database_url)
        .env("AB_REDIS_URL", &system.redis_url)
        .arg("accounting")
        .spawn()
        .unwrap();
    let status = accounting.wait(LIMIT).await.unwrap();
    let out = accounting.stdout();
    assert_eq!(status.code(), Some(1), "{out}");
    assert!(out.lines().last().unwrap().ends_with(&format!("lost={lost}")), "{out}");
    system.stop().await.unwrap();
}
