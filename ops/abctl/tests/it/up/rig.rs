//! A running `abctl up`, and clients that note what was acknowledged to them.

use abctl::verify::{RawRows, read_all};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Location, Store, StoreError};
use testkit::http::Client;
use testkit::{Process, ProcessBuilder};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub const LIMIT: Duration = Duration::from_secs(60);
const EXPERIMENT: &str = "load";
/// Of a start that takes more than two seconds, and of a readiness check that does.
const SLOW: [&str; 2] = ["the start takes long", "no answer within 2 s"];

pub struct Up {
    pub process: Process,
    pub addr: SocketAddr,
    pub data: PathBuf,
}

/// With free ports, not yet started.
pub fn command(data: &Path) -> (ProcessBuilder, SocketAddr) {
    let addr: SocketAddr = ([127, 0, 0, 1], testkit::free_port().unwrap()).into();
    let command = configured(Process::of("abctl").unwrap().arg("up"), data, addr);
    // A disk that stands still for seconds is no reason to leave a sender in doubt.
    (command.env("AB_SLA_TIMEOUTS", "ingest=25s;live-stats=25s"), addr)
}

pub fn configured(command: ProcessBuilder, data: &Path, addr: SocketAddr) -> ProcessBuilder {
    command
        .env("AB_DATA", data)
        .env("AB_PORT", addr.port().to_string())
        .env("AB_INTERNAL_ADDR", "127.0.0.1:0")
        .env("AB_LOG_LEVEL", "warn")
}

impl Up {
    pub async fn start(data: &Path) -> Up {
        let (command, addr) = command(data);
        Up::of(command, addr, data).await
    }

    pub async fn of(command: ProcessBuilder, addr: SocketAddr, data: &Path) -> Up {
        let mut process = command.spawn().unwrap();
        process.wait_ready(addr, "/readyz", LIMIT).await.unwrap();
        Up { process, addr, data: data.to_owned() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The two keys: everything, and events only.
    pub fn keys(&self) -> (String, String) {
        let text = std::fs::read_to_string(self.data.join("keys")).unwrap();
        let mut keys = text.lines().filter_map(|line| Some(line.split_once(":default:")?.0.to_owned()));
        (keys.next().unwrap(), keys.next().unwrap())
    }

    pub fn admin(&self) -> Client {
        Client::at(self.addr).bearer(&self.keys().0)
    }

    pub fn sender(&self) -> Client {
        Client::at(self.addr).bearer(&self.keys().1)
    }

    /// Ends as asked to, without a word of complaint.
    pub async fn end(mut self) {
        let status = self.process.terminate(LIMIT).await.unwrap();
        assert_eq!((status.code(), complaints(&self.process)), (Some(0), String::new()));
    }

    /// The same, whatever it has said meanwhile.
    pub async fn stop(mut self) {
        let status = self.process.terminate(LIMIT).await.unwrap();
        assert!(status.success(), "{}", self.process.stderr());
    }

    pub async fn create(&self) {
        let admin = self.admin();
        let created = admin.post_json("/api/v1/experiments", &definition(EXPERIMENT)).await.unwrap();
        assert!(matches!(created.status, 200 | 201), "{}", created.text());
        let started = admin.post("/api/v1/experiments/load/start", &[], "").await.unwrap();
        assert_eq!(started.status, 200, "{}", started.text());
    }
}

/// What it has said on standard error, but that it was slow, as a machine is that does much else.
pub fn complaints(process: &Process) -> String {
    let is_slow = |line: &&str| SLOW.iter().any(|said| line.contains(said));
    process.stderr().split_inclusive('\n').filter(|line| !is_slow(line)).collect()
}

pub fn definition(key: &str) -> serde_json::Value {
    json!({
        "key": key, "variations": [{"key": "a"}, {"key": "b"}],
        "metrics": [{"key": "purchase", "type": "proportion"}],
    })
}

/// An exposure and a keyed conversion of one user.
pub fn visit(user: &str) -> serde_json::Value {
    json!({"events": [
        {"type": "exposure", "experiment": EXPERIMENT, "user_id": user, "variation_index": user.len() % 2},
        {"type": "conversion", "user_id": user, "metric": "purchase", "idempotency_key": format!("order-{user}")},
    ]})
}

/// Clients that send one visit after the other, each of another user.
pub struct Load {
    running: JoinSet<()>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Load {
    /// `name` begins the users' names. A client ends when its connection does.
    pub fn start(up: &Up, name: &str) -> Load {
        let (acknowledged, stop) = (Arc::<Mutex<Vec<String>>>::default(), CancellationToken::new());
        let mut running = JoinSet::new();
        for lane in 0..8 {
            let (client, acknowledged, stop) = (up.sender(), Arc::clone(&acknowledged), stop.clone());
            let name = name.to_owned();
            running.spawn(async move {
                for number in 0.. {
                    let user = format!("{name}-{lane}-{number}");
                    let Ok(answer) = client.post_json("/api/v1/events", &visit(&user)).await else { return };
                    match answer.status {
                        200 => acknowledged.lock().unwrap().push(user),
                        503 => assert!(answer.header("retry-after").is_some(), "{}", answer.text()),
                        _ => panic!("{}", answer.text()),
                    }
                    if stop.is_cancelled() {
                        return;
                    }
                }
            });
        }
        Load { running, acknowledged, stop }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub async fn reaches(&self, count: usize) {
        let reached = || async { self.acknowledged() >= count };
        testkit::eventually("requests are acknowledged", LIMIT, reached).await.unwrap();
    }

    /// The users whose visits were acknowledged, once no client has a request open.
    pub async fn end(mut self) -> Vec<String> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// What the database holds, read as tools read it.
pub struct Recorded {
    /// Conversions by user.
    pub users: BTreeMap<String, usize>,
}

impl Recorded {
    pub async fn read(data: &Path) -> Recorded {
        let store = store::connect(&Location::Sqlite { file: data.join("abstream.db") }).await.unwrap();
        let mut users = BTreeMap::new();
        read_all(&*store as &dyn Store, 1, &mut async |_, rows: &RawRows| {
            assert!(rows.orphans.is_empty());
            for unit in &rows.units {
                assert_eq!(unit.unit.enrollments.len(), 1);
                users.insert(unit.user_id.clone(), rows.conversions_of(unit.id).count());
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
        Recorded { users }
    }

    /// Every acknowledged visit is there, once.
    pub fn has_all(&self, acknowledged: &[String]) {
        for user in acknowledged {
            assert_eq!(self.users.get(user), Some(&1), "{user} of {}", acknowledged.len());
        }
    }
}
