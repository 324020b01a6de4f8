//! Three workers apply the same partition at the same time, with nothing that keeps them apart but the
//! compare-and-set of the position, over connections that break.

use abctl::simulate::rng::Rng;
use e2e::run::{self};
use e2e::{Setup, System};
use ingest_worker::Ownership;
use service::boot::{Boot, Listeners};
use service::settings::{Settings, Tier};
use std::time::Duration;
use testkit::http::Client;
use testkit::{Direction, FaultProxy};

const EVENTS: u64 = 40_000;
const FAULTS: u32 = 60;
const READY: Duration = Duration::from_secs(60);

struct Worker {
    boot: Boot,
    running: tokio::task::JoinHandle<()>,
    database: FaultProxy,
    redis: FaultProxy,
}

impl Worker {
    async fn start(system: &System) -> Worker {
        let database = FaultProxy::start(system.postgres.addr()).await.unwrap();
        let redis = FaultProxy::start(system.redis.addr()).await.unwrap();
        let redis_url = system.redis.url_at(redis.addr());
        let settings = [
            ("AB_DATABASE_URL", system.postgres.url_at(database.addr(), &system.database)),
            ("AB_REDIS_URL", redis_url),
            ("AB_PARTITIONS", system.setup.partitions.to_string()),
            // Small transactions: many moments at which the position moves.
            ("AB_APPLY_MAX_EVENTS", "300".into()),
        ];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let boot = Boot::embedded(Settings::for_testing(Tier::Worker, &settings).unwrap()).unwrap();
        let (listeners, its) = (Listeners::loopback().await.unwrap(), boot.clone());
        let client = Client::at(listeners.public_addr().unwrap());
        let running = tokio::spawn(async move {
            ingest_worker::serve(its, listeners, Ownership::None).await.unwrap();
        });
        // What breaks while it starts is another matter.
        let ready = async || client.get("/readyz").await.is_ok_and(|answer| answer.status == 200);
        testkit::eventually("the worker is ready", READY, ready).await.unwrap();
        Worker { boot, running, database, redis }
    }

    /// Sum of the metrics whose labels contain this.
    fn metric(&self, label: &str) -> f64 {
        let text = self.boot.metrics.render().unwrap();
        let lines = text.lines().filter(|line| line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Something a network does.
    async fn disturb(&self, rng: &mut Rng) {
        let proxy = if rng.chance(0.7) { &self.database } else { &self.redis };
        let direction = if rng.chance(0.5) { Direction::ToServer } else { Direction::ToClient };
        match rng.below(4) {
            0 => proxy.cut(),
            // In the middle of whatever comes next: a statement, a COMMIT, its answer.
            1 | 2 => proxy.cut_after(direction, rng.below(30_000)),
            _ => {
                // Done or not done, nobody is told.
                proxy.swallow(Direction::ToClient);
                tokio::time::sleep(Duration::from_millis(rng.below(50))).await;
                proxy.cut();
                proxy.heal();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_lock_nothing_is_lost_doubled_or_out_of_order() {
    let system = System::start(Setup { partitions: 1, worker: false, ..Setup::default() }).await.unwrap();
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Worker::start(&system).await);
    }
    let mut simulation = run::varied(EVENTS, 41);
    simulation.manner.rate = Some(1_000.0);
    simulation.manner.batch = 40;
    let sending = async { run::send(&system, &simulation, run::silent()).await.unwrap() };
    let mut rng = Rng::new(41, 1);
    let mut faults = 0;
    let disturbing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rng.below(150))).await;
            let which = usize::try_from(rng.below(3)).unwrap();
            workers[which].disturb(&mut rng).await;
            faults += 1;
        }
    };
    let outcome = tokio::select! {
        outcome = sending => outcome,
        () = disturbing => unreachable!(),
    };
    assert!(faults >= FAULTS, "{faults} faults");
    // It may have ended between a swallow and its cut: what lacks replies is of no use any more.
    for proxy in workers.iter().flat_map(|worker| [&worker.database, &worker.redis]) {
        proxy.cut();
        proxy.heal();
    }
    // The first exposure sent sticks, conflicts are judged against the first: both are lost if order is.
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    let wrong = run::wrong_answers(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    // They did get in each other's way, and connections did break under them.
    let moved = workers.iter().map(|w| w.metric("cause=\"moved\"")).sum::<f64>();
    let broken = workers.iter().map(|w| w.metric("cause=\"")).sum::<f64>() - moved;
    println!("{faults} faults, {moved} positions moved by another, {broken} broken; {}", books.total);
    // Half of what a machine that does much else shows.
    assert!(workers.iter().all(|w| w.metric("fate=\"recorded\"") > 0.0) && moved > 10.0 && broken > 10.0);
    for worker in workers {
        worker.boot.shutdown.begin();
        worker.running.await.unwrap();
    }
    system.stop().await.unwrap();
}
