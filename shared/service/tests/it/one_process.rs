//! Settings of `abctl up`: everything its three parts read, nothing of it needed.

use service::settings::{Settings, SettingsError, Tier};
use std::ffi::OsString;
use std::path::Path;

const KEY: (&str, &str) = ("AB_API_TOKEN", "q8vR2mZx7LdK0pWcY5tHbN3s");
const DATABASE: (&str, &str) = ("AB_DATABASE_URL", "postgres://h/db");
const REDIS: (&str, &str) = ("AB_REDIS_URL", "redis://h");

fn up(env: &[(&str, &str)], args: &[&str]) -> Result<Settings, SettingsError> {
    let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let args = std::iter::once("abctl up").chain(args.iter().copied()).map(OsString::from);
    Settings::load(Tier::OneProcess, env, args)
}

fn refused(result: Result<Settings, SettingsError>) -> String {
    let line = result.expect_err("a refusal").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn nothing_needs_to_be_set() {
    let settings = up(&[], &[]).unwrap();
    assert_eq!(
        (settings.http.port, settings.http.internal_addr.to_string()),
        (8008, "127.0.0.1:9108".into())
    );
    assert_eq!(settings.data.as_deref(), Some(Path::new("abstream-data")));
    assert_eq!(settings.partitions().unwrap(), 1);
    assert!(settings.database.url.is_none() && settings.queue.redis_url.is_none());
    assert_eq!(settings.telemetry.log_level, None, "by the terminal");
}

#[test]
fn what_is_set_is_taken() {
    let flags = ["--data", "/tmp/d", "--partitions", "4", "--port", "0", "--log-level", "debug"];
    let settings = up(&[DATABASE, REDIS], &flags).unwrap();
    assert_eq!((settings.data.as_deref(), settings.http.port), (Some(Path::new("/tmp/d")), 0));
    assert_eq!(settings.partitions().unwrap(), 4);
    assert!(settings.database.url.is_some() && settings.queue.redis_url.is_some());
    assert_eq!(settings.telemetry.log_level.as_deref(), Some("debug"));
    assert!(up(&[], &["--check-config"]).unwrap().check_only);
    assert!(
        refused(up(&[("AB_DATABASE_URL", "sqlite:///tmp/x")], &[]))
            .starts_with("AB_DATABASE_URL: must begin")
    );
}

#[test]
fn production_takes_no_lesser_store_queue_or_key() {
    let production =
        |env: &[(&str, &str)], args: &[&str]| up(&[env, &[("AB_ENV", "production")]].concat(), args);
    assert!(production(&[KEY, DATABASE, REDIS], &[]).is_ok());
    let cases = [
        (production(&[KEY], &[]), "AB_DATABASE_URL: production needs PostgreSQL"),
        (production(&[KEY, REDIS], &[]), "AB_DATABASE_URL: production needs PostgreSQL"),
        (production(&[KEY, DATABASE], &[]), "AB_REDIS_URL: production needs Redis"),
        (up(&[("AB_ENV", "prod"), KEY, DATABASE], &[]), "AB_REDIS_URL: production needs Redis"),
        (production(&[KEY, DATABASE, REDIS], &["--data", "d"]), "AB_DATA: production keeps"),
        (production(&[DATABASE, REDIS], &[]), "AB_API_TOKEN: production needs an ingest key"),
    ];
    for (result, expected) in cases {
        let line = refused(result);
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn replicas_of_a_queue_in_the_process_are_not_promised() {
    let line = refused(up(&[("AB_QUEUE_REPLICAS", "1")], &[]));
    assert!(line.starts_with("AB_QUEUE_REPLICAS: needs AB_REDIS_URL"), "{line}");
    assert!(up(&[("AB_QUEUE_REPLICAS", "1"), REDIS], &[]).is_ok());
}

#[test]
fn tools_have_a_directory_and_partitions_only_when_told() {
    let tool = |env| Settings::for_testing(Tier::Tool, env).unwrap();
    let unset = tool(&[]);
    assert_eq!((unset.data, unset.queue.partitions), (None, None));
    let set = tool(&[("AB_DATA", "d"), ("AB_PARTITIONS", "3")]);
    assert_eq!((set.data.as_deref(), set.queue.partitions), (Some(Path::new("d")), Some(3)));
}
