//! The command-line tool as it is typed: what it prints, and how it exits.

use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, Setup, System};
use std::time::Duration;
use testkit::Process;

/// Exit code, standard output and standard error.
async fn abctl(system: &System, arguments: &[&str]) -> (i32, String, String) {
    let mut process = Process::of("abctl")
        .unwrap()
        .env("AB_DATABASE_URL", &system.database_url)
        .env("AB_REDIS_URL", system.redis.url())
        .env("AB_URL", system.gateway_url())
        .env("AB_API_TOKEN", API_TOKEN)
        .env("AB_ADMIN_TOKEN", ADMIN_TOKEN);
    for argument in arguments {
        process = process.arg(argument);
    }
    let mut process = process.spawn().unwrap();
    let status = process.wait(Duration::from_secs(120)).await.unwrap();
    (status.code().unwrap(), process.stdout(), process.stderr())
}

async fn sql(system: &System, statement: &str) {
    system.postgres.execute(&system.database, statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_accounting_and_verify_agree_and_say_so_when_something_is_wrong() {
    let system = System::start(Setup::default()).await.unwrap();
    let results = system.analyzer_url();
    let (code, out, error) =
        abctl(&system, &["simulate", "--events", "6000", "--results-url", &results, "--check"]).await;
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.starts_with("simulate: received=6"), "{out}");

    let (code, out, _) = abctl(&system, &["accounting", "--wait", "60s"]).await;
    let last = out.lines().last().unwrap();
    assert!(code == 0 && out.lines().count() == 18, "{out}");
    assert!(
        last.starts_with("accounting: received=6")
            && last.ends_with(" dead=0 discarded=0 in_flight=0 lost=0")
    );
    let (code, out, _) = abctl(&system, &["--json", "accounting"]).await;
    let books: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &books["total"]["lost"]), (0, &0.into()));

    let (code, out, _) = abctl(&system, &["verify", "sim-checkout"]).await;
    assert!(code == 0 && out.starts_with("verify sim-checkout: equal (rows="), "{out}");

    // Of three tiers the analyzer knows the answers; a gateway says so.
    let url = system.analyzer_url();
    let (code, out, _) = abctl(&system, &["results", "sim-checkout", "--url", &url]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert!(code == 0 && lines[0] == "sim-checkout" && lines[1].starts_with("running since "), "{out}");
    assert!(lines.contains(&"purchase  proportion, primary") && out.contains("\ndata quality\n"), "{out}");
    let (code, out, error) = abctl(&system, &["results", "sim-checkout"]).await;
    assert!(
        code == 1 && out.is_empty() && error.contains("is AB_URL the address of the gateway?"),
        "{error}"
    );

    // A lost row, and a count that is wrong by one.
    sql(
        &system,
        "DELETE FROM conversions WHERE key = (SELECT min(key) FROM conversions WHERE metric = 'purchase')",
    )
    .await;
    let (code, out, _) = abctl(&system, &["verify", "sim-checkout"]).await;
    assert!(
        code == 1 && out.contains("stored") && out.contains("verify sim-checkout: DIFFERENT in "),
        "{out}"
    );
    sql(&system, "UPDATE counters SET n = n + 1 WHERE ctid = (SELECT min(ctid) FROM counters WHERE name = 'deduplicated')").await;
    let (code, out, _) = abctl(&system, &["accounting"]).await;
    assert!(code == 1 && out.contains(" NO\n"), "{out}");

    // Bad usage is told apart from failure.
    assert_eq!(abctl(&system, &["verify", "nowhere"]).await.0, 1);
    assert_eq!(abctl(&system, &["verify"]).await.0, 2);
    assert_eq!(abctl(&system, &["accounting", "--wait", "soon"]).await.0, 2);
    assert_eq!(abctl(&system, &["accounting", "--database-url", "mysql://x"]).await.0, 2);
    assert_eq!(abctl(&system, &["accounting", "--partitions", "3"]).await.0, 1);
    assert_eq!(abctl(&system, &["--help"]).await.0, 0);
}
