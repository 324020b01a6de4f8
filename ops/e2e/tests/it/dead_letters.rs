//! An event that the database refuses: dead-lettered, and sent again once the reason is gone. It counts once, however
//! often that is done, and whoever does it may be killed in between.

use crate::support::{applied, assert_verified, counted, eventually, two_arms};
use e2e::run::settled;
use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, OneProcess, Setup, System};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::Process;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_refused_is_redriven_and_counts_once_on_three_tiers() {
    let mut system = System::start(Setup::default()).await.unwrap();
    an_event_refused_is_redriven_and_counts_once(&mut system).await;
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_refused_is_redriven_and_counts_once_in_one_process() {
    let mut system = OneProcess::start(&Setup::default()).await.unwrap();
    an_event_refused_is_redriven_and_counts_once(&mut system).await;
    system.stop().await.unwrap();
}

/// What the scenario does behind the back of whatever runs.
trait Database: Deployment {
    /// From now on conversions with the key `bad` are refused.
    async fn refuse(&self);

    /// Ends that. From now on no letter can be deleted.
    async fn accept_and_keep(&self);

    /// Ends that too.
    async fn release(&self);

    /// Kills whoever redrives, and starts it again.
    async fn kill(&mut self);
}

impl Database for System {
    async fn refuse(&self) {
        let rule = "CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$; \
             CREATE TRIGGER rule BEFORE INSERT ON conversions FOR EACH ROW WHEN (NEW.key = 'bad') \
             EXECUTE FUNCTION rule()";
        postgres(self, rule).await;
    }

    async fn accept_and_keep(&self) {
        let rule = "CREATE TRIGGER keep BEFORE DELETE ON dead_letters FOR EACH ROW EXECUTE FUNCTION rule()";
        postgres(self, &format!("DROP TRIGGER rule ON conversions; {rule}")).await;
    }

    async fn release(&self) {
        postgres(self, "DROP TRIGGER keep ON dead_letters").await;
    }

    async fn kill(&mut self) {
        self.analyzer.respawn().unwrap();
        self.analyzer.wait_ready(self.analyzer_addr, "/readyz", LIMIT).await.unwrap();
    }
}

impl Database for OneProcess {
    async fn refuse(&self) {
        let rule = "CREATE TRIGGER rule BEFORE INSERT ON conversions WHEN NEW.key = 'bad' \
             BEGIN SELECT RAISE(ABORT, 'no'); END";
        sqlite(self, rule);
    }

    async fn accept_and_keep(&self) {
        let rule = "CREATE TRIGGER keep BEFORE DELETE ON dead_letters BEGIN SELECT RAISE(ABORT, 'no'); END";
        sqlite(self, &format!("DROP TRIGGER rule; {rule}"));
    }

    async fn release(&self) {
        sqlite(self, "DROP TRIGGER keep");
    }

    async fn kill(&mut self) {
        self.kill_and_restart().await.unwrap();
    }
}

async fn postgres(system: &System, statements: &str) {
    system.postgres.execute(&system.database, statements).await.unwrap();
}

fn sqlite(system: &OneProcess, statements: &str) {
    let connection = rusqlite::Connection::open(system.data().join(backends::DATABASE_FILE)).unwrap();
    connection.busy_timeout(LIMIT).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// Exit code and standard output.
async fn abctl(system: &impl Deployment, arguments: &[&str]) -> (i32, String) {
    let mut process = Process::of("abctl")
        .unwrap()
        .env("AB_URL", system.analyzer_url())
        .env("AB_API_TOKEN", API_TOKEN)
        .env("AB_ADMIN_TOKEN", ADMIN_TOKEN)
        .arg("dead-letters");
    for argument in arguments {
        process = process.arg(argument);
    }
    let mut process = process.spawn().unwrap();
    let status = process.wait(LIMIT).await.unwrap();
    (status.code().unwrap(), process.stdout())
}

async fn letters(system: &impl Deployment) -> Vec<Value> {
    let (code, out) = abctl(system, &["list", "--json"]).await;
    assert_eq!(code, 0, "{out}");
    serde_json::from_str::<Value>(&out).unwrap()["items"].as_array().unwrap().clone()
}

async fn an_event_refused_is_redriven_and_counts_once(system: &mut impl Database) {
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    system.refuse().await;
    let purchase = |key: &str| json!({"type": "conversion", "user_id": "ann", "metric": "purchase", "idempotency_key": key});
    let seen = json!({"type": "exposure", "user_id": "ann", "experiment": "exp", "variation_index": 1});
    let body = json!({"events": [seen, purchase("good"), purchase("bad")]}).to_string();
    let answer = applied(&system.ingest(), "/api/v1/events", &[], body).await;
    assert_eq!((&answer["recorded"], &answer["dead_lettered"]), (&json!(2), &json!(1)));
    assert_eq!(counted(system, "exp", 1).await, (1, 1, 1));

    let found = letters(system).await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["reason"], &found[0]["batch_id"]), (&json!("refused"), &answer["batch_id"]));
    let id = found[0]["id"].to_string();
    let (code, out) = abctl(system, &["show", &id]).await;
    assert!(code == 0 && out.contains("can be redriven\n") && out.trim_end().ends_with("  bad"), "{out}");

    // While the reason is there it comes back, with the batch it always had.
    assert_eq!(abctl(system, &["redrive", &id]).await.0, 0);
    let again = async || letters(system).await.iter().any(|l| l["id"] != found[0]["id"]);
    eventually("it is dead-lettered again", LIMIT, again).await;
    let back = letters(system).await;
    assert_eq!((back.len(), &back[0]["batch_id"]), (1, &answer["batch_id"]));
    assert_eq!(counted(system, "exp", 1).await, (1, 1, 1));

    // The reason is gone. Twice it is sent and its letter stays: what comes next is killed before it can delete it.
    system.accept_and_keep().await;
    let all = ["redrive", "--all", "--reason", "refused", "--yes"];
    for deduplicated in [0, 1] {
        assert_eq!(abctl(system, &all).await.0, 1);
        fates(system, (3, deduplicated, 1)).await;
        assert_eq!(letters(system).await, back);
        system.kill().await;
    }
    system.release().await;
    let (code, out) = abctl(system, &all).await;
    assert!(code == 0 && out.ends_with("redriven        1\n"), "{out}");
    assert!(letters(system).await.is_empty());
    // The letter has left the dead; the events sent, five entries' worth, are as many as have a fate.
    fates(system, (3, 2, 0)).await;
    assert_eq!(counted(system, "exp", 1).await, (1, 1, 2));
    let books = settled(system).await.unwrap();
    assert!(books.total.received == 5 && books.are_good(), "{books:?}");
    assert_verified(system, &["exp"]).await;
}

/// Waits until so many events were recorded, deduplicated, and are dead-lettered.
async fn fates(system: &impl Deployment, expected: (i64, i64, i64)) {
    let told = async || {
        let total = settled(system).await.unwrap().total;
        (total.recorded, total.deduplicated, total.dead_lettered) == expected
    };
    eventually(&format!("{expected:?}"), LIMIT, told).await;
}
