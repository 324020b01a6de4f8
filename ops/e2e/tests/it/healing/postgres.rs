//! PostgreSQL is away, refuses, or gives up what the worker is at.

use super::{LIMIT, Patient};
use crate::support::eventually;
use e2e::Setup;

const FAILURES: &str = "abstream_apply_failures_total";

/// Superuser's statements, one by one: some may not be in a transaction.
async fn execute(patient: &Patient, statements: &[&str]) {
    let client = connect(patient).await;
    for statement in statements {
        client.batch_execute(statement).await.unwrap();
    }
}

/// To the database of the system.
async fn connect(patient: &Patient) -> testkit::PostgresClient {
    patient.system.postgres.connect(&patient.system.database).await.unwrap()
}

/// Waits until the server has said this once more.
async fn logged(patient: &Patient, text: &str, before: usize) {
    eventually(text, LIMIT, async || count(patient, text) > before).await;
}

fn count(patient: &Patient, text: &str) -> usize {
    patient.system.postgres.log().matches(text).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_to() {
    let postgres = vec![("max_connections", "40")];
    let mut patient = Patient::admit(Setup { postgres, ..Setup::default() }, 71).await;

    let before = patient.worker(FAILURES).await;
    patient.system.postgres.stop().await.unwrap();
    patient.shows(FAILURES, before).await;
    patient.system.postgres.restart().await.unwrap();
    patient.heals("stopped and started").await;

    let before = patient.worker(FAILURES).await;
    execute(&patient, &["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"])
        .await;
    patient.shows(FAILURES, before).await;
    // Whoever starts now waits: it may have to bring the schema up to date.
    patient.system.analyzer.respawn().unwrap();
    let waits = async || patient.system.analyzer.stderr().contains("the database is not ready");
    eventually("the analyzer waits", LIMIT, waits).await;
    execute(&patient, &["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"]).await;
    patient.heals("read only for a while").await;
    let addr = patient.system.analyzer_addr;
    patient.system.analyzer.wait_ready(addr, "/readyz", LIMIT).await.unwrap();

    let before = patient.worker(FAILURES).await;
    let eaten = eat_connections(&patient).await;
    patient.shows(FAILURES, before + 1.0).await;
    assert!(count(&patient, "too many clients already") > 0);
    drop(eaten);
    patient.heals("out of connections for a while").await;

    patient.discharge().await;
}

/// Ends the connections of all programs and takes their places.
async fn eat_connections(patient: &Patient) -> Vec<testkit::PostgresClient> {
    let watch = connect(patient).await;
    let mut eaten = Vec::new();
    let others =
        "backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'eater'";
    eventually("all connections are eaten", LIMIT, async || {
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}");
        watch.execute(&end, &[]).await.unwrap();
        while let Ok(client) = patient.system.postgres.connect("postgres").await {
            client.batch_execute("SET application_name = 'eater'").await.unwrap();
            eaten.push(client);
        }
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE {others}");
        watch.query_one(&left, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    eaten
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_gives_up_transactions() {
    // Long enough for two sessions to wait for each other before anybody looks.
    let postgres = vec![("deadlock_timeout", "3s")];
    let patient = Patient::admit(Setup { postgres, ..Setup::default() }, 72).await;

    let (before, said) = (patient.worker(FAILURES).await, "canceling statement due to statement timeout");
    let seen = count(&patient, said);
    // The position is moved first, writers are noted last.
    execute(
        &patient,
        &[
            "CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               PERFORM set_config('statement_timeout', '300', false); RETURN NULL; END $$",
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               PERFORM pg_sleep(60); RETURN NULL; END $$",
            "CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON writers EXECUTE FUNCTION dawdle()",
            "CREATE TRIGGER hurry AFTER UPDATE ON partitions EXECUTE FUNCTION hurry()",
        ],
    )
    .await;
    logged(&patient, said, seen).await;
    patient.shows(FAILURES, before).await;
    execute(&patient, &["DROP TRIGGER dawdle ON writers", "DROP TRIGGER hurry ON partitions"]).await;
    patient.heals("statements that took too long").await;

    let (before, said) = (patient.worker(FAILURES).await, "canceling statement due to lock timeout");
    let (seen, holder) = (count(&patient, said), connect(&patient).await);
    holder.batch_execute("BEGIN; LOCK TABLE units IN ACCESS EXCLUSIVE MODE").await.unwrap();
    logged(&patient, said, seen).await;
    patient.shows(FAILURES, before).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    patient.heals("a lock that was held too long").await;

    let (before, said) = (patient.worker(FAILURES).await, "deadlock detected");
    let (seen, watch) = (count(&patient, said), connect(&patient).await);
    // Whoever looks first is given up: not this one. A worker that looked before we wait for it is met once more.
    let lock = "SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE writers IN SHARE ROW EXCLUSIVE MODE";
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE NOT l.granted AND a.application_name = 'abstream-apply'";
    eventually(said, LIMIT, async || {
        holder.batch_execute(lock).await.unwrap();
        eventually("the worker waits for us", LIMIT, async || {
            watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
        holder.batch_execute("SELECT FROM partitions FOR UPDATE; ROLLBACK").await.unwrap();
        count(&patient, said) > seen
    })
    .await;
    patient.shows(FAILURES, before).await;
    patient.heals("a deadlock").await;

    let before = patient.worker(FAILURES).await;
    execute(
        &patient,
        &[
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON writers EXECUTE FUNCTION refuse()",
        ],
    )
    .await;
    patient.shows(FAILURES, before).await;
    execute(&patient, &["DROP TRIGGER refuse ON writers"]).await;
    patient.heals("serialization failures").await;

    // Isolation is ours to choose: whatever the server's default, transactions do not give each other up.
    execute(
        &patient,
        &["ALTER SYSTEM SET default_transaction_isolation = 'serializable'", "SELECT pg_reload_conf()"],
    )
    .await;
    let given_up = "could not serialize access";
    let seen = count(&patient, given_up);
    for _ in 0..5 {
        patient.heals("serializable by default").await;
    }
    assert_eq!(count(&patient, given_up), seen);

    patient.discharge().await;
}
