//! What the worker shows: every number of it moves with what it counts, over all lanes; and a worker that is stuck says
//! so to whoever asks whether it lives.

use crate::support::{applied, eventually, two_arms};
use domain::UnitId;
use e2e::{Deployment, Setup, System};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::Direction;
use testkit::http::Client;

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: u16 = 2;

/// Everything that the worker shows.
struct Shown(String);

impl Shown {
    async fn by(system: &System) -> Shown {
        let answer = Client::at(system.internal[1]).get("/metrics").await.unwrap();
        assert_eq!(answer.status, 200);
        Shown(answer.text())
    }

    /// The sum of a metric over all labels, or over those named: `name{label="value"`.
    fn sum(&self, name: &str) -> f64 {
        let of =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', ',', '}']));
        let lines = self.0.lines().filter(of);
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    }
}

async fn shows(system: &System, name: &str, wanted: impl Fn(f64) -> bool) {
    eventually(name, LIMIT, async || wanted(Shown::by(system).await.sum(name))).await;
}

async fn sql(system: &System, statements: &str) {
    system.postgres.execute(&system.database, statements).await.unwrap();
}

fn purchase(key: &str) -> Value {
    json!({"type": "conversion", "user_id": "ann", "metric": "purchase", "idempotency_key": key})
}

