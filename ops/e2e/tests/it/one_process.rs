//! `abctl up` is killed again and again under load; afterwards everything answered 200 is there, once.

use abctl::simulate::rng::Rng;
use e2e::run::{self, silent};
use e2e::{API_TOKEN, Deployment, OneProcess, Setup};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const EVENTS: u64 = 120_000;
const KILLS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn everything_answered_is_there_once_after_twenty_kills() {
    let mut system = OneProcess::start(&Setup::default()).await.unwrap();
    let mut simulation = run::varied(EVENTS, 41);
    simulation.lanes = 8;
    simulation.manner.batch = 100;
    let world = simulation.plot.world.clone();
    let admin = Some(e2e::ADMIN_TOKEN);
    abctl::simulate::create_experiments(&world, &system.analyzer_url(), admin).await.unwrap();

    let acknowledged = Arc::new(AtomicU64::new(0));
    let heard = acknowledged.clone();
    let (url, sending) = (system.gateway_url(), simulation.clone());
    let client = tokio::spawn(async move {
        let progress = Arc::new(move |events| {
            heard.fetch_add(events, Ordering::Relaxed);
        });
        sending.run(&url, Some(API_TOKEN), &(progress as _)).await
    });

    // At whatever moment of a transaction that is, and all of them in the first half of the events: whoever looks late
    // still finds some under way.
    let mut rng = Rng::new(41, 99);
    let mut kills = 0;
    while !client.is_finished() {
        let due = EVENTS * (kills + 1) / (2 * KILLS);
        if kills < KILLS && acknowledged.load(Ordering::Relaxed) >= due {
            tokio::time::sleep(Duration::from_micros(rng.below(20_000))).await;
            system.kill_and_restart().await.unwrap();
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let outcome = client.await.unwrap().unwrap();
    assert_eq!(kills, KILLS);
    assert!(outcome.answers.retries > 0, "no kill fell into a request");
    assert_eq!(outcome.answers.applied, outcome.answers.received, "every answer came after its commit");

    // Rows, moments, counters, books, and verify of all experiments.
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    let wrong = run::wrong_answers(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    println!("{kills} kills, {} retries; {}", outcome.answers.retries, books.total);

    // And it still works: the same users again are known, every one.
    let again = simulation.run(&system.gateway_url(), Some(API_TOKEN), &silent()).await.unwrap();
    let total = system.books().await.unwrap().total;
    assert_eq!(total.recorded, books.total.recorded);
    assert_eq!(total.received, books.total.received + i64::try_from(again.answers.received).unwrap());
    system.stop().await.unwrap();
}
