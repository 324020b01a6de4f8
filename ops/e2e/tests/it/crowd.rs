//! Connections that say nothing, or next to nothing, keep nobody from being served.

use e2e::crowd::{self, holder::Held};

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_idle_and_slow_connections_keeps_nobody_out() {
    let outcome = crowd::run(Held { idle: 500, dripping: 100 }).await.unwrap();
    println!("{outcome}");
    outcome.check().unwrap();
    assert!(outcome.connections >= 500, "{outcome}");
}
