//! Tenants do not see each other: not a row, a count or a status, and not whether a thing exists.
//!
//! Two proofs. **Nobody is disturbed**: tenants `a` and `c` do the same, `b` does something else in between, all with
//! the same experiment keys, users, idempotency keys and batches; whatever `a` is told, `c` is told, who would be told
//! something else if anything were shared. **Nothing shows**: on every route of the API document, what is another
//! tenant's is answered exactly as what nobody has, and nothing has happened to it afterwards.

use crate::support::outcome;
use e2e::{Deployment, Setup, System, patience};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::http::{Client, Response};
use testkit::schema::Document;
use uuid::Uuid;

const TENANTS: [&str; 3] = ["a", "b", "c"];
/// Random scripts, each on experiments of its own.
const SCRIPTS: usize = 6;

/// A request with events; users, keys and batches are few, so that they meet.
#[derive(Debug, Clone)]
struct Step {
    what: u8,
    user: u8,
    variation: u8,
    value: u8,
    key: Option<u8>,
    batch: Option<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    let small = proptest::option::of(0u8..3);
    (0u8..6, 0u8..4, 0u8..2, 0u8..3, small.clone(), small).prop_map(
        |(what, user, variation, value, key, batch)| Step { what, user, variation, value, key, batch },
    )
}

struct Tenant {
    gateway: Client,
    analyzer: Client,
}

impl Tenant {
    fn of(system: &System, name: &str) -> Tenant {
        let key = format!("all-of-{name}-key");
        Tenant {
            gateway: Client::at(system.gateway_addr()).bearer(&key),
            analyzer: Client::at(system.analyzer_addr()).bearer(&key),
        }
    }

    async fn create(&self, key: &str) -> i64 {
        let definition = json!({
            "key": key, "name": format!("name of {key}"), "variations": [{"key": "x"}, {"key": "y"}],
            "metrics": [{"key": "buy", "type": "mean"}],
        });
        let created = patience::post_json(&self.analyzer, "/api/v1/experiments", &definition).await.unwrap();
        assert!(matches!(created.status, 200 | 201), "{}", created.text());
        let path = format!("/api/v1/experiments/{key}/start");
        let started = patience::post(&self.analyzer, &path, &[], "").await.unwrap();
        assert_eq!(started.status, 200, "{}", started.text());
        created.json().unwrap()["id"].as_i64().unwrap()
    }

    /// What the tenant is told, once everything is applied.
    async fn send(&self, experiment: &str, step: &Step) -> Value {
        let Step { what, user, variation, value, key, batch } = step;
        let mut item =
            json!({"user_id": format!("user-{user}"), "occurred_at": 1_700_000_000 + i64::from(*value)});
        if let Some(key) = key {
            item["idempotency_key"] = json!(format!("order-{key}"));
        }
        let (path, list) = match what {
            0 | 1 => {
                item["variation_index"] = json!(variation);
                ("exposures", "exposures")
            }
            2 | 3 => {
                item["metric"] = json!("buy");
                item["value"] = json!(value);
                ("conversions", "conversions")
            }
            4 => {
                item = json!({"user_id": item["user_id"], "stratum": format!("stratum-{value}")});
                ("strata", "strata")
            }
            _ => {
                item = json!({"user_id": item["user_id"], "excluded": value == &0});
                ("exclusions", "exclusions")
            }
        };
        let batch = batch.map(|batch| format!("{experiment}-batch-{batch}"));
        let headers: Vec<_> = batch.as_deref().map(|batch| ("idempotency-key", batch)).into_iter().collect();
        let path = format!("/api/v1/experiments/{experiment}/{path}");
        let answer = outcome(&self.gateway, &path, &headers, json!({list: [item]}).to_string()).await;
        told(&answer)
    }

    /// Everything there is to see of an experiment and of the tenant.
    async fn sees(&self, experiment: &str) -> BTreeMap<String, Value> {
        let one = format!("/api/v1/experiments/{experiment}");
        let mut paths: Vec<String> =
            ["", "/ingestion", "/live-stats", "/decision", "/timeseries", "/history"]
                .map(|rest| format!("{one}{rest}"))
                .into();
        paths.extend((0..4).map(|user| format!("{one}/users/user-{user}")));
        paths.extend(
            ["experiments", "accounting", "dead-letters", "audit", "keys"].map(|p| format!("/api/v1/{p}")),
        );
        let mut seen = BTreeMap::new();
        for path in paths {
            let answer = self.analyzer.get(&path).await.unwrap();
            seen.insert(path, told(&answer));
        }
        seen
    }
}

/// Status and body, without what differs from one time, or one row, to the next.
fn told(answer: &Response) -> Value {
    let mut body = answer.json().unwrap_or(Value::Null);
    level(&mut body);
    json!([answer.status, body])
}

