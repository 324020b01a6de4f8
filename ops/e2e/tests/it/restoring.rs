//! PostgreSQL is restored from a dump or a base backup taken under load, older than much that was acknowledged since:
//! what the queue still keeps is applied again, what it does not is counted as lost.

use crate::support::eventually;
use e2e::{Deployment, Load, Setup, System, run};
use std::path::PathBuf;
use std::time::Duration;
use testkit::Process;

const LIMIT: Duration = Duration::from_secs(120);
/// Applied before the dump, and again between the dump and the end.
const EVENTS: i64 = 1_500;

/// One of PostgreSQL's programs, run to its end; they lie beside the server.
async fn run_beside(system: &System, program: &str, arguments: &[&str]) {
    let server = std::fs::read_link(format!("/proc/{}/exe", system.postgres.pid().unwrap())).unwrap();
    let path: PathBuf = server.with_file_name(program);
    let prepared =
        arguments.iter().fold(Process::at(program, path), |process, argument| process.arg(argument));
    let mut process = prepared.spawn().unwrap();
    let ended = process.wait(LIMIT).await.unwrap();
    assert!(ended.success(), "{program}: {}", process.stderr());
}

/// What is kept of PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backup {
    Dump,
    Base,
}

async fn applied(system: &System) -> i64 {
    let books = system.store.accounting().await.unwrap();
    books.partitions.iter().map(|p| p.recorded + p.deduplicated).sum()
}

/// Loads, takes a backup in the middle, goes on, and puts the backup in the place of the database. What was acknowledged,
/// and how much of it the backup has.
async fn restored(
    system: &mut System,
    backup: Backup,
    seed: u64,
) -> (abctl::simulate::Simulation, abctl::simulate::Outcome, i64) {
    let load = Load::start(system, seed).await.unwrap();
    eventually("events are applied", LIMIT, async || applied(system).await > EVENTS).await;
    let directory = testkit::temp_dir("dump").unwrap();
    let file = directory.join("dump");
    let file = file.to_str().unwrap();
    let mut copy = None;
    match backup {
        Backup::Dump => {
            let arguments = ["--format=custom", "--file", file, "--dbname", &system.database_url];
            run_beside(system, "pg_dump", &arguments).await;
        }
        Backup::Base => copy = Some(system.postgres.base_backup().await.unwrap()),
    }
    let then = applied(system).await;
    eventually("more are applied", LIMIT, async || applied(system).await > then + EVENTS).await;
    let (simulation, outcome) = load.finish().await.unwrap();
    assert_eq!(run::settled(system).await.unwrap().total.in_flight, 0);

    // Gateways go on accepting while there is no database; here they have nothing to accept.
    let mut worker = system.worker.take().unwrap();
    assert!(worker.terminate(LIMIT).await.unwrap().success());
    assert!(system.analyzer.terminate(LIMIT).await.unwrap().success());
    match copy {
        None => {
            system.database = system.postgres.create_database().await.unwrap();
            system.database_url = system.postgres.url_for(&system.database);
            run_beside(system, "pg_restore", &["--dbname", &system.database_url, file]).await;
        }
        Some(copy) => {
            // The old server is gone for good.
            system.postgres.kill().await.unwrap();
            system.postgres = system.postgres.start_copy(copy).await.unwrap();
            system.database_url = system.postgres.url_for(&system.database);
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
    let location = store::Location::Postgres { url: system.database_url.clone(), pool_size: 4 };
    system.store = store::connect(&location).await.unwrap();
    let in_backup = applied(system).await;
    let mut analyzer = system.another("analyzer").unwrap();
    analyzer.ready().await.unwrap();
    (system.analyzer, system.analyzer_addr) = (analyzer.process, analyzer.addr);
    system.start_worker().unwrap();
    (simulation, outcome, in_backup)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_still_keeps_is_applied_again() {
    println!("{}", applied_again(Backup::Dump, 81).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_queue_no_longer_has_is_counted() {
    println!("{}", counted(Backup::Dump, 82).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_from_a_base_backup() {
    println!("{}", applied_again(Backup::Base, 83).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_from_a_base_backup_that_is_too_old() {
    println!("{}", counted(Backup::Base, 84).await);
}

/// What the backup had, and the books in the end.
async fn applied_again(backup: Backup, seed: u64) -> String {
    let environment = vec![("AB_QUEUE_KEEP", "1h".to_owned())];
    let mut system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    let (simulation, outcome, in_backup) = restored(&mut system, backup, seed).await;
    assert!(
        i64::try_from(outcome.answers.received).unwrap() > in_backup + EVENTS / 2,
        "{in_backup} in the backup"
    );
    let (books, found) = run::faults(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(found.iter().take(20).collect::<Vec<_>>(), Vec::<&String>::new(), "{} in all", found.len());
    let wrong = run::wrong_answers(&system, &simulation, &outcome).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    system.stop().await.unwrap();
    format!("{in_backup} in the backup; {}", books.total)
}

async fn counted(backup: Backup, seed: u64) -> String {
    let environment = vec![("AB_QUEUE_KEEP", "0s".to_owned())];
    let mut system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    let (_, outcome, in_backup) = restored(&mut system, backup, seed).await;
    let acknowledged = i64::try_from(outcome.answers.received).unwrap();
    // The last entry of a stream is never trimmed, and its writers' totals tell of all before it.
    eventually("every stream is read", LIMIT, async || {
        system.books().await.is_ok_and(|books| books.total.received >= acknowledged)
    })
    .await;
    let books = run::settled(&system).await.unwrap();
    assert!(books.partitions.iter().all(|(_, book)| book.closes()), "{books:?}");
    let received = books.total.received;
    assert!(books.total.lost > 0 && books.total.lost <= received - in_backup, "{}", books.total);
    // A request that was sent again after a lost answer may have been accepted twice.
    let again = outcome.answers.retries > 0 && received > acknowledged;
    assert!(received == acknowledged || again, "{acknowledged} acknowledged: {}", books.total);
    system.stop().await.unwrap();
    format!("{in_backup} in the backup; {}", books.total)
}
