//! What every command prints, word for word, as a reader sees it: tables, and JSON with line ends. Whole definitions and
//! statistics have goldens and comparisons of their own (`results`, `commands`), and are left out here.

mod rig;
mod varying;

use crate::deployment::takes_deliveries;
use crate::golden::assert_reviewed;
use crate::tree;
use rig::Rig;
use std::collections::BTreeMap;

/// Tested where they are: they print scripts, or run until they are told to end.
const ELSEWHERE: [&str; 3] = ["up", "demo", "completions"];

const METRICS: [&str; 4] = ["--metric", "purchase:proportion", "--metric", "revenue=purchase:mean"];
const ARMS: [&str; 4] = ["--variation", "a", "--variation", "b"];

fn create<'a>(key: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["experiments", "create", key], ARMS.as_slice(), METRICS.as_slice(), more].concat()
}

/// Everything in one life of a deployment, in this order.
async fn told(rig: &mut Rig) {
    let hook = takes_deliveries();
    rig.run(&["experiments", "list"]);
    rig.run(&create("load", &["--start"]));
    rig.run(&create("load", &[]));
    rig.run(&create("later", &[]));
    rig.run(&["experiments", "start", "later"]);
    rig.run(&["experiments", "stop", "later"]);
    rig.run(&["experiments", "archive", "later"]);
    rig.run(&["experiments", "list"]);
    rig.run(&["experiments", "show", "load"]);
    rig.run(&["experiments", "show", "nothing"]);

    rig.run(&["replay", "events.csv"]);
    rig.run(&["replay", "events.csv", "--json"]);
    rig.run(&["replay", "events.csv", "--dry-run"]);
    rig.run(&["replay", "missing.csv"]);
    let told = ["replay", "dan.ndjson", "eve.ndjson", "--kind", "pre-period", "--experiment", "load"];
    rig.run(&[told.as_slice(), &["--batch", "21", "--concurrency", "1"]].concat());
    rig.run(&["results", "later"]);
    rig.run(&["results", "nothing"]);
    for (kind, format) in [("units", "csv"), ("conversions", "ndjson")] {
        rig.run(&["export", "load", "--kind", kind, "--format", format]);
    }
    rig.run(&["export", "load", "--output", "units.csv"]);
    rig.run(&["export", "load", "--output", "some.csv", "--limit", "1", "--json"]);
    rig.both(&["accounting"]);
    rig.both(&["top", "--once", "--every", "100ms"]);
    rig.both(&["verify", "load"]);
    rig.run(&["verify", "nothing"]);
    rig.run(&["rebuild", "load", "--wait", "60s"]);
    rig.both(&["purge", "--conversions-days", "30", "--audit-days", "30", "--dry-run"]);
    rig.run(&["purge", "--conversions-days", "30"]);
    rig.both(&["erase-user", "fay"]);

    rig.run(&["workspace", "export", "--output", "definitions.json"]);
    rig.both(&["workspace", "validate", "definitions.json"]);
    rig.both(&["workspace", "import", "definitions.json", "--dry-run"]);
    rig.run(&["workspace", "import", "definitions.json"]);
    rig.run(&["workspace", "import", "events.csv"]);

    rig.both(&["keys", "list"]);
    rig.run(&["keys", "create", "nightly job", "--scope", "read,events"]);
    rig.run(&["keys", "create", "page", "--scope", "events", "--json"]);
    rig.run(&["keys", "revoke", "1"]);
    rig.run(&["keys", "revoke", "2", "--json"]);
    rig.both(&["keys", "list"]);
    rig.both(&["webhooks", "list"]);
    rig.run(&["webhooks", "create", &hook, "--event", "decision_changed"]);
    rig.run(&["webhooks", "create", &hook, "--event", "srm_mismatch", "--json"]);
    rig.both(&["webhooks", "test", "1", "--wait", "60s"]);
    rig.both(&["webhooks", "deliveries", "1"]);
    rig.both(&["webhooks", "list"]);
    rig.run(&["webhooks", "delete", "1"]);
    rig.run(&["webhooks", "delete", "2", "--json"]);

    rig.both(&["dead-letters", "list"]);
    rig.both(&["dead-letters", "show", "1"]);
    rig.run(&["dead-letters", "show", "17"]);
    rig.both(&["audit", "--action", "key."]);
    rig.run(&["audit", "--action", "retention."]);
    rig.run(&["audit", "--csv", "--action", "key."]);
    let url = rig.url();
    let simulate = ["simulate", "--events", "400", "--load", "plain", "--wait", "30", "--results-url", &url];
    rig.run(&simulate);
    rig.run(&[simulate.as_slice(), &["--json"]].concat());
    rig.run(&["dead-letters", "drop", "2", "17"]);
    rig.run(&["dead-letters", "drop", "2", "--json"]);
    // It comes back under another number, sooner or later.
    rig.run(&["dead-letters", "redrive", "1"]);
    rig.run(&["dead-letters", "redrive", "1", "--json"]);

    rig.end().await;
    rig.both(&["migrate", "status"]);
    rig.run(&["migrate", "up"]);
    let elsewhere = rig.nobody();
    rig.with(&elsewhere, &["doctor"]);
    rig.with(&elsewhere, &["doctor", "--json"]);
    let given = Rig::given();
    rig.with(&given, &["config", "--of", "worker"]);
    rig.with(&given, &["config", "--of", "worker", "--json"]);
    rig.with(&[("AB_DATABASE_URL", "mysql://db".to_owned())], &["config", "--of", "worker"]);
    let postgres = testkit::postgres().await;
    for json in [None, Some("--json")] {
        let url = postgres.url_for(&postgres.create_database().await.unwrap());
        let command = ["migrate-store", "--from", "data"];
        rig.with(&[("AB_DATABASE_URL", url)], &command.into_iter().chain(json).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_as_reviewed() {
    let mut rig = Rig::start().await;
    told(&mut rig).await;
    let transcripts = rig.transcripts();
    assert_reviewed("output", &transcripts);
    let leaves = tree::leaves();
    let commands = leaves.iter().map(tree::Leaf::name).filter(|name| !ELSEWHERE.contains(&name.as_str()));
    let lacking: Vec<String> = commands.filter(|name| !transcripts.contains_key(name)).collect();
    assert_eq!(lacking, Vec::<String>::new(), "commands whose output nobody looks at");
    shows_no_secret(&transcripts);
}

fn shows_no_secret(transcripts: &BTreeMap<String, String>) {
    for (name, text) in transcripts {
        for secret in rig::SECRETS {
            assert!(!text.contains(secret), "{name}: {text}");
        }
        for stack in ["panicked", "stack backtrace", ".rs:"] {
            assert!(!text.contains(stack), "{name}: {text}");
        }
    }
}
