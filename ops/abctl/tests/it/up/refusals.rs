//! What `abctl up` does not start with: exit code 2 and one line that names the flag or variable.

use super::directory::refused;
use super::rig::command;
use crate::deployment::abctl;

const KEY: (&str, &str) = ("AB_API_TOKEN", "q8vR2mZx7LdK0pWcY5tHbN3s");
const DATABASE: (&str, &str) = ("AB_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/x");
const REDIS: (&str, &str) = ("AB_REDIS_URL", "redis://127.0.0.1:1");
const PRODUCTION: (&str, &str) = ("AB_ENV", "production");

#[test]
fn production_wants_postgresql_redis_and_keys_of_its_own() {
    for (env, expected) in [
        (vec![PRODUCTION, KEY], "AB_DATABASE_URL: production needs PostgreSQL"),
        (vec![PRODUCTION, KEY, REDIS], "AB_DATABASE_URL: production needs PostgreSQL"),
        (vec![PRODUCTION, KEY, DATABASE], "AB_REDIS_URL: production needs Redis"),
        (vec![PRODUCTION, REDIS, DATABASE], "AB_API_TOKEN: production needs an ingest key"),
        (vec![PRODUCTION, KEY, REDIS, DATABASE, ("AB_DATA", "d")], "AB_DATA: production keeps neither"),
    ] {
        let line = abctl(&["up"], &env, None).failed(2);
        assert!(line.starts_with(&format!("abctl up: {expected}")) && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused() {
    for arguments in [&["up", "--prot", "1"][..], &["up", "now"], &["up", "--data"], &["--data", "d", "up"]] {
        let ran = abctl(arguments, &[], None);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.error.starts_with("error: ") && ran.error.contains("--help"), "{}", ran.error);
    }
    for (arguments, named) in [
        (["--port", "high"], "AB_PORT: "),
        (["--partitions", "0"], "AB_PARTITIONS: "),
        (["--database-url", "sqlite://x"], "AB_DATABASE_URL: must begin with postgres://"),
        (["--redis-url", "x"], "AB_REDIS_URL: "),
        (["--internal-addr", "127.0.0.1:8008"], "AB_INTERNAL_ADDR: "),
    ] {
        let line = abctl(&["up", arguments[0], arguments[1]], &[], None).failed(2);
        assert!(line.starts_with(&format!("abctl up: {named}")), "{line}");
    }
    let line = abctl(&["up"], &[("AB_DTA", "d")], None).failed(2);
    assert_eq!(line, "abctl up: AB_DTA: is not a known setting");
}

#[test]
fn settings_can_be_looked_at() {
    let shown = abctl(&["up", "--check-config", "--port", "1"], &[REDIS], None).ok();
    for line in [
        "AB_PORT=1 (flag)",
        "AB_DATA=abstream-data (default)",
        "AB_PARTITIONS=1 (default)",
        "AB_DATABASE_URL unset (default)",
        "AB_REDIS_URL=redis://127.0.0.1:1 (environment)",
    ] {
        assert!(shown.lines().any(|known| known == line), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_another_number_of_partitions_are_named() {
    let data = testkit::temp_dir("up").unwrap();
    let (command, addr) = command(&data);
    let held = std::net::TcpListener::bind(addr).unwrap();
    let line = refused(command.clone()).await;
    assert!(
        line.starts_with(&format!("abctl up: AB_PORT: cannot listen on {addr}: Address already in use")),
        "{line}"
    );
    drop(held);
    super::rig::Up::of(command.clone(), addr, &data).await.end().await;
    let line = refused(command.env("AB_PARTITIONS", "2")).await;
    assert!(line.starts_with("abctl up: AB_PARTITIONS: the deployment has 1 partitions"), "{line}");
}
