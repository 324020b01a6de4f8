//! Workers come and go under load: partitions change hands, nothing is lost, nobody waits for long.

use domain::Partition;
use e2e::run;
use e2e::{API_TOKEN, Deployment, Setup, System};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::Process;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a partition waited for at most while something of it was not applied.
struct Lulls {
    applied: HashMap<Partition, (i64, Instant)>,
    longest: Duration,
}

impl Lulls {
    fn new() -> Lulls {
        Lulls { applied: HashMap::new(), longest: Duration::ZERO }
    }

    /// Looks for `time`.
    async fn watch(&mut self, system: &System, time: Duration) -> Duration {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let books = system.books().await.unwrap();
            let now = Instant::now();
            for (partition, book) in books.partitions {
                let applied = book.received - book.in_flight;
                let (last, since) = self.applied.entry(partition).or_insert((applied, now));
                if *last != applied || book.in_flight == 0 {
                    (*last, *since) = (applied, now);
                }
                self.longest = self.longest.max(now - *since);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::mem::take(&mut self.longest)
    }
}

/// Events at a steady pace until told to end.
fn load(system: &System, simulation: &abctl::simulate::Simulation) -> JoinHandle<abctl::simulate::Outcome> {
    let (url, sending) = (system.gateway_url(), simulation.clone());
    tokio::spawn(async move { sending.run(&url, Some(API_TOKEN), &(Arc::new(|_| {}) as _)).await.unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_becomes_four_and_then_two_under_load() {
    let system = System::start(Setup::default()).await.unwrap();
    let mut simulation = run::varied(60_000, 51);
    simulation.manner.rate = Some(600.0);
    simulation.manner.batch = 100;
    let world = simulation.plot.world.clone();
    abctl::simulate::create_experiments(&world, &system.analyzer_url(), Some(e2e::ADMIN_TOKEN))
        .await
        .unwrap();
    let client = load(&system, &simulation);
    let mut lulls = Lulls::new();
    let step = Duration::from_secs(6);
    println!("one worker: longest lull {:?}", lulls.watch(&system, step / 2).await);
    let mut others: Vec<Process> = (0..3).map(|_| system.another_worker().unwrap().0).collect();
    println!("1 -> 4 workers: longest lull {:?}", lulls.watch(&system, step).await);
    assert_eq!(holders(&system).await, 4);
    // One leaves in good order, one does not.
    others.pop().unwrap().terminate(Duration::from_secs(10)).await.unwrap();
    others.pop().unwrap().kill().unwrap();
    println!("4 -> 2 workers: longest lull {:?}", lulls.watch(&system, step).await);
    let outcome = client.await.unwrap();
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(holders(&system).await, 2);
    println!("{}", books.total);
    drop(others);
    system.stop().await.unwrap();
}

/// Processes that hold the lock of a partition.
async fn holders(system: &System) -> i64 {
    let sql = "SELECT count(DISTINCT w.worker) FROM workers w, unnest(w.pids) AS pid \
               JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory'";
    let name = system.database_url.rsplit('/').next().unwrap();
    let client = system.postgres.connect(name).await.unwrap();
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_is_freed_by_the_others_and_finds_its_place_again() {
    let system = System::start(Setup::default()).await.unwrap();
    let (mut other, _) = system.another_worker().unwrap();
    let mut simulation = run::varied(66_000, 52);
    simulation.manner.rate = Some(700.0);
    simulation.manner.batch = 100;
    let world = simulation.plot.world.clone();
    abctl::simulate::create_experiments(&world, &system.analyzer_url(), Some(e2e::ADMIN_TOKEN))
        .await
        .unwrap();
    let client = load(&system, &simulation);
    let mut lulls = Lulls::new();
    println!("two workers: longest lull {:?}", lulls.watch(&system, Duration::from_secs(3)).await);
    // At whatever it does: reading, in COPY, between statements.
    for _ in 0..2 {
        other.pause().unwrap();
        println!("one stopped: longest lull {:?}", lulls.watch(&system, Duration::from_secs(6)).await);
        assert_eq!(holders(&system).await, 1, "the stopped worker holds nothing any more");
        other.resume().unwrap();
        println!("it goes on: longest lull {:?}", lulls.watch(&system, Duration::from_secs(4)).await);
    }
    let outcome = client.await.unwrap();
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found, Vec::<String>::new());
    println!("{}", books.total);
    drop(other);
    system.stop().await.unwrap();
}
