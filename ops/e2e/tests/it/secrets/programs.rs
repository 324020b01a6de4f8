//! What programs print: of their settings, of stores that refuse them, of settings that are wrong.

use super::Said;
use super::given::{Given, SECRETS, as_files, as_yaml};
use std::path::Path;
use std::process::Command;

const TIERS: [&str; 3] = ["analyzer", "ingest-worker", "ingest-gateway"];
/// Ones that look at settings and stores.
const TOOLS: [&[&str]; 10] = [
    &["config"],
    &["config", "--json"],
    &["config", "--of", "gateway"],
    &["doctor"],
    &["doctor", "--json"],
    &["accounting"],
    &["migrate", "status"],
    &["keys", "list"],
    &["webhooks", "list"],
    &["workspace", "export"],
];

/// Whether it went well; both outputs are kept.
fn run(said: &mut Said, program: &str, arguments: &[&str], given: &Given, extra: &[(&str, &str)]) -> bool {
    let mut command = Command::new(testkit::bin(program).unwrap());
    command.env_clear().envs(given.iter().cloned()).envs(extra.iter().copied()).args(arguments);
    let ended = command.output().unwrap();
    let text = [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(!text.is_empty(), "{program} {arguments:?} says nothing");
    said.0.push((format!("{program} {arguments:?} with {extra:?}"), text));
    ended.status.success()
}

fn check(said: &mut Said, tier: &str, given: &Given, extra: &[(&str, &str)]) -> bool {
    run(said, tier, &["--check-config"], given, extra)
}

/// While everything is well, whichever way the settings are given.
pub fn look(said: &mut Said, directory: &Path, settings: &Given) {
    for given in [settings, &as_files(directory, settings), &as_yaml(directory, settings)] {
        for tier in TIERS {
            assert!(check(said, tier, given, &[]), "{:?}", said.0.last());
        }
        for tool in TOOLS {
            // The address of a webhook is shown to whoever may see it.
            let place = said.0.len();
            run(said, "abctl", tool, given, &[("AB_URL", "http://127.0.0.1:1")]);
            assert!(
                !tool.contains(&"list") || said.0[place].1.contains("127.0.0.1:1"),
                "{:?}",
                said.0[place]
            );
        }
    }
    let url = ("AB_URL", "http://me:hidden-password@127.0.0.1:1");
    assert!(run(said, "abctl", &["config"], settings, &[url]));
    assert!(!run(said, "abctl", &["keys", "list"], settings, &[url]));
}

/// While no store takes them.
pub fn are_refused(said: &mut Said, settings: &Given) {
    for tier in TIERS {
        let production = [("AB_ENV", "production"), ("AB_STARTUP_TIMEOUT", "1s")];
        assert!(!check(said, tier, settings, &production), "{tier} starts without stores");
    }
    for tool in [&["doctor"][..], &["doctor", "--json"], &["accounting"], &["migrate", "status"]] {
        assert!(!run(said, "abctl", tool, settings, &[("AB_STARTUP_TIMEOUT", "1s")]), "{tool:?}");
    }
}

/// Settings that are wrong.
pub fn refuse(said: &mut Said, settings: &Given) {
    for tier in TIERS {
        for extra in [("AB_PARTITIONS", "3"), ("AB_ENV", "production")] {
            check(said, tier, settings, &[extra, ("AB_STARTUP_TIMEOUT", "1s")]);
        }
    }
    let production = [("AB_ENV", "production"), ("AB_STARTUP_TIMEOUT", "1s")];
    for (tier, name, value) in [
        ("ingest-worker", "AB_DATABASE_URL", "hidden"),
        ("ingest-worker", "AB_DATABASE_URL", "hidden://user:hidden@host/db"),
        ("ingest-worker", "AB_DATABASE_URL", "postgres://user:hidden@127.0.0.1:port/db"),
        ("ingest-worker", "AB_DATABASE_URL", "postgres://user:hid/den@127.0.0.1:1/db?password=hidden"),
        ("ingest-worker", "AB_DATABASE_URL", "postgres://user:hidden@127.0.0.1:1/db?sslmode=maybe"),
        ("ingest-worker", "AB_DATABASE_URL", "postgres://user:hidden@127.0.0.1:1/db"),
        ("ingest-gateway", "AB_REDIS_URL", "hidden"),
        ("ingest-gateway", "AB_REDIS_URL", "redis://user:hidden@127.0.0.1:port/0"),
        ("ingest-gateway", "AB_REDIS_URL", "redis://user:hidden@127.0.0.1:1/0"),
        ("ingest-gateway", "AB_REDIS_URL", "redis://:hidden@127.0.0.1:1/first"),
        ("ingest-gateway", "AB_REDIS_URL", "redis+cluster://user:hidden@127.0.0.1:1,127.0.0.1:2"),
        ("analyzer", "AB_WORKSPACE_SIGNING_KEY", "hidden"),
        ("ingest-gateway", "AB_API_KEYS", "hidden"),
        ("ingest-gateway", "AB_API_KEYS", "hidden-0123456789-abcdefgh:default:fly"),
        ("ingest-gateway", "AB_API_KEYS", "sha256:hidden:default:events"),
        ("ingest-gateway", "AB_API_TOKEN", "hidden;key"),
        ("ingest-gateway", "AB_API_TOKEN", "hidden"),
        ("ingest-gateway", "AB_ADMIN_TOKEN", super::INGEST),
    ] {
        assert!(SECRETS.contains(&name));
        let refused = !check(said, tier, settings, &[(name, value), production[0], production[1]]);
        assert!(refused, "{name}={value} is taken");
        let (_, text) = said.0.last().unwrap();
        assert!(text.lines().last().unwrap().contains(name), "{name} is not named: {text}");
    }
}
