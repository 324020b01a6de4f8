//! However it ends, what it acknowledged is there, once.

use super::rig::{LIMIT, Load, Recorded, Up, command};
use crate::deployment::abctl;
use std::path::Path;

/// Books closed, nothing lost, every digit recomputed.
fn is_in_order(data: &Path) {
    let env = [("AB_DATA", data.to_str().unwrap())];
    let books = abctl(&["accounting"], &env, None).ok();
    assert!(books.contains(" in_flight=0 lost=0"), "{books}");
    let verified = abctl(&["verify", "load"], &env, None).ok();
    assert!(verified.starts_with("verify load: equal"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_starts_again_with_all_it_acknowledged() {
    let data = testkit::temp_dir("up").unwrap();
    let mut acknowledged = Vec::new();
    for run in 0..5 {
        let mut up = Up::start(&data).await;
        up.create().await;
        let load = Load::start(&up, &format!("run{run}"));
        load.reaches(50 * (run + 1)).await;
        up.process.kill().unwrap();
        acknowledged.extend(load.end().await);
    }
    let up = Up::start(&data).await;
    Recorded::read(&data).await.has_all(&acknowledged);
    up.end().await;
    is_in_order(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_under_load_it_answers_what_it_took_and_ends_well() {
    let data = testkit::temp_dir("up").unwrap();
    let up = Up::start(&data).await;
    up.create().await;
    let load = Load::start(&up, "user");
    load.reaches(500).await;
    up.end().await;
    let acknowledged = load.end().await;
    let recorded = Recorded::read(&data).await;
    recorded.has_all(&acknowledged);
    // Requests that came too late were refused, not half done: what nobody was told of was not recorded either.
    assert_eq!(recorded.users.len(), acknowledged.len());
    is_in_order(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_while_it_waits_for_its_database_it_ends() {
    let data = testkit::temp_dir("up").unwrap();
    let nobody = format!("postgres://127.0.0.1:{}/x", testkit::free_port().unwrap());
    let (command, _) = command(&data);
    let mut process = command.env("AB_DATABASE_URL", nobody).env("AB_STARTUP_TIMEOUT", "1h").spawn().unwrap();
    let tries = || async { process.stderr().contains("the database is not ready") };
    testkit::eventually("it tries", LIMIT, tries).await.unwrap();
    let slow = || async { process.stderr().contains("the start takes long") };
    testkit::eventually("it says that it takes long", LIMIT, slow).await.unwrap();
    assert_eq!(process.terminate(LIMIT).await.unwrap().code(), Some(0));
}
