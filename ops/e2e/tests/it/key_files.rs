//! A file of keys that is changed under load: nobody is cut off, and nobody is let in by anything but a key of the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{Deployment, Setup, System};
use serde_json::json;
use testkit::http::Client;
use tokio::task::JoinHandle;

use crate::support::{eventually, two_arms};

const LIMIT: Duration = Duration::from_secs(60);
const REWRITES: u32 = 50;
const SENDERS: u32 = 4;

fn content(edition: &str) -> String {
    format!("# {edition}\nin-all-editions-key:default:events,ingest\n{edition}-key:default:events,read\n")
}

/// By another file's name, as Kubernetes and careful people do it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Status of one event, the same one each time; sent again while the queue is too slow for a busy machine, which says
/// nothing of keys.
async fn send(client: &Client, key: &str) -> u16 {
    let event = json!({"type": "conversion", "user_id": key, "metric": "m", "idempotency_key": key});
    let (body, deadline) = (json!({"events": [event]}), Instant::now() + LIMIT);
    loop {
        let answer = client.post_json("/api/v1/events", &body).await.unwrap();
        if answer.status != 503 {
            return answer.status;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
    }
}

async fn status(addr: std::net::SocketAddr, key: &str) -> u16 {
    send(&Client::at(addr).bearer(key), "probe").await
}

/// Sends until `ended`; how many requests, all of them accepted, all on one connection.
fn sender(system: &System, number: u32, ended: &Arc<AtomicBool>, sent: &Arc<AtomicU64>) -> JoinHandle<u64> {
    let (ended, sent) = (Arc::clone(ended), Arc::clone(sent));
    let client = Client::at(system.gateway_addr).bearer("in-all-editions-key");
    tokio::spawn(async move {
        let mut count = 0;
        while !ended.load(Ordering::SeqCst) {
            assert_eq!(send(&client, &format!("{number}-{count}")).await, 202);
            count += 1;
            sent.fetch_add(1, Ordering::SeqCst);
        }
        count
    })
}

async fn metric(system: &System, name: &str) -> f64 {
    let text = Client::at(system.internal[0]).get("/metrics").await.unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
}

#[allow(clippy::print_stdout)] // for whoever runs the test
#[tokio::test(flavor = "multi_thread")]
async fn keys_change_under_load_and_no_connection_or_request_is_lost() {
    let directory = testkit::temp_dir("keys").unwrap();
    let path: PathBuf = directory.join("api-keys");
    std::fs::write(&path, content("first")).unwrap();
    let environment = vec![("AB_API_KEYS_FILE", path.to_str().unwrap().to_owned())];
    let system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("checkout", &["m"])).await.unwrap();
    let gateway = system.gateway_addr;
    let in_force = async |new: &str, old: &str| {
        let (new, old) = (format!("{new}-key"), format!("{old}-key"));
        eventually("the new file is in force", LIMIT, async || status(gateway, &new).await == 202).await;
        // Not 202: unknown, or unknown too often from this address.
        assert!(matches!(status(gateway, &old).await, 401 | 429), "the old key is refused");
    };
    assert_eq!(status(gateway, "first-key").await, 202);

    let (ended, sent) = (Arc::default(), Arc::default());
    let senders: Vec<_> = (0..SENDERS).map(|number| sender(&system, number, &ended, &sent)).collect();
    replace(&path, &content("second"));
    in_force("second", "first").await;

    // Half of a file, left like that: as wrong as any other mistake.
    let text = content("third");
    let half = text.len() - "ents,read\n".len();
    std::fs::write(&path, &text[..half]).unwrap();
    let refused = "abstream_keys_files_refused";
    eventually("half a file is refused", LIMIT, async || metric(&system, refused).await > 0.0).await;
    assert_eq!(status(gateway, "second-key").await, 202, "the keys there were");
    assert!(status(gateway, "third-key").await != 202);
    std::fs::write(&path, &text).unwrap();
    in_force("third", "second").await;
    // Told behind the new keys.
    eventually("no file is refused", LIMIT, async || metric(&system, refused).await < 1.0).await;

    // As fast as requests come, each way in turn. Whatever is found meanwhile has the key that all of them have.
    for number in 0..REWRITES {
        let before = sent.load(Ordering::SeqCst);
        let text = content(&format!("edition-{number}"));
        match number % 2 {
            0 => replace(&path, &text),
            _ => std::fs::write(&path, &text).unwrap(),
        }
        let more = async || sent.load(Ordering::SeqCst) > before;
        eventually("requests go on", LIMIT, more).await;
    }
    replace(&path, &content("last"));
    in_force("last", "third").await;
    ended.store(true, Ordering::SeqCst);
    let mut total = 0;
    for sender in senders {
        total += sender.await.unwrap();
    }
    println!("{total} requests while the file was written {} times", REWRITES + 4);

    let books = e2e::run::settled(&system).await.unwrap().total;
    assert_eq!(books.recorded, i64::try_from(total).unwrap() + 1, "{books}");
    let log = system.gateway.stderr();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("keys file refused")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("entry 2"), "{told:?}");
    assert!(!log.contains("-key:") && !log.contains("third-key") && !log.contains("in-all"), "{log}");
    system.stop().await.unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
