use crate::kit::{ENV, read_answer, request};
use service::boot::{Boot, Listeners};
use service::health::Health;
use service::http::NoRoutes;
use service::settings::{Settings, Tier};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct Tested {
    boot: Boot,
    public: SocketAddr,
    internal: SocketAddr,
    task: JoinHandle<()>,
}

async fn serve(health: impl FnOnce(Health) -> Health) -> Tested {
    let env = [ENV, &[("AB_ENV", "test")]].concat();
    let boot = Boot::embedded(Settings::for_testing(Tier::Gateway, &env).unwrap()).unwrap();
    let health = health(Health::new(&boot.settings));
    let listeners = Listeners::loopback().await.unwrap();
    let (public, internal) = (listeners.public_addr().unwrap(), listeners.internal_addr().unwrap());
    let serving = boot.clone();
    let task =
        tokio::spawn(async move { listeners.serve(&serving, Arc::new(NoRoutes), health).await.unwrap() });
    Tested { boot, public, internal, task }
}

async fn get(address: SocketAddr, path: &str) -> crate::kit::Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(&request("GET", path, &[], b"")).await.unwrap();
    read_answer(&mut connection).await
}

#[tokio::test]
async fn liveness_and_readiness_bodies() {
    let tested = serve(|health| health.check("queue", || async { Ok("backlog 3".to_owned()) })).await;
    for path in ["/health", "/livez"] {
        let live = get(tested.public, path).await.json();
        let version = env!("CARGO_PKG_VERSION");
        let expected = serde_json::json!({"status": "ok", "service": "ingest-gateway", "version": version, "environment": "test"});
        assert_eq!(live, expected);
    }
    for (address, path) in
        [(tested.public, "/readyz"), (tested.public, "/ready"), (tested.internal, "/readyz")]
    {
        let ready = get(address, path).await;
        let expected = serde_json::json!({"status": "ready", "checks": [{"name": "queue", "ok": true, "detail": "backlog 3"}]});
        assert_eq!((ready.status, ready.json()), (200, expected));
    }
    tested.boot.shutdown.begin();
    tested.task.await.unwrap();
}

#[tokio::test]
async fn one_failed_check_makes_it_degraded_and_probes_share_a_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let tested = serve(move |health| {
        health.reuse_for(Duration::from_secs(3_600)).check("clock", || async { Ok("fine".into()) }).check(
            "store",
            move || {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Err("no connection".to_owned()) }
            },
        )
    })
    .await;
    let probes = (0..20).map(|_| tokio::spawn(get(tested.public, "/readyz"))).collect::<Vec<_>>();
    for probe in probes {
        let answer = probe.await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, &body["status"]), (503, &"degraded".into()));
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(
            body["checks"][1],
            serde_json::json!({"name": "store", "ok": false, "detail": "no connection"})
        );
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(get(tested.public, "/health").await.status, 200, "liveness touches no dependency");
    tested.boot.shutdown.begin();
    tested.task.await.unwrap();
}

#[tokio::test]
async fn stuck_worker_is_not_alive() {
    let stuck = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stuck);
    let tested = serve(move |health| {
        health.alive_when(move || match flag.load(Ordering::SeqCst) {
            true => Err("no progress for 60 s".into()),
            false => Ok(()),
        })
    })
    .await;
    assert_eq!(get(tested.public, "/livez").await.status, 200);
    stuck.store(true, Ordering::SeqCst);
    let answer = get(tested.public, "/livez").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    tested.boot.shutdown.begin();
    tested.task.await.unwrap();
}

#[tokio::test]
async fn metrics_are_on_the_internal_port_only() {
    let tested = serve(|health| health).await;
    get(tested.public, "/metrics").await.is_problem(404, "not_found");
    let metrics = get(tested.internal, "/metrics").await;
    assert_eq!((metrics.status, metrics.header("content-type")), (200, "text/plain; version=0.0.4"));
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains(r#"abstream_http_requests_total{route="unmatched",status="404"} 1"#), "{text}");
    tested.boot.shutdown.begin();
    tested.task.await.unwrap();
}
