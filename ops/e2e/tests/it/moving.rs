//! A deployment outgrows its one process: it moves to PostgreSQL, and three tiers go on where it stopped.

use crate::support::{assert_verified, eventually, two_arms};
use domain::{Day, Moments};
use e2e::run::{self, silent};
use e2e::{API_TOKEN, Deployment, OneProcess, Setup, System};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use store::{Location, Store};
use testkit::Process;

/// Gateways hear of what was moved when the catalogue is reconciled: every 30 s, and later where somebody writes it.
const LIMIT: Duration = Duration::from_secs(120);

/// Exit code, standard output and standard error.
async fn migrate_store(from: &Path, to: &str) -> (i32, String, String) {
    let process = Process::of("abctl").unwrap().arg("migrate-store").arg("--from").arg(from);
    let mut process = process.env("AB_DATABASE_URL", to).spawn().unwrap();
    let status = process.wait(LIMIT).await.unwrap();
    (status.code().unwrap(), process.stdout(), process.stderr())
}

/// What every experiment answers as of every day that it has rows of, and now.
async fn answers(store: &dyn Store) -> BTreeMap<(String, Option<Day>, i16), Moments> {
    let mut answers = BTreeMap::new();
    for experiment in store.all_experiments().await.unwrap() {
        let rows = store.moments_rows(experiment.id, experiment.plan_version).await.unwrap();
        let days: BTreeSet<Day> = rows.iter().map(|r| r.day).collect();
        for as_of in days.into_iter().map(Some).chain([None]) {
            for row in store.answer(&experiment, as_of).await.unwrap() {
                let key = (experiment.key.clone(), as_of, row.key.variation);
                answers.entry(key).or_insert_with(Moments::default).add(&row.moments).unwrap();
            }
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn three_tiers_go_on_where_one_process_stopped() {
    let one = OneProcess::start(&Setup::default()).await.unwrap();
    let simulation = run::varied(20_000, 61);
    let outcome = run::send(&one, &simulation, silent()).await.unwrap();
    one.experiment(two_arms("deleted", &["purchase"])).await.unwrap();
    let delete = one.admin().request("DELETE", "/api/v1/experiments/deleted", &[], "").await.unwrap();
    assert!(matches!(delete.status, 200 | 204), "{}", delete.text());
    let system = System::start(Setup::default()).await.unwrap();

    // Not while it runs, not what is none, and not into one that is used.
    let (code, _, error) = migrate_store(one.data(), &system.database_url).await;
    assert!(code == 2 && error.contains("is in use by process"), "{code} {error}");
    let (code, _, error) = migrate_store(Path::new("/nowhere"), &system.database_url).await;
    assert!(code == 2 && error.contains("--from"), "{code} {error}");
    let (books, data) = (one.books().await.unwrap(), one.data().to_owned());
    one.stop().await.unwrap();
    let (code, out, error) = migrate_store(&data, &system.database_url).await;
    assert!(code == 0 && out.starts_with("migrate-store: moved (experiments=4, "), "{code} {out} {error}");
    let (code, _, error) = migrate_store(&data, &system.database_url).await;
    assert!(code == 1 && error.contains("in use"), "{code} {error}");

    // The same answers, as of every day, and the same books.
    let source =
        store::connect(&Location::Sqlite { file: data.join(backends::DATABASE_FILE) }).await.unwrap();
    let (before, after) = (answers(&*source).await, answers(system.store()).await);
    assert!(before.len() > 8);
    assert_eq!(before, after);
    for key in simulation.plot.world.experiments.iter().map(|e| e.key.as_str()) {
        assert_verified(&system, &[key]).await;
        let (a, b) = (
            source.experiment("default", key).await.unwrap(),
            system.store.experiment("default", key).await.unwrap(),
        );
        assert_eq!(a, b);
    }
    assert_eq!(
        source.counters("default", None, None).await.unwrap(),
        system.store.counters("default", None, None).await.unwrap()
    );
    assert_eq!(system.books().await.unwrap().total, books.total);
    assert!(books.are_good());

    // The same events again are known, every one; what is new counts; a key stays used.
    let probe = simulation.plot.world.experiments[0].key.clone();
    let client = system.ingest();
    eventually("gateways know the experiments", LIMIT, async || {
        let body = r#"{"exposures": [{"user_id": "probe", "variation_index": 0}]}"#;
        let path = format!("/api/v1/experiments/{probe}/exposures?partial=true");
        client.post(&path, &[("content-type", "application/json")], body).await.unwrap().status == 202
    })
    .await;
    let known = run::settled(&system).await.unwrap().total;
    assert_eq!(known.recorded, books.total.recorded + 1, "{known} after {}", books.total);
    let again = simulation.run(&system.gateway_url(), Some(API_TOKEN), &silent()).await.unwrap();
    let total = run::settled(&system).await.unwrap().total;
    assert_eq!(total.recorded, known.recorded);
    assert_eq!(total.received, known.received + i64::try_from(again.answers.received).unwrap());
    let created =
        system.admin().post_json("/api/v1/experiments", &two_arms("deleted", &["purchase"])).await.unwrap();
    assert_eq!(created.status, 409, "{}", created.text());
    let created = system.experiment(two_arms("later", &["purchase"])).await.unwrap();
    assert!(
        created["id"].as_i64().or_else(|| created["id"].as_str()?.parse().ok()).unwrap() > 5,
        "{created}"
    );
    for key in simulation.plot.world.experiments.iter().map(|e| e.key.as_str()) {
        assert_verified(&system, &[key]).await;
    }
    assert_eq!(outcome.answers.received, u64::try_from(books.total.received).unwrap());
    system.stop().await.unwrap();
}
