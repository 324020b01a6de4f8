//! The three clients, driven alike.

use abstream_client::{Answer, Client, Event, Failure, Http, Options, Reason, Transport};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::Process;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    Rust,
}

/// What a client is to do; made with an interval so long that only full batches, and the end, send anything.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    pub url: String,
    pub key: String,
    pub queue_size: usize,
    pub batch_size: usize,
    /// Between two attempts it waits until all calls are made.
    pub hold: bool,
    /// The page is hidden when all calls are made.
    pub page: bool,
    pub close_ms: u64,
    /// `exposure`, experiment, user, variation; or `conversion`, user, metric, value.
    pub calls: Vec<[String; 4]>,
}

impl Plan {
    pub fn new(addr: SocketAddr, key: &str, batch_size: usize, calls: Vec<[String; 4]>) -> Plan {
        let (url, key) = (format!("http://{addr}"), key.to_owned());
        Plan { url, key, queue_size: 1_000, batch_size, hold: false, page: false, close_ms: 60_000, calls }
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Report {
    pub accepted: usize,
    pub refused: usize,
    /// Seconds asked for between attempts; not waited for.
    pub pauses: Vec<f64>,
    /// Reason and number of events.
    pub given_up: Vec<(String, usize)>,
    /// Nothing was left when it was closed.
    pub closed: bool,
    /// Status of each, of a page.
    #[serde(default)]
    pub beacons: Vec<u16>,
}

impl Language {
    pub async fn run(self, plan: &Plan) -> Report {
        match self {
            Language::Python => script("python3", "python/abstream.py", "drive.py", plan).await,
            Language::JavaScript => script("node", "js/abstream.js", "drive.mjs", plan).await,
            Language::Rust => rust(plan).await,
        }
    }
}

async fn script(program: &str, client: &str, driver: &str, plan: &Plan) -> Report {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = testkit::temp_dir("plan").unwrap();
    let file: PathBuf = directory.join("plan.json");
    std::fs::write(&file, serde_json::to_vec(plan).unwrap()).unwrap();
    let process = Process::at(driver, program)
        .arg(here.join("tests/it/clients").join(driver))
        .arg(here.join("../clients").join(client).canonicalize().unwrap())
        .arg(&file)
        .spawn();
    let mut process = process.unwrap_or_else(|error| panic!("{error:#}: `make setup` installs {program}"));
    let status = process.wait(Duration::from_secs(120)).await.unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert!(status.success(), "{driver}: {}", process.stderr());
    serde_json::from_str(&process.stdout()).unwrap()
}

struct Probe {
    http: Http,
    pauses: Arc<Mutex<Vec<f64>>>,
    /// Pauses last until it is cancelled.
    called: CancellationToken,
}

impl Transport for Probe {
    async fn post(&self, body: Vec<u8>) -> Result<Answer, Failure> {
        self.http.post(body).await
    }

    async fn pause(&self, time: Duration) {
        self.pauses.lock().unwrap().push(time.as_secs_f64());
        self.called.cancelled().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn rust(plan: &Plan) -> Report {
    let (pauses, given_up) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let called = CancellationToken::new();
    if !plan.hold {
        called.cancel();
    }
    let http = Http::new(&plan.url, &plan.key).unwrap();
    let probe = Probe { http, pauses: Arc::clone(&pauses), called: called.clone() };
    let told = Arc::clone(&given_up);
    let on_error = move |reason: Reason, events: &[Event]| {
        let reason = match reason {
            Reason::Status(status) => status.to_string(),
            Reason::Rejected(code) => code,
            Reason::Closed => "closed".into(),
        };
        told.lock().unwrap().push((reason, events.len()));
    };
    let options = Options {
        queue_size: plan.queue_size,
        batch_size: plan.batch_size,
        interval: Duration::from_secs(3600),
        on_error: Box::new(on_error),
        ..Options::default()
    };
    let client = Client::new(probe, options);
    let mut report = Report::default();
    for [kind, first, second, third] in &plan.calls {
        let event = match kind.as_str() {
            "exposure" => Event::exposure(first, second, third),
            _ => Event { value: Some(third.clone()), ..Event::conversion(first, second) },
        };
        match client.send(event) {
            true => report.accepted += 1,
            false => report.refused += 1,
        }
    }
    called.cancel();
    report.closed = client.close(Duration::from_millis(plan.close_ms)).await;
    report.pauses = pauses.lock().unwrap().clone();
    report.given_up = given_up.lock().unwrap().clone();
    report
}
