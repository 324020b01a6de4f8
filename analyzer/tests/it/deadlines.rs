//! An answer past its time: the client is told, and the database stops working on it.

use std::time::Duration;

use testkit::{Direction, FaultProxy, Postgres, PostgresClient};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rig::{Rig, code, two_arms};

const LIMIT: Duration = Duration::from_secs(60);
const LOCK: &str = "LOCK TABLE experiments IN ACCESS EXCLUSIVE MODE";

/// A server of the test's own, so that what its log says is of this test.
async fn start(server: &Postgres, more: &[(&str, &str)]) -> Rig {
    let database = server.create_database().await.unwrap();
    let url = server.url_for(&database);
    let rig = Rig::start_on(database, url, more).await;
    rig.running(&two_arms("slow")).await;
    rig
}

/// Queries of the analyzer that wait for a lock.
async fn waiting(database: &PostgresClient) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    database.query_one(waiting, &[]).await.unwrap().get(0)
}

/// Cancelled from outside, not by the server's own limits.
async fn were_cancelled(server: &Postgres, database: &PostgresClient, queries: usize) {
    let none = || async { waiting(database).await == 0 };
    testkit::eventually("no query of ours waits", LIMIT, none).await.unwrap();
    let said = || {
        let log = server.log();
        assert!(!log.contains("due to lock timeout") && !log.contains("due to statement timeout"), "{log}");
        std::future::ready(log.matches("canceling statement due to user request").count() == queries)
    };
    testkit::eventually("the server says why", LIMIT, said).await.unwrap();
}

#[tokio::test]
async fn an_answer_past_its_budget_is_told_and_its_query_is_cancelled() {
    let server = Postgres::fast().await.unwrap();
    // One connection for everything: were it left to the query given up, nobody would get another answer.
    let rig = start(&server, &[("AB_SLA_TIMEOUTS", "live-stats=3s"), ("AB_DB_POOL_SIZE", "1")]).await;
    let path = "/api/v1/experiments/slow/live-stats";
    rig.ok(path).await;

    let mut locker = server.connect(&rig.database).await.unwrap();
    let watcher = server.connect(&rig.database).await.unwrap();
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let answer = rig.get(path).await;
    assert_eq!((answer.status, code(&answer).as_str()), (504, "answer_timeout"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    were_cancelled(&server, &watcher, 1).await;
    lock.rollback().await.unwrap();
    let answered = || async { rig.get(path).await.status == 200 };
    testkit::eventually("answers come again", LIMIT, answered).await.unwrap();
}

#[tokio::test]
async fn the_query_of_a_client_that_left_is_cancelled() {
    let server = Postgres::fast().await.unwrap();
    let rig = start(&server, &[]).await;
    let mut locker = server.connect(&rig.database).await.unwrap();
    let watcher = server.connect(&rig.database).await.unwrap();
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute(LOCK).await.unwrap();
    let mut impatient = TcpStream::connect(rig.addr).await.unwrap();
    let head = "GET /api/v1/experiments/slow/decision HTTP/1.1\r\nHost: h\r\nX-API-Key: admin-a\r\n\r\n";
    impatient.write_all(head.as_bytes()).await.unwrap();
    let waits = || async { waiting(&watcher).await == 1 };
    testkit::eventually("the query waits", LIMIT, waits).await.unwrap();
    drop(impatient);
    were_cancelled(&server, &watcher, 1).await;
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn a_database_that_does_not_answer_costs_no_more_than_the_budget() {
    let server = Postgres::fast().await.unwrap();
    let proxy = FaultProxy::start(server.addr()).await.unwrap();
    let database = server.create_database().await.unwrap();
    let url = server.url_at(proxy.addr(), &database);
    let rig = Rig::start_on(database, url, &[("AB_SLA_TIMEOUTS", "live-stats=3s")]).await;
    rig.running(&two_arms("slow")).await;
    let path = "/api/v1/experiments/slow/live-stats";
    rig.ok(path).await;
    proxy.stall(Direction::ToClient);
    let answer = rig.get(path).await;
    assert_eq!((answer.status, code(&answer).as_str()), (504, "answer_timeout"));
    proxy.heal();
    let answered = || async { rig.get(path).await.status == 200 };
    testkit::eventually("answers come again", LIMIT, answered).await.unwrap();
}

#[tokio::test]
async fn one_answer_at_a_time_reads_every_user() {
    let server = Postgres::fast().await.unwrap();
    let rig = start(&server, &[]).await;
    let path = "/api/v1/experiments/slow/timeseries?day_basis=occurred";
    let mut locker = server.connect(&rig.database).await.unwrap();
    let watcher = server.connect(&rig.database).await.unwrap();
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE units IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let second = async {
        let waits = || async { waiting(&watcher).await == 1 };
        testkit::eventually("the first one reads users", LIMIT, waits).await.unwrap();
        let other = rig.client("admin-a");
        let answer = other.get(path).await.unwrap();
        lock.rollback().await.unwrap();
        answer
    };
    let (first, second) = tokio::join!(rig.get(path), second);
    assert_eq!((second.status, code(&second).as_str()), (503, "scan_in_progress"));
    assert_eq!(second.header("retry-after"), Some("5"));
    assert_eq!(first.status, 200, "{}", first.text());
    rig.ok(path).await;
}
