//! An event that kills whoever applies it: after a few deaths it is dead-lettered unread, and its partition goes on.

use crate::support::{assert_verified, eventually, two_arms};
use e2e::run::settled;
use e2e::{Deployment, Setup, System, patience};
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Three until its entries are applied one by one, three more until it is given up.
const DEATHS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_kills_every_worker_is_dead_lettered_in_the_end() {
    let mut system = System::start(Setup { worker: false, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    let sql = system.postgres.connect(&system.database).await.unwrap();
    // Whoever applies it stands still here, and is killed there.
    let trap = "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN IF NEW.key = 'killer' THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$; \
         CREATE TRIGGER trap BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION trap()";
    sql.batch_execute(trap).await.unwrap();
    let client = system.ingest();
    let send = async |key: &str| {
        // One user: one partition, in this order.
        let body = json!({"conversions": [{"user_id": "u", "metric": "purchase", "idempotency_key": key}]});
        let answer = patience::post_json(&client, "/api/v1/conversions", &body).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    };
    for key in ["before", "killer", "after"] {
        send(key).await;
    }
    let at_it = async || {
        let at_it = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        sql.query_one(at_it, &[]).await.unwrap().get::<_, i64>(0)
    };
    for death in 1..=DEATHS {
        system.start_worker().unwrap();
        eventually("the worker applies the killer", LIMIT, async || at_it().await == 1).await;
        system.worker.as_mut().unwrap().kill().unwrap();
        // Its connection does not notice by itself.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        sql.execute(end, &[]).await.unwrap();
        eventually("the connection has ended", LIMIT, async || at_it().await == 0).await;
        println!("death {death}");
    }
    system.start_worker().unwrap();
    let books = settled(&system).await.unwrap();
    assert_eq!((books.total.recorded, books.total.dead_lettered, books.total.lost), (2, 1, 0));
    assert!(books.are_good());
    let letter = sql.query_one("SELECT reason, events, payload FROM dead_letters", &[]).await.unwrap();
    assert_eq!((letter.get::<_, &str>(0), letter.get::<_, i64>(1)), ("kills_worker", 1));
    assert!(letter.get::<_, &[u8]>(2).windows(6).any(|w| w == b"killer"), "the payload is kept");
    assert_verified(&system, &["exp"]).await;
    system.stop().await.unwrap();
}
