//! Processes and servers die while events come in; afterwards everything acknowledged has taken effect once.

use crate::support::eventually;
use abctl::simulate::rng::Rng;
use e2e::run::{self, silent};
use e2e::{Deployment, Setup, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::{Direction, FaultProxy, Process};

const EVENTS: u64 = 200_000;
const WORKER_KILLS: u64 = 20;
const GATEWAY_KILLS: u64 = 5;
const READY: Duration = Duration::from_secs(60);
/// Of a request on its way to the gateway while events are ahead of the faults.
const LATE: Duration = Duration::from_secs(1);

/// Kills a tier and starts it again.
async fn kill(process: &mut Process, addr: SocketAddr) {
    process.respawn().unwrap();
    process.wait_ready(addr, "/readyz", READY).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_applied_once_whatever_is_killed() {
    let mut system = System::start(Setup::default()).await.unwrap();
    let mut simulation = run::varied(EVENTS, 31);
    // Slow enough that the faults fall among the events.
    simulation.manner.rate = Some(1_600.0);
    simulation.manner.batch = 200;
    simulation.manner.timeout = Duration::from_secs(10);
    let world = simulation.plot.world.clone();
    abctl::simulate::create_experiments(&world, &system.analyzer_url(), Some(e2e::ADMIN_TOKEN))
        .await
        .unwrap();

    let (acknowledged, killed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (heard, kills) = (acknowledged.clone(), killed.clone());
    let front = FaultProxy::start(system.gateway_addr).await.unwrap();
    let (url, sending) = (format!("http://{}", front.addr()), simulation.clone());
    let client = tokio::spawn(async move {
        // A machine on which a worker takes long to come back is sent less meanwhile: there are events for every fault.
        let progress = Arc::new(move |events| {
            let heard = heard.fetch_add(events, Ordering::Relaxed);
            let ahead = heard * WORKER_KILLS > kills.load(Ordering::Relaxed) * EVENTS;
            front.delay(Direction::ToServer, if ahead { LATE } else { Duration::ZERO });
        });
        sending.run(&url, Some(e2e::API_TOKEN), &(progress as _)).await
    });

    let mut rng = Rng::new(31, 99);
    let (mut gateway_kills, mut redis, mut postgres) = (0, false, false);
    while !client.is_finished() {
        // Somewhere in the middle of whatever the worker does.
        tokio::time::sleep(Duration::from_millis(rng.below(400))).await;
        let share = acknowledged.load(Ordering::Relaxed) * 12 / EVENTS;
        if gateway_kills < GATEWAY_KILLS && share > 2 * gateway_kills {
            gateway_kills += 1;
            kill(&mut system.gateway, system.gateway_addr).await;
        } else if !redis && share >= 4 {
            redis = true;
            system.redis.kill().await.unwrap();
            system.redis.restart().await.unwrap();
        } else if !postgres && share >= 7 {
            postgres = true;
            system.postgres.kill().await.unwrap();
            system.postgres.restart().await.unwrap();
        } else {
            let applied = system.books().await.map(|b| b.total.received - b.total.in_flight);
            killed.fetch_add(1, Ordering::Relaxed);
            let worker = system.worker.as_mut().unwrap();
            worker.respawn().unwrap();
            if let Ok(applied) = applied {
                // Each life does some work: killing one that never got to it would show nothing.
                let system = &system;
                eventually("the new worker applies", READY, async || {
                    let now = system.books().await.map(|b| b.total);
                    now.is_ok_and(|b| b.received - b.in_flight > applied || b.in_flight == 0)
                })
                .await;
            }
        }
    }
    let outcome = client.await.unwrap().unwrap();
    let worker_kills = killed.load(Ordering::Relaxed);
    let counts = (worker_kills >= WORKER_KILLS, gateway_kills, redis, postgres);
    assert_eq!(counts, (true, GATEWAY_KILLS, true, true), "{worker_kills} worker kills");

    // Rows, moments, counters, books, and verify of all experiments.
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    let wrong = run::wrong_answers(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    println!("{worker_kills} worker kills, {} retries; {}", outcome.answers.retries, books.total);

    // And the system still works: the same users again are known, every one.
    let mut again = simulation.clone();
    again.manner.rate = None;
    let again = again.run(&system.gateway_url(), Some(e2e::API_TOKEN), &silent()).await.unwrap();
    let total = run::settled(&system).await.unwrap().total;
    assert_eq!(total.recorded, books.total.recorded);
    let least = books.total.received + i64::try_from(again.answers.received).unwrap();
    // A request that was sent again may have been accepted twice.
    assert!(total.received == least || (total.received > least && again.answers.retries > 0), "{total}");
    system.stop().await.unwrap();
}
