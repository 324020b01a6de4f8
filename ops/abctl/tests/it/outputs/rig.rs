//! A deployment in one process, files to be sent to it, somebody who takes deliveries; and what commands said.

use super::varying::{narrow, replaced};
use crate::deployment::without_progress;
use crate::tree;
use crate::up::rig::{Up, command};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const TOKEN: &str = "outputs-admin-token-0123456789";
const PASSWORD: &str = "hunter2-never-to-be-shown";
/// In settings and URLs of the commands.
pub const SECRETS: [&str; 2] = [TOKEN, PASSWORD];

/// The last row is refused.
const EVENTS: &str = "\
type,user_id,experiment,variation,metric,value,idempotency_key,occurred_at
exposure,ann,load,a,,,,2020-02-01T10:00:00Z
exposure,bob,load,b,,,,2020-02-01T10:00:00Z
exposure,cay,load,b,,,,2020-02-01T10:30:00Z
exposure,fay,load,a,,,,2020-02-01T10:30:00Z
conversion,ann,,,purchase,19.90,order-1,2020-02-01T11:00:00Z
conversion,bob,,,purchase,5,order-2,2020-02-02T11:00:00Z
conversion,cay,,,purchase,much,order-3,2020-02-02T11:00:00Z
";

pub struct Rig {
    up: Option<Up>,
    /// In which commands run: `data` is the deployment's.
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
    transcripts: BTreeMap<String, String>,
}

impl Rig {
    pub async fn start() -> Rig {
        let dir = testkit::temp_dir("outputs").unwrap();
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        fs::write(dir.join("events.csv"), EVENTS).unwrap();
        for user in ["dan", "eve"] {
            // One more than is kept of a user: it becomes a dead letter.
            let line =
                |n| format!("{{\"user_id\":\"{user}\",\"value\":{n},\"covariate_name\":\"c{n:02}\"}}\n");
            fs::write(dir.join(format!("{user}.ndjson")), (0..21).map(line).collect::<String>()).unwrap();
        }
        let (up, addr) = command(&data);
        let up = up.env("AB_ADMIN_TOKEN", TOKEN).env("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8");
        let up = Up::of(up, addr, &data).await;
        let environment =
            vec![("AB_URL", up.url()), ("AB_ADMIN_TOKEN", TOKEN.to_owned()), ("AB_DATA", "data".to_owned())];
        Rig { up: Some(up), dir, environment, transcripts: BTreeMap::new() }
    }

    pub fn url(&self) -> String {
        self.environment[0].1.clone()
    }

    /// Settings of stores that nobody serves.
    pub fn nobody(&self) -> Vec<(&'static str, String)> {
        let port = || testkit::free_port().unwrap();
        vec![
            ("AB_DATABASE_URL", format!("postgres://ab:{PASSWORD}@127.0.0.1:{}/ab", port())),
            ("AB_REDIS_URL", format!("redis://:{PASSWORD}@127.0.0.1:{}", port())),
        ]
    }

    pub fn given() -> Vec<(&'static str, String)> {
        vec![
            ("AB_DATABASE_URL", format!("postgres://ab:{PASSWORD}@db.internal/ab")),
            ("AB_REDIS_URL", format!("redis://:{PASSWORD}@redis.internal:6379")),
            ("AB_PARTITIONS", "32".to_owned()),
        ]
    }

    /// With the deployment's settings.
    pub fn run(&mut self, arguments: &[&str]) {
        let environment = self.environment.clone();
        self.with(&environment, arguments);
    }

    /// As a table and as JSON.
    pub fn both(&mut self, arguments: &[&str]) {
        self.run(arguments);
        self.run(&[arguments, &["--json"]].concat());
    }

    pub fn with(&mut self, environment: &[(&str, String)], arguments: &[&str]) {
        let mut command = Command::new(testkit::bin("abctl").unwrap());
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        let output = command.output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let called = |leaf: &tree::Leaf| {
            let words = arguments.iter().take(leaf.path.len());
            words.copied().eq(leaf.path.iter().map(String::as_str))
        };
        let leaf = tree::leaves().into_iter().find(called).unwrap().name();
        let text = self.transcripts.entry(leaf.clone()).or_default();
        let separator = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{separator}$ abctl {}\n", replaced(&arguments.join(" "))));
        let shown = match arguments.contains(&"--json") {
            true => pretty(&leaf, &out),
            false => table(&leaf, &out),
        };
        text.push_str(&replaced(&shown));
        let error = without_progress(&error);
        error.lines().for_each(|line| text.push_str(&format!("! {}\n", replaced(line))));
        match output.status.code().unwrap() {
            0 => {}
            code => text.push_str(&format!("exit {code}\n")),
        }
    }

    /// The deployment ends; its directory stays.
    pub async fn end(&mut self) {
        self.up.take().unwrap().stop().await;
        self.environment.retain(|(name, _)| *name == "AB_DATA");
    }

    /// By command.
    pub fn transcripts(self) -> BTreeMap<String, String> {
        fs::remove_dir_all(&self.dir).unwrap();
        self.transcripts
    }
}

/// Migrations and settings become more: of the former the first is shown, of the latter those that were given.
fn is_shown(leaf: &str, row: &str) -> bool {
    match leaf {
        "migrate status" | "migrate up" => {
            let number = row.split_whitespace().next().and_then(|cell| cell.parse::<u32>().ok());
            number.is_none_or(|version| version == 1)
        }
        "config" => !row.contains("  default"),
        _ => true,
    }
}

fn table(leaf: &str, out: &str) -> String {
    let rows: String = out.split_inclusive('\n').filter(|row| is_shown(leaf, row)).collect();
    match leaf {
        "migrate status" | "migrate up" => narrow(&versions(&rows)),
        "config" | "doctor" => narrow(&rows),
        _ => rows,
    }
}

/// The last line of `migrate`, whatever the latest version is.
fn versions(text: &str) -> String {
    let number = |word: &str| word.trim_end_matches(',').parse::<u32>().is_ok();
    let line = |line: &str| match line.strip_prefix("schema: ") {
        None => line.to_owned() + "\n",
        Some(said) => {
            let word = |word| if number(word) { "<n>" } else { word };
            format!("schema: {}\n", said.split(' ').map(word).collect::<Vec<_>>().join(" "))
        }
    };
    text.lines().map(line).collect()
}

/// Each line is a document; shown with line ends, so that a difference is one of a line.
fn pretty(leaf: &str, out: &str) -> String {
    let mut text = String::new();
    for line in out.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if leaf.starts_with("migrate ") {
            value["migrations"].as_array_mut().unwrap().truncate(1);
            (value["version"], value["wanted"]) = ("<n>".into(), "<n>".into());
        }
        if leaf == "config" {
            value["settings"].as_array_mut().unwrap().retain(|setting| setting["source"] != "default");
        }
        text.push_str(&serde_json::to_string_pretty(&value).unwrap());
        text.push('\n');
    }
    text
}
