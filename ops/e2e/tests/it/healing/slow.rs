//! A database so slow that a transaction of the usual size never ends in time.

use super::{LIMIT, shows, worker};
use crate::support::eventually;
use e2e::diary::Diary;
use e2e::{Setup, System, run};

const FAILURES: &str = "abstream_apply_failures_total{cause=\"transient\"}";

/// A hundred conversions in a statement are too many.
const SLOW: [&str; 4] = [
    "CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       PERFORM set_config('statement_timeout', '1000', false); RETURN NULL; END $$",
    "CREATE TRIGGER hurry AFTER UPDATE ON partitions EXECUTE FUNCTION hurry()",
    "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       PERFORM pg_sleep(0.01); RETURN NEW; END $$",
    "CREATE TRIGGER dawdle BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION dawdle()",
];

#[tokio::test(flavor = "multi_thread")]
async fn transactions_become_so_small_that_they_end_in_time() {
    let setup = Setup { partitions: 1, worker: false, ..Setup::default() };
    let mut system = System::start(setup).await.unwrap();
    let mut diary = Diary::start(&system).await.unwrap();
    diary.fill(1_000).await.unwrap();
    diary.close().await.unwrap();
    let sql = system.postgres.connect(&system.database).await.unwrap();
    for statement in SLOW {
        sql.batch_execute(statement).await.unwrap();
    }
    system.start_worker().unwrap();
    eventually("the worker answers", LIMIT, async || {
        testkit::http::Client::at(system.internal[1]).get("/metrics").await.is_ok()
    })
    .await;
    shows(&system, FAILURES, 0.0).await;
    let books = run::settled(&system).await.unwrap();
    assert!(books.are_good() && books.total.in_flight == 0, "{}", books.total);
    assert_eq!(books.total.recorded, books.total.received);
    println!("{} transactions failed", worker(&system, FAILURES).await);
    system.stop().await.unwrap();
}
