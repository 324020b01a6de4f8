//! Whatever a command is given, it ends with 0, 1 or 2; what it complains of is one line, without a stack and without a
//! secret.

use crate::deployment::{ADMIN_TOKEN, Deployment, abctl};
use crate::tree;
use std::path::Path;
use std::time::Duration;
use testkit::Process;

const SECRET: &str = "hunter2-never-to-be-shown";
const LIMIT: Duration = Duration::from_secs(120);

/// Those that run until they are told to end, with settings and tests of their own.
const SERVERS: [&str; 2] = ["up", "demo"];
/// Those that ask nobody.
const ALONE: [&str; 1] = ["completions"];

#[test]
fn a_flag_that_there_is_not_is_refused_by_every_command() {
    for leaf in tree::leaves() {
        let mut call = leaf.call();
        call.push("--no-such-flag".into());
        let call: Vec<&str> = call.iter().map(String::as_str).collect();
        let ran = abctl(&call, &[], None);
        let first = ran.error.lines().next().unwrap_or_default();
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}: {}", leaf.name(), ran.error);
        assert!(first.starts_with("error: unexpected argument '--no-such-flag'"), "{}: {first}", leaf.name());
    }
}

/// Runs a command where nothing it could ask is as it should be.
async fn refused(leaf: &tree::Leaf, directory: &Path, environment: &[(&str, String)]) {
    let mut command = Process::of("abctl").unwrap();
    for argument in leaf.call() {
        command = command.arg(argument);
    }
    // It tries again for as long as it is told to.
    if leaf.name() == "simulate" {
        command = command.arg("--patience").arg("1s");
    }
    for (name, value) in environment {
        command = command.env(name, value);
    }
    let mut process = command.env("HOME", directory).spawn().unwrap();
    let code = process.wait(LIMIT).await.unwrap_or_else(|error| panic!("{}: {error}", leaf.name())).code();
    let (out, error) = (process.stdout(), process.stderr());
    let name = leaf.name();
    assert!(!out.contains(SECRET) && !error.contains(SECRET), "{name}: {out}{error}");
    assert!(!error.contains("panicked") && !error.contains("stack backtrace"), "{name}: {error}");
    assert!(matches!(code, Some(1 | 2)), "{name} ended with {code:?}: {out}{error}");
    let said = error.lines().filter(|line| line.starts_with("abctl: ") || line.starts_with("error: "));
    assert!(said.count() <= 1, "{name}: {error}");
    assert!(!(out.is_empty() && error.is_empty()), "{name} says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_every_command_says_so() {
    let nobody = testkit::free_port().unwrap();
    let directory = testkit::temp_dir("refused").unwrap();
    let environment = [
        ("AB_URL", format!("http://127.0.0.1:{nobody}")),
        ("AB_ADMIN_TOKEN", SECRET.to_owned()),
        ("AB_DATABASE_URL", format!("postgres://abstream:{SECRET}@127.0.0.1:{nobody}/abstream")),
        ("AB_REDIS_URL", format!("redis://:{SECRET}@127.0.0.1:{nobody}")),
    ];
    for leaf in tree::leaves() {
        let name = leaf.path.first().unwrap().as_str();
        if !SERVERS.contains(&name) && !ALONE.contains(&name) && name != "config" {
            refused(&leaf, &directory, &environment).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_gets_nobody_anything() {
    let deployment = Deployment::start().await;
    let nobody = testkit::free_port().unwrap();
    let directory = testkit::temp_dir("refused").unwrap();
    let environment = [
        ("AB_URL", deployment.url.clone()),
        ("AB_ADMIN_TOKEN", SECRET.to_owned()),
        ("AB_DATABASE_URL", format!("postgres://abstream:{SECRET}@127.0.0.1:{nobody}/abstream")),
        ("AB_REDIS_URL", format!("redis://:{SECRET}@127.0.0.1:{nobody}")),
    ];
    for leaf in tree::leaves() {
        let name = leaf.path.first().unwrap().as_str();
        if !SERVERS.contains(&name) && !ALONE.contains(&name) && name != "config" {
            refused(&leaf, &directory, &environment).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_not_is_named() {
    let deployment = Deployment::start().await;
    for arguments in [
        ["results", "nothing"].as_slice(),
        &["rebuild", "nothing"],
        &["experiments", "show", "nothing"],
        &["experiments", "start", "nothing"],
        &["experiments", "stop", "nothing"],
        &["experiments", "archive", "nothing"],
    ] {
        let line = deployment.abctl(arguments).failed(1);
        assert!(line.starts_with("abctl: there is no such experiment; "), "{arguments:?}: {line}");
    }
    let database = testkit::postgres().await.url_for(&deployment.database);
    let line = abctl(&["verify", "nothing"], &[("AB_DATABASE_URL", &database)], None).failed(1);
    assert_eq!(line, "abctl: tenant default has no experiment nothing");
    let line = deployment.abctl(&["dead-letters", "show", "999"]).failed(1);
    assert!(line.contains("unknown_dead_letter"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_workers_have_to_do_is_waited_for_and_told() {
    let deployment = Deployment::start().await;
    let key = ("AB_ADMIN_TOKEN", ADMIN_TOKEN);
    let url = ("AB_URL", deployment.url.as_str());
    // No worker runs here.
    let ran = abctl(&["erase-user", "somebody", "--wait", "0s"], &[url, key], None);
    assert_eq!((ran.code, ran.out.as_str(), ran.error.as_str()), (1, "erase-user: queued\n", ""));
    let ran = abctl(&["erase-user", "somebody", "--wait", "0s", "--json"], &[url, key], None);
    assert_eq!((ran.code, ran.out.as_str()), (1, "{\"status\":\"queued\"}\n"));
    let purge = ["purge", "--dead-letters-days", "3", "--wait", "0s"];
    let ran = abctl(&purge, &[url, key], None);
    assert_eq!((ran.code, ran.error.as_str()), (1, ""));
    assert!(ran.out.ends_with("purge: 0 of 16 partitions are done\n"), "{}", ran.out);
    let line = deployment.abctl(&["purge"]).failed(1);
    assert!(line.starts_with("abctl: say how many days to keep: "), "{line}");
    let read = abctl(&purge, &[url, ("AB_API_TOKEN", crate::deployment::API_TOKEN)], None).failed(1);
    assert!(read.contains("missing_scope"), "{read}");
}
