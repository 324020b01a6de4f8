//! Keys that an admin issues, through all three tiers: made with `abctl` at the analyzer, carried by Redis, used at
//! gateways, revoked, and there again after Redis was emptied.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::{ADMIN_TOKEN, Deployment, Setup, System, patience};
use serde_json::{Value, json};
use testkit::Process;
use testkit::http::Client;

use crate::support::{applied, eventually, two_arms};

const LIMIT: Duration = Duration::from_secs(60);
/// What issued keys may.
const SCOPES: [&str; 4] = ["events", "ingest", "read", "admin"];

/// `abctl keys ..` at the analyzer; what it prints.
async fn keys(system: &System, arguments: &[&str]) -> String {
    let mut process = Process::of("abctl").unwrap().arg("keys");
    for argument in arguments {
        process = process.arg(argument);
    }
    let process = process.env("AB_URL", system.analyzer_url()).env("AB_ADMIN_TOKEN", ADMIN_TOKEN);
    let mut process = process.spawn().unwrap();
    let status = process.wait(LIMIT).await.unwrap();
    assert!(status.success(), "{arguments:?}: {}", process.stderr());
    process.stdout().trim_end().to_owned()
}

/// Number and key.
async fn issue(system: &System, name: &str, scopes: &str) -> (String, String) {
    let key = keys(system, &["create", name, "--scope", scopes]).await;
    let listed: Value = serde_json::from_str(&keys(system, &["list", "--json"]).await).unwrap();
    let items = listed["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == name).unwrap();
    (item["id"].to_string(), key)
}

/// Status and error code of a call.
async fn call(addr: SocketAddr, key: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    let client = Client::at(addr).bearer(key);
    let answer = match body {
        Some(body) => patience::post_json(&client, path, body).await.unwrap(),
        None => client.get(path).await.unwrap(),
    };
    let code = answer.json().unwrap_or_default()["error_code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

/// The same event each time.
async fn send(gateway: SocketAddr, key: &str) -> (u16, String) {
    let event = json!({"type": "conversion", "user_id": "u", "metric": "m", "idempotency_key": "once"});
    call(gateway, key, "/api/v1/events", Some(&json!({"events": [event]}))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_what_it_names_on_both_tiers_at_once() {
    let system = System::start(Setup::default()).await.unwrap();
    system.experiment(two_arms("checkout", &["m"])).await.unwrap();
    let (gateway, analyzer) = (system.gateway_addr, system.analyzer_addr);
    let excluded = json!({"exclusions": [{"user_id": "u"}]});
    let exclusions = "/api/v1/experiments/checkout/exclusions";
    for (number, scope) in SCOPES.into_iter().enumerate() {
        let (_, key) = issue(&system, scope, scope).await;
        // Without waiting: a gateway that has not heard of the key looks for it.
        let sent = send(gateway, &key).await;
        let told = call(gateway, &key, exclusions, Some(&excluded)).await;
        let read = call(analyzer, &key, "/api/v1/experiments/checkout/live-stats", None).await;
        let created =
            call(analyzer, &key, "/api/v1/experiments", Some(&two_arms(&format!("e{number}"), &["m"]))).await;
        let operated = call(analyzer, &key, "/api/v1/dead-letters?unknown_tenant=true", None).await;
        let outcomes = [sent, told, read, created, operated].map(|(status, code)| match code.as_str() {
            "" => status.to_string(),
            _ => code,
        });
        let (no, opened) = ("missing_scope", scope);
        let wanted = match opened {
            "events" => ["202", no, no, no, no],
            "ingest" => ["202", "202", no, no, no],
            "read" => [no, no, "200", no, no],
            // Whoever administers also reads.
            _ => [no, no, "200", "201", no],
        };
        assert_eq!(outcomes, wanted, "{scope}");
    }
    let (_, all) = issue(&system, "all", "events,ingest,read,admin").await;
    applied(
        &Client::at(gateway).bearer(&all),
        "/api/v1/conversions",
        &[],
        r#"{"conversions":[{"user_id":"v","metric":"m"}]}"#,
    )
    .await;
    assert_eq!(call(analyzer, &all, "/api/v1/dead-letters?unknown_tenant=true", None).await.0, 403);
    // In the address of a page: the one that may do nothing else.
    let (_, page) = issue(&system, "page", "events").await;
    for (key, status) in [(&page, 202), (&all, 401)] {
        let path = format!("/api/v1/events?key={key}");
        let body = r#"{"events":[{"type":"conversion","user_id":"w","metric":"m"}]}"#;
        let text = [("content-type", "text/plain")];
        let answer = patience::post(&Client::at(gateway), &path, &text, body).await.unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_every_gateway_and_an_emptied_redis_brings_no_key_back_and_loses_none() {
    let system = System::start(Setup::default()).await.unwrap();
    let mut second = system.another("ingest-gateway").unwrap();
    second.ready().await.unwrap();
    let gateways = [system.gateway_addr, second.addr];
    let (_, kept) = issue(&system, "kept", "events").await;
    let (number, lost) = issue(&system, "lost", "events").await;
    for gateway in gateways {
        assert_eq!((send(gateway, &kept).await.0, send(gateway, &lost).await.0), (202, 202));
    }
    keys(&system, &["revoke", &number]).await;
    let refused = async |gateway: SocketAddr, key: &str| {
        let unknown = async || send(gateway, key).await == (401, "unknown_key".to_owned());
        eventually("a revoked key is refused", LIMIT, unknown).await;
    };
    for gateway in gateways {
        refused(gateway, &lost).await;
        assert_eq!(send(gateway, &kept).await.0, 202);
    }

    // Emptied: those that know the key go on, and one that starts now knows it when the analyzer has written it again.
    system.redis.command(&["FLUSHALL"]).await.unwrap();
    for gateway in gateways {
        eventually("the queue is there again", LIMIT, async || send(gateway, &kept).await.0 == 202).await;
    }
    let mut third = system.another("ingest-gateway").unwrap();
    third.ready().await.unwrap();
    // Never "unknown": while nobody had looked it says 503.
    assert_eq!(send(third.addr, &kept).await, (202, String::new()), "a new gateway knows the key");
    for gateway in [gateways[0], gateways[1], third.addr] {
        refused(gateway, &lost).await;
    }
    // And the next one is as good as those before.
    let (_, new) = issue(&system, "new", "events").await;
    for gateway in [gateways[0], gateways[1], third.addr] {
        assert_eq!(send(gateway, &new).await.0, 202);
    }
    let books = e2e::run::settled(&system).await.unwrap().total;
    assert_eq!((books.recorded, books.dead_lettered), (1, 0), "one event, sent again and again: {books}");
    system.stop().await.unwrap();
}