fn level(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["id", "request_id", "batch_id", "actor", "subject", "partition", "unit"] {
                members.remove(name);
            }
            members.values_mut().for_each(level);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(level);
            // What occurred at the same instant is in the order of keys, which may be ours.
            items.sort_by_cached_key(Value::to_string);
        }
        // A key that is made of the batch's id.
        Value::String(text) if text.starts_with('@') => *value = Value::Null,
        // An instant or a day of ours; those of the scripts are in 2023.
        Value::String(text)
            if text.starts_with("20")
                && !text.starts_with("2023")
                && text.as_bytes().get(4) == Some(&b'-') =>
        {
            *value = Value::Null;
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn start() -> System {
    let keys = TENANTS.map(|name| format!("all-of-{name}-key:{name}:events,ingest,read,admin")).join(";");
    let setup = Setup { partitions: 4, environment: vec![("AB_API_KEYS", keys)], ..Setup::default() };
    System::start(setup).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_tenant_does_another_is_told_the_same_as_without_it() {
    let system = start().await;
    let [a, b, c] = TENANTS.map(|name| Tenant::of(&system, name));
    let mut runner = TestRunner::default();
    for n in 0..SCRIPTS {
        let scripts = (vec(step(), 5..20), vec(step(), 5..20)).new_tree(&mut runner).unwrap().current();
        let (ours, theirs) = &scripts;
        let key = format!("exp-{n}");
        for tenant in [&b, &a, &c] {
            tenant.create(&key).await;
        }
        for at in 0..ours.len().max(theirs.len()) {
            // Before and after, so that whoever shares with `b` does so in two ways.
            if let Some(step) = theirs.get(at) {
                b.send(&key, step).await;
            }
            if let Some(step) = ours.get(at) {
                let (told_a, told_c) = (a.send(&key, step).await, c.send(&key, step).await);
                assert_eq!(told_a, told_c, "{step:?} of {scripts:#?}");
                assert_eq!(told_a[0], 200, "{told_a} {step:?}");
            }
        }
        let (seen_a, seen_c) = (a.sees(&key).await, c.sees(&key).await);
        for (path, seen) in &seen_a {
            assert_eq!(Some(seen), seen_c.get(path), "{path} of {scripts:#?}");
        }
        // What is compared is there.
        let recorded = &seen_a[&format!("/api/v1/experiments/{key}/ingestion")][1]["recorded"];
        assert!(recorded.as_u64().unwrap() > 0, "{recorded} of {scripts:#?}");
    }
    system.stop().await.unwrap();
}

/// A thing of tenant `a`, and the same that nobody has: what stands in a path instead of a parameter.
struct Thing {
    parameter: &'static str,
    theirs: String,
    nobodys: String,
}

/// One of each thing that has an id in some path.
async fn things(system: &System, a: &Tenant) -> Vec<Thing> {
    let id = a.create("secret-of-a").await;
    let sent = json!({"exposures": [{"user_id": "user-of-a", "variation_index": 1}]});
    let named = [("x-request-id", "request-of-a")];
    let path = "/api/v1/experiments/secret-of-a/exposures";
    let receipt = outcome(&a.gateway, path, &named, sent.to_string()).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    let key = json!({"name": "key-of-a", "scopes": ["read"]});
    let key = patience::post_json(&a.analyzer, "/api/v1/keys", &key).await.unwrap().json().unwrap();
    let hook = json!({"url": "http://hook-of-a.example/"});
    let hook = a.analyzer.post_json("/api/v1/webhooks", &hook).await.unwrap();
    assert_eq!(hook.status, 201, "{}", hook.text());
    let letter = "INSERT INTO dead_letters (tenant, experiment, partition, entry, request_id, reason, detail, events, payload)
                  VALUES ('a', 0, 0, '1-0', 'r', 'letter-of-a', '', 1, '')";
    system.postgres.execute(&system.database, letter).await.unwrap();
    let letters = a.analyzer.get("/api/v1/dead-letters").await.unwrap().json().unwrap();
    let number =
        |value: &Value| value.as_i64().map_or_else(|| value.as_str().unwrap().to_owned(), |n| n.to_string());
    let thing =
        |parameter, theirs: String, nobodys: &str| Thing { parameter, theirs, nobodys: nobodys.to_owned() };
    let batch = number(&receipt.json().unwrap()["batch_id"]);
    vec![
        thing("id", "secret-of-a".into(), "secret-of-x"),
        thing("id", id.to_string(), "987654321"),
        thing("batch", batch, &Uuid::now_v7().to_string()),
        thing("letter", number(&letters["items"][0]["id"]), "987654321"),
        thing("key", number(&key["id"]), "987654321"),
        thing("webhook", number(&hook.json().unwrap()["id"]), "987654321"),
    ]
}

/// A body the route would take, as far as that matters before the thing is looked for.
fn body_of(route: &str) -> Value {
    match route.rsplit('/').next().unwrap_or_default() {
        "exposures" => json!({"exposures": [{"user_id": "u", "variation_index": 0}]}),
        "conversions" => json!({"conversions": [{"user_id": "u", "metric": "buy"}]}),
        "pre-period" => json!({"pre_period_values": [{"user_id": "u", "value": 1}]}),
        "strata" => json!({"strata": [{"user_id": "u", "stratum": "s"}]}),
        "exclusions" => json!({"exclusions": [{"user_id": "u"}]}),
        "holdout" => json!({"holdout": [{"user_id": "u"}]}),
        "assign" => json!({"user_id": "u"}),
        "{id}" if route.starts_with("PUT") => {
            json!({"key": "secret-of-a", "variations": [{"key": "x"}, {"key": "y"}], "metrics": [{"key": "buy", "type": "mean"}]})
        }
        "{id}" if route.starts_with("PATCH") => json!({"name": "theirs now"}),
        "redrive" | "drop" => json!({"ids": [1, 2, 3]}),
        "erase" => json!({"user_id": "user-of-a"}),
        _ => json!({}),
    }
}

/// Status, headers that say something, and body, with the thing's own name taken out.
async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    body: &Value,
    name: &str,
) -> (u16, Option<String>, String) {
    let headers = [("content-type", "application/json"), ("x-request-id", "asked")];
    let body = if method == "GET" { String::new() } else { body.to_string() };
    let answer = patience::request(client, method, path, &headers, body).await.unwrap();
    let kind = answer.header("content-type").map(str::to_owned);
    (answer.status, kind, answer.text().replace(name, "THING"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_every_route_what_is_anothers_is_answered_as_what_nobody_has() {
    let system = start().await;
    let [a, b, _] = TENANTS.map(|name| Tenant::of(&system, name));
    let things = things(&system, &a).await;
    b.create("same-key").await;
    a.create("same-key").await;
    let before = a.sees("secret-of-a").await;
    let document = a.analyzer.get("/openapi.json").await.unwrap().text();
    let mut asked = 0;
    for route in Document::read(&document).unwrap().routes() {
        let (method, template) = route.split_once(' ').unwrap();
        let body = body_of(&route);
        let parameters: Vec<&str> =
            template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let known = ["id", "batch", "letter", "key", "webhook", "user"];
        assert!(parameters.iter().all(|name| known.contains(name)), "{route}: make one of tenant a's above");
        for thing in things.iter().filter(|thing| parameters.contains(&thing.parameter)) {
            let named = |of: &str| {
                let path =
                    template.replace(&format!("{{{}}}", thing.parameter), of).replace("{user}", "user-of-a");
                // Whoever asks for a batch says where it was sent.
                if thing.parameter == "batch" { format!("{path}?request=request-of-a") } else { path }
            };
            for client in [&b.gateway, &b.analyzer] {
                let theirs = ask(client, method, &named(&thing.theirs), &body, &thing.theirs).await;
                let nobodys = ask(client, method, &named(&thing.nobodys), &body, &thing.nobodys).await;
                assert_eq!(theirs, nobodys, "{route}: {}", thing.theirs);
                assert_eq!(theirs.0, 404, "{route}: {theirs:?}");
                asked += 1;
            }
        }
        if parameters.is_empty() || parameters == ["id"] || parameters == ["id", "user"] {
            // In what is their own, or everybody's, nothing of another tenant shows.
            let path = template.replace("{id}", "same-key").replace("{user}", "user-of-a");
            for client in [&b.gateway, &b.analyzer] {
                if path.ends_with("/stream") || matches!(method, "DELETE") {
                    continue;
                }
                let (_, _, text) = ask(client, method, &path, &body, "user-of-a").await;
                for secret in ["secret-of-a", "key-of-a", "hook-of-a", "letter-of-a"] {
                    // What was asked for may be named in the answer.
                    assert!(!text.contains(secret) || body.to_string().contains(secret), "{route}: {text}");
                }
            }
        }
    }
    assert!(asked > 60, "{asked}");
    let after = a.sees("secret-of-a").await;
    for (path, seen) in &before {
        // The experiment that came later is in lists and in the log.
        if !["/api/v1/experiments", "/api/v1/audit"].contains(&path.as_str()) {
            assert_eq!(Some(seen), after.get(path), "{path}");
        }
    }
    let user = &after["/api/v1/experiments/secret-of-a/ingestion"];
    assert_eq!(user[1]["recorded"], 1, "b erased a user of the same name, and sent events: {user}");
    system.stop().await.unwrap();
}
