//! Every tier is replaced under load, as Kubernetes rolls the Deployments of k8s/base: a new pod first (`maxSurge` 1,
//! `maxUnavailable` 0); when it is ready, an old one is deleted: it leaves the endpoints at some moment of its `preStop`
//! sleep, then SIGTERM comes, and whoever has not ended when the grace period is over is killed.

use abctl::client::{Client, HttpError};
use abctl::simulate::Outcome;
use abctl::simulate::lane::{Batch, Lane};
use abctl::simulate::oracle::Oracle;
use abctl::simulate::rng::Rng;
use abctl::simulate::send::{Answers, Attempt, attempt};
use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, Setup, System, Tier, run};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

const GATEWAY: &str = include_str!("../../../../k8s/base/gateway.yaml");
const WORKER: &str = include_str!("../../../../k8s/base/worker.yaml");
const ANALYZER: &str = include_str!("../../../../k8s/base/analyzer.yaml");
const REPLICAS: usize = 2;
/// Events of a request, and of a lane each second.
const BATCH: u32 = 20;
const RATE: u64 = 300;
const PAUSE: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(120);

/// What a manifest says of a pod's end.
#[derive(Clone, Copy)]
struct End {
    pre_stop: Duration,
    grace: Duration,
}

impl End {
    fn of(manifest: &str) -> End {
        let after = |mark: &str| {
            let rest = manifest.split_once(mark)?.1;
            let number = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            number.parse().ok().map(Duration::from_secs)
        };
        let pre_stop = after("preStop:\n              sleep: {seconds: ").unwrap_or_default();
        End { pre_stop, grace: after("terminationGracePeriodSeconds: ").unwrap() }
    }
}

/// A Service: each connection goes to the next of its endpoints, and stays there whatever becomes of the list.
#[derive(Clone)]
struct Service {
    addr: SocketAddr,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Service {
    async fn start() -> Service {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let service = Service { addr: listener.local_addr().unwrap(), endpoints: Arc::default() };
        let endpoints = service.endpoints.clone();
        tokio::spawn(async move {
            for turn in 0.. {
                let (mut client, _) = listener.accept().await.unwrap();
                let chosen = {
                    let endpoints = endpoints.lock().unwrap();
                    endpoints[turn % endpoints.len()]
                };
                tokio::spawn(async move {
                    // A pod that is gone closes the client's connection.
                    if let Ok(mut pod) = TcpStream::connect(chosen).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
                    }
                });
            }
        });
        service
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// The pods of a tier.
struct Fleet<'s> {
    system: &'s System,
    program: &'static str,
    end: End,
    /// A worker has none.
    service: Option<Service>,
    pods: Vec<Tier>,
    rng: Rng,
}

impl<'s> Fleet<'s> {
    async fn start(system: &'s System, program: &'static str, manifest: &str, serves: bool) -> Fleet<'s> {
        let service = if serves { Some(Service::start().await) } else { None };
        let rng = Rng::new(71, program.len() as u64);
        let mut fleet = Fleet { system, program, end: End::of(manifest), service, pods: Vec::new(), rng };
        for _ in 0..REPLICAS {
            fleet.add().await;
        }
        fleet
    }

    async fn add(&mut self) {
        let mut pod = self.system.another(self.program).unwrap();
        pod.ready().await.unwrap();
        if let Some(service) = &self.service {
            service.endpoints.lock().unwrap().push(pod.addr);
        }
        self.pods.push(pod);
    }

    async fn roll(mut self) -> Self {
        for _ in 0..REPLICAS {
            self.add().await;
            self.delete().await;
        }
        self
    }

    async fn delete(&mut self) {
        let mut pod = self.pods.remove(0);
        if let Some(service) = &self.service {
            let millis = u64::try_from(self.end.pre_stop.as_millis()).unwrap();
            let known = Duration::from_millis(self.rng.below(millis));
            sleep(known).await;
            service.endpoints.lock().unwrap().retain(|addr| *addr != pod.addr);
            sleep(self.end.pre_stop - known).await;
        }
        let ended = pod.process.terminate(self.end.grace - self.end.pre_stop).await.unwrap();
        assert!(ended.success(), "{} ended with {ended}: {}", self.program, pod.process.stderr());
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    statuses: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Requests without an answer: sent on a kept connection just as its pod closed it.
    broken: Mutex<u64>,
}

impl Seen {
    fn status(&self, of: &'static str, status: u16) {
        *self.statuses.lock().unwrap().entry((of, status)).or_default() += 1;
    }

    fn broken(&self) {
        *self.broken.lock().unwrap() += 1;
    }

