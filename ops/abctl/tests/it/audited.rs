//! Every route of the API document that changes something leaves an entry in the audit log: who, what, under which
//! request id.

use crate::up::rig::{LIMIT, Up, command, definition};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const OPERATIONS: &str = include_str!("../../../../shared/service/src/openapi/operations.json");

/// Routes that are no reading, and leave no entry: why.
const NOT_AUDITED: [(&str, &str); 6] = [
    ("POST /api/v1/experiments/{id}/assign", "asks a question"),
    ("POST /api/v1/workspace/validate", "says what importing would do"),
    ("POST /api/v1/stats/power", "reckons"),
    ("POST /api/v1/stats/srm", "reckons"),
    ("POST /api/v1/stats/multiple-testing", "reckons"),
    ("POST /api/v1/webhooks/{webhook}/test", "is in the log of deliveries"),
];
/// Events are data, of which the books give account.
const OF_EVENTS: [&str; 2] = ["Ingest", "SDKs"];

#[derive(Deserialize)]
struct Operation {
    tag: String,
}

/// A change: its route, where it goes, what it says, and the action that is told of it.
type Change = (&'static str, &'static str, Value, &'static str);

/// Each works on what those before it have left.
fn changes(bundle: Value) -> Vec<Change> {
    let mut renamed = definition("one");
    renamed["name"] = "One".into();
    let metric = |key: &str| json!({"metrics": [{"key": key, "type": "proportion"}]});
    vec![
        ("POST /api/v1/experiments", "experiments", definition("one"), "experiment.create"),
        ("PUT /api/v1/experiments/{id}", "experiments/one", renamed, "experiment.change"),
        ("PATCH /api/v1/experiments/{id}", "experiments/one", metric("visit"), "experiment.change"),
        ("POST /api/v1/experiments/{id}/start", "experiments/one/start", Value::Null, "experiment.status"),
        (
            "POST /api/v1/experiments/{id}/rebuild",
            "experiments/one/rebuild",
            Value::Null,
            "experiment.rebuild",
        ),
        ("POST /api/v1/experiments/{id}/stop", "experiments/one/stop", Value::Null, "experiment.status"),
        (
            "POST /api/v1/experiments/{id}/archive",
            "experiments/one/archive",
            Value::Null,
            "experiment.status",
        ),
        (
            "POST /api/v1/experiments/{id}/restore",
            "experiments/one/restore",
            Value::Null,
            "experiment.restore",
        ),
        ("DELETE /api/v1/experiments/{id}", "experiments/one", Value::Null, "experiment.delete"),
        ("POST /api/v1/workspace/import", "workspace/import", bundle, "experiment.import"),
        ("POST /api/v1/admin/users/erase", "admin/users/erase", json!({"user_id": "dan"}), "user.erase"),
        (
            "POST /api/v1/admin/retention/purge",
            "admin/retention/purge",
            json!({"audit_days": 30}),
            "retention.purge",
        ),
        ("POST /api/v1/dead-letters/drop", "dead-letters/drop", json!({"ids": [1]}), "dead_letters.drop"),
        (
            "POST /api/v1/dead-letters/redrive",
            "dead-letters/redrive",
            json!({"ids": [2]}),
            "dead_letters.redrive",
        ),
        ("POST /api/v1/keys", "keys", json!({"name": "k", "scopes": ["read"]}), "key.create"),
        ("DELETE /api/v1/keys/{key}", "keys/1", Value::Null, "key.revoke"),
        ("POST /api/v1/webhooks", "webhooks", json!({"url": "http://127.0.0.1:9/hook"}), "webhook.create"),
        ("DELETE /api/v1/webhooks/{webhook}", "webhooks/1", Value::Null, "webhook.delete"),
    ]
}

#[test]
fn every_changing_route_of_the_document_is_here() {
    let operations: BTreeMap<String, Operation> = serde_json::from_str(OPERATIONS).unwrap();
    let changing = operations.iter().filter(|(route, operation)| {
        !route.starts_with("GET ") && !OF_EVENTS.contains(&operation.tag.as_str())
    });
    let documented: BTreeSet<&str> = changing.map(|(route, _)| route.as_str()).collect();
    let tested = changes(Value::Null);
    let known = tested.iter().map(|change| change.0).chain(NOT_AUDITED.map(|(route, _)| route));
    assert_eq!(documented, known.collect(), "what is done here must be told, or said to be no change");
}

async fn send(up: &Up, (route, path, body, action): &Change) -> u16 {
    let method = route.split(' ').next().unwrap();
    let json = [("x-request-id", *path), ("content-type", "application/json")];
    let id = path.replace('/', ".") + "." + action;
    let (headers, text) = match body {
        Value::Null => (&json[..1], String::new()),
        body => (&json[..], body.to_string()),
    };
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, if *name == "x-request-id" { id.as_str() } else { value }))
        .collect();
    let answer = up.admin().request(method, &format!("/api/v1/{path}"), &headers, text).await.unwrap();
    assert!((200..300).contains(&answer.status), "{route}: {}", answer.text());
    answer.status
}

/// Two, each of a user of whom one value too many is told.
async fn letters(up: &Up) {
    up.create().await;
    for user in ["ann", "bob"] {
        let value = |n| json!({"user_id": user, "value": 1, "covariate_name": format!("c{n}")});
        let told = json!({"pre_period_values": (0..21).map(value).collect::<Vec<_>>()});
        let path = "/api/v1/experiments/load/pre-period";
        let answer = up.admin().post_json(path, &told).await.unwrap();
        assert_eq!(answer.json().unwrap()["dead_lettered"], 1, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_with_who_and_what() {
    let other = Up::start(&testkit::temp_dir("audited").unwrap()).await;
    let created = other.admin().post_json("/api/v1/experiments", &definition("theirs")).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let bundle = other.admin().get("/api/v1/workspace/export").await.unwrap().json().unwrap();
    other.end().await;

    let data = testkit::temp_dir("audited").unwrap();
    let (process, addr) = command(&data);
    let up = Up::of(process.env("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"), addr, &data).await;
    letters(&up).await;
    let changes = changes(bundle);
    for change in &changes {
        let status = send(&up, change).await;
        // Asking again tells when it is done.
        let done = async || status != 202 || change.3 != "user.erase" || send(&up, change).await == 200;
        testkit::eventually("the user is erased", LIMIT, done).await.unwrap();
    }
    let log = up.admin().get("/api/v1/audit?limit=200").await.unwrap().json().unwrap();
    let entries = log["items"].as_array().unwrap();
    for (route, path, _, action) in &changes {
        let id = path.replace('/', ".") + "." + action;
        let of = entries.iter().find(|entry| entry["request_id"] == id && entry["action"] == *action);
        let entry = of.unwrap_or_else(|| panic!("{route} leaves no entry {action}: {log:#}"));
        let says = |field: &str| entry[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(says("actor") && says("subject") && says("at"), "{route}: {entry}");
    }
    up.stop().await;
}
