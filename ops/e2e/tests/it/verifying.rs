//! `verify` while events come in and are applied: equal every time; and one altered row is named.

use crate::support::assert_verified;
use abctl::verify::verify;
use e2e::run::{self, silent};
use e2e::{Deployment, Load, Setup, System};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const EVENTS: u64 = 100_000;
const OVERTAKEN: u32 = 3;
const LIMIT: Duration = Duration::from_secs(300);

async fn recorded(system: &System) -> i64 {
    system.store().accounting().await.unwrap().partitions.iter().map(|partition| partition.recorded).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_every_verification_is_equal_and_an_altered_row_is_named() {
    // Several slices of users in each partition, and small transactions between them.
    let environment = vec![("AB_APPLY_MAX_EVENTS", "200".to_owned())];
    let system = System::start(Setup { partitions: 2, environment, ..Setup::default() }).await.unwrap();
    // However long a verification takes, there is more to apply.
    let load = Load::start(&system, 8).await.unwrap();
    let mut simulation = run::varied(EVENTS, 7);
    simulation.manner.rate = Some(8_000.0);
    let keys: Vec<String> = simulation.plot.world.experiments.iter().map(|e| e.key.clone()).collect();
    let sent = AtomicBool::new(false);
    let sending = async {
        let outcome = run::send(&system, &simulation, silent()).await.unwrap();
        sent.store(true, Ordering::Relaxed);
        outcome
    };
    let verifying = async {
        let (mut verified, mut overtaken) = (0, 0);
        for key in keys.iter().cycle() {
            let before = recorded(&system).await;
            let report = verify(system.store(), 2, "default", key).await.unwrap();
            assert!(report.differences.is_empty(), "{report:?}");
            let after = recorded(&system).await;
            verified += 1;
            overtaken += u32::from(after > before && report.units > 4_000);
            if overtaken >= OVERTAKEN && sent.load(Ordering::Relaxed) {
                break;
            }
        }
        (verified, overtaken)
    };
    let (outcome, verified) = tokio::join!(sending, tokio::time::timeout(LIMIT, verifying));
    assert!(outcome.answers.received >= EVENTS);
    let (verified, overtaken) = verified.expect("verifications while events are applied");
    println!(
        "verified {verified} times, {overtaken} of them while more than one slice was read and events applied"
    );
    load.finish().await.unwrap();

    // A worker that has more to apply writes its own sums over the altered ones.
    let books = run::settled(&system).await.unwrap();
    assert!(books.are_good(), "{}", books.total);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_verified(&system, &keys).await;
    let altered = "UPDATE moments m SET vector = other.vector FROM moments other \
        WHERE m.experiment = other.experiment AND m.partition = 1 AND other.partition = 1 AND m.stratum = '' AND other.stratum = '' \
        AND m.variation = 1 AND other.variation = 0 AND m.day = other.day AND m.experiment = 1";
    system.postgres.execute(&system.database, altered).await.unwrap();
    let first = system.store().experiment("default", "1").await.unwrap().unwrap();
    let report = verify(system.store(), 2, "default", &first.key).await.unwrap();
    let named = |at: &str| at.starts_with("partition 01 variation 1 stratum \"\" phase 0 day ");
    assert!(!report.differences.is_empty());
    assert!(report.differences.iter().all(|d| named(&d.at)), "{:?}", report.differences);
    system.stop().await.unwrap();
}