    /// Answers of each kind that shows that there is load.
    fn load(&self) -> [u64; 3] {
        let statuses = self.statuses.lock().unwrap();
        [("ingest", 200), ("ingest", 202), ("results", 200)].map(|kind| *statuses.get(&kind).unwrap_or(&0))
    }

    /// Waits for more of each.
    async fn more(&self) {
        let before = self.load();
        crate::support::eventually("requests are answered", LIMIT, async || {
            self.load().iter().zip(before).all(|(now, before)| *now > before + 20)
        })
        .await;
    }
}

/// Sends until told to stop; every batch until it is acknowledged. `fresh`: on a new connection each time.
async fn produce(
    mut lane: Lane,
    url: String,
    wait: Option<u32>,
    fresh: bool,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
) -> (Answers, Oracle) {
    let connect = || Client::new(&url, Some(API_TOKEN)).unwrap();
    let (mut client, mut answers, begun) = (connect(), Answers::default(), Instant::now());
    let mut send = async |batch: &Batch| loop {
        if fresh {
            client = connect();
        }
        match attempt(batch, &mut client, wait).await.unwrap() {
            Attempt::Acknowledged(answer) => {
                seen.status("ingest", if answer.applied > 0 { 200 } else { 202 });
                return answer;
            }
            Attempt::Unknown { status: Some(status), .. } => seen.status("ingest", status),
            Attempt::Unknown { status: None, .. } => seen.broken(),
        }
        sleep(PAUSE).await;
    };
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep_until(begun + Duration::from_millis(answers.received * 1000 / RATE)).await;
        let batch = lane.next(BATCH).unwrap();
        answers.add(send(&batch).await);
        if batch.resend {
            answers.add(send(&batch).await);
            lane.resent(&batch);
        }
    }
    (answers, lane.finish())
}

/// Asks for results until told to stop.
async fn read(url: String, path: String, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    let mut client = Client::new(&url, Some(ADMIN_TOKEN)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        match client.get(&path).await {
            Ok(answer) => seen.status("results", answer.status),
            Err(HttpError::Connection(..) | HttpError::Unreachable(..)) => seen.broken(),
            Err(error) => panic!("{error}"),
        }
        sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tier_is_replaced_under_load_and_clients_see_nothing_but_2xx_and_503() {
    let system = System::start(Setup { worker: false, ..Setup::default() }).await.unwrap();
    let simulation = run::varied(0, 71);
    let world = simulation.plot.world.clone();
    abctl::simulate::create_experiments(&world, &system.analyzer_url(), Some(ADMIN_TOKEN)).await.unwrap();
    let (gateways, workers, analyzers) = tokio::join!(
        Fleet::start(&system, "ingest-gateway", GATEWAY, true),
        Fleet::start(&system, "ingest-worker", WORKER, false),
        Fleet::start(&system, "analyzer", ANALYZER, true),
    );
    let (ingest, results) =
        (gateways.service.as_ref().unwrap().url(), analyzers.service.as_ref().unwrap().url());
    let (seen, stop) = (Arc::<Seen>::default(), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = [(None, false), (None, true), (Some(10), false)]
        .into_iter()
        .zip(0..)
        .map(|((wait, fresh), number)| {
            let lane = Lane::new(&simulation.plot, number, 10_000_000);
            tokio::spawn(produce(lane, ingest.clone(), wait, fresh, seen.clone(), stop.clone()))
        })
        .collect();
    let path = format!("/api/v1/experiments/{}/live-stats", world.experiments[0].key);
    let reader = tokio::spawn(read(results, path, seen.clone(), stop.clone()));

    seen.more().await;
    // One `kubectl apply` rolls all three at once.
    let begun = Instant::now();
    let fleets = tokio::join!(gateways.roll(), workers.roll(), analyzers.roll());
    let elapsed = begun.elapsed();
    seen.more().await;

    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let (mut answers, mut oracle) = (Answers::default(), Oracle::new(&world.experiments, true));
    for producer in producers {
        let (sent, truth) = producer.await.unwrap();
        answers.add(sent);
        oracle.merge(truth);
    }
    let statuses = seen.statuses.lock().unwrap().clone();
    println!("rolled in {elapsed:?}; answers {statuses:?}, {} broken", seen.broken.lock().unwrap());
    for (of, status) in statuses.keys() {
        assert!(matches!(status, 200 | 202 | 503), "{of} answered {status}");
    }
    let outcome = Outcome { answers, oracle, elapsed };
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    let wrong = run::wrong_answers(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    println!("{}", books.total);
    drop(fleets);
    system.stop().await.unwrap();
}