/// As one entry each, all of one partition.
async fn send(system: &System, events: &[Value]) {
    for event in events {
        let answer = system.ingest().post_json("/api/v1/events", &json!({"events": [event]})).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// Conversions with the key `bad` are refused for good, those with the key `stuck` this time.
const RULES: &str = "CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF NEW.key = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END IF; \
     IF NEW.key = 'stuck' THEN RAISE EXCEPTION 'later' USING ERRCODE = 'serialization_failure'; END IF; \
     RETURN NEW; END $$; \
     CREATE TRIGGER rule BEFORE INSERT ON conversions FOR EACH ROW EXECUTE FUNCTION rule()";

#[tokio::test(flavor = "multi_thread")]
async fn every_number_moves_with_what_it_counts() {
    let environment = vec![("AB_DEAD_LETTER_MAX", "0".to_owned())];
    let setup = Setup { partitions: PARTITIONS, worker: false, environment, ..Setup::default() };
    let mut system = System::start(setup).await.unwrap();
    let partition = UnitId::of("default", "ann").partition(PARTITIONS);
    let stream = format!("ab:{{events:{partition}}}");
    let gone = system.experiment(two_arms("gone", &["purchase"])).await.unwrap()["id"].clone();
    sql(&system, RULES).await;

    // An entry is gone before anybody has read it.
    send(&system, &[purchase("lost")]).await;
    system.redis.command(&["XTRIM", &stream, "MAXLEN", "0"]).await.unwrap();
    send(&system, &[purchase("a"), purchase("a")]).await;
    system.start_worker().unwrap();
    let at = system.worker_addr;
    system.worker.as_mut().unwrap().wait_ready(at, "/readyz", LIMIT).await.unwrap();
    shows(&system, "abstream_applied_events_total{fate=\"lost\"", |n| n == 1.0).await;
    shows(&system, "abstream_applied_events_total{fate=\"recorded\"", |n| n == 1.0).await;
    shows(&system, "abstream_applied_events_total{fate=\"deduplicated\"", |n| n == 1.0).await;
    // Each lane holds one.
    for lane in ["0", "1"] {
        shows(&system, &format!("abstream_partitions_held{{lane=\"{lane}\""), |n| n == 1.0).await;
    }
    shows(&system, "abstream_cached_units", |n| n == 1.0).await;
    let shown = Shown::by(&system).await;
    assert_eq!(shown.sum("abstream_partitions_held"), f64::from(PARTITIONS));
    assert_eq!(shown.sum("abstream_apply_events_sum"), 2.0);
    assert!(
        shown.sum("abstream_apply_seconds_count") >= 1.0 && shown.sum("abstream_apply_seconds_sum") > 0.0
    );
    assert!(shown.sum("abstream_applied_bytes_total") > 0.0);
    assert_eq!(shown.sum("abstream_dead_lettered_events_total"), 0.0);

    // Refused for good, past a bound of none.
    applied(&system.ingest(), "/api/v1/events", &[], json!({"events": [purchase("bad")]}).to_string()).await;
    // Deleted when the gateway has taken it and before the worker can apply it.
    let client = system.postgres.connect(&system.database).await.unwrap();
    let locked = format!("BEGIN; SELECT FROM partitions WHERE partition = {partition} FOR UPDATE");
    client.batch_execute(&locked).await.unwrap();
    send(
        &system,
        &[json!({"type": "exposure", "user_id": "ann", "experiment": "gone", "variation_index": 1})],
    )
    .await;
    let deleted = format!("UPDATE experiments SET status = 'deleted' WHERE id = {gone}; COMMIT");
    client.batch_execute(&deleted).await.unwrap();
    for (name, n) in [
        ("abstream_applied_events_total{fate=\"dead_lettered\"", 1.0),
        ("abstream_dead_lettered_events_total{reason=\"refused\"", 1.0),
        ("abstream_dead_letters_without_payload_total", 1.0),
        ("abstream_applied_events_total{fate=\"discarded\"", 1.0),
        ("abstream_discarded_events_total{reason=\"deleted_experiment\"", 1.0),
    ] {
        shows(&system, name, |shown| shown == n).await;
    }
    // The worker does not know what has become of the partition, unless it has begun anew meanwhile.
    let moved = format!("UPDATE partitions SET epoch = epoch + 1 WHERE partition = {partition}");
    eventually("the position is another", LIMIT, async || {
        sql(&system, &moved).await;
        send(&system, &[purchase("a")]).await;
        Shown::by(&system).await.sum("abstream_apply_failures_total{cause=\"moved\"") >= 1.0
    })
    .await;

    // Nothing gets through, and what waits is told while the worker tries again.
    let waiting = ["abstream_backlog_events", "abstream_backlog_bytes", "abstream_oldest_unapplied_seconds"];
    for name in waiting {
        shows(&system, name, |n| n == 0.0).await;
    }
    send(&system, &[purchase("stuck"), purchase("b")]).await;
    shows(&system, "abstream_apply_failures_total{cause=\"transient\"", |n| n >= 2.0).await;
    shows(&system, "abstream_backlog_events", |n| n == 2.0).await;
    for name in &waiting[1..] {
        shows(&system, name, |n| n >= 1.0).await;
    }
    sql(&system, "DROP TRIGGER rule ON conversions").await;
    for name in waiting {
        shows(&system, name, |n| n == 0.0).await;
    }
    shows(&system, "abstream_applied_events_total{fate=\"recorded\"", |n| n == 3.0).await;
    // What is applied stays in the stream for a while.
    shows(&system, "abstream_kept_seconds", |n| n >= 2.0).await;

    system.redis.command(&["DEL", &stream]).await.unwrap();
    shows(&system, "abstream_streams_replaced_total", |n| n >= 1.0).await;

    // The page is the list that a change of a name must be seen in.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let shown = Shown::by(&system).await;
    let unknown: Vec<&str> = shown.names().filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert_eq!(unknown, Vec::<&str>::new());
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_database_swallows_everything_is_not_alive() {
    let system = System::start(Setup { proxied: true, ..Setup::default() }).await.unwrap();
    let postgres = &system.proxies.as_ref().unwrap().postgres;
    let health = Client::at(system.worker_addr);
    let alive = async || health.get("/health").await.unwrap();
    applied(&system.ingest(), "/api/v1/events", &[], json!({"events": [purchase("a")]}).to_string()).await;
    assert_eq!(alive().await.status, 200);

    // Connections stay, and nothing comes of them any more.
    postgres.swallow(Direction::ToClient);
    send(&system, &[purchase("b")]).await;
    let mut answer = alive().await;
    eventually("it says that it is stuck", LIMIT * 2, async || {
        answer = alive().await;
        answer.status == 503
    })
    .await;
    let answer = answer.json().unwrap();
    assert_eq!(answer["status"], "stuck");
    assert_eq!(answer["detail"], "no transaction committed for 60 s with work at hand");

    // Whoever is not killed for it goes on when it can.
    postgres.heal();
    postgres.cut();
    eventually("it lives", LIMIT * 2, async || alive().await.status == 200).await;
    let books =
        async || system.books().await.is_ok_and(|books| books.total.recorded == 2 && books.are_good());
    eventually("all is applied", LIMIT, books).await;
    system.stop().await.unwrap();
}
