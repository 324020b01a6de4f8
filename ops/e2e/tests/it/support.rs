//! What the tests of this binary share.

use domain::plan::Feature;
use domain::{Moments, Plan};
use e2e::{Deployment, patience};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::http::{Client, Response};

/// Sums of one arm, over partitions.
pub async fn arm(system: &dyn Deployment, key: &str, variation: i16) -> (Plan, Moments) {
    let experiment = system.store().experiment("default", key).await.unwrap().unwrap();
    let mut total = Moments::default();
    for row in system.store().answer(&experiment, None).await.unwrap() {
        if row.key.variation == variation {
            total.add(&row.moments).unwrap();
        }
    }
    (experiment.plan(), total)
}

/// (enrolled, converters, conversions) of the first metric of an arm.
pub async fn counted(system: &dyn Deployment, key: &str, variation: i16) -> (i64, i64, i64) {
    let (plan, moments) = arm(system, key, variation).await;
    let number = |f| moments.product(&plan, Feature::One, f).as_i64();
    (moments.heads.enrolled, number(Feature::Converted(0)), number(Feature::Count(0)))
}

/// A definition with two arms and proportion metrics.
pub fn two_arms(key: &str, metrics: &[&str]) -> Value {
    let metrics: Vec<Value> = metrics.iter().map(|m| json!({"key": m, "type": "proportion"})).collect();
    json!({"key": key, "variations": [{"key": "control"}, {"key": "treatment"}], "metrics": metrics})
}

/// Where an answer is looked for that did not come in time.
const COMMITTED: Duration = Duration::from_secs(120);

/// Sends a body and waits for its commit, or for its refusal. A message of the commit may get lost; what it would have
/// said is where the answer says.
pub async fn outcome(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Response {
    let mut headers = headers.to_vec();
    headers.push(("prefer", "wait=30"));
    if !headers.iter().any(|h| h.0 == "content-type") {
        headers.push(("content-type", "application/json"));
    }
    let mut answer = patience::post(client, path, &headers, body).await.unwrap();
    let place = answer.header("location").filter(|_| answer.status == 202).map(str::to_owned);
    if let Some(place) = place {
        let elsewhere = place.strip_prefix("http://").and_then(|place| place.split_once('/'));
        let elsewhere =
            elsewhere.map(|(at, path)| (client.elsewhere(at.parse().unwrap()), format!("/{path}")));
        let (client, path) = elsewhere.as_ref().map_or((client, &place), |(client, path)| (client, path));
        answer = receipt(client, path).await;
    }
    answer
}

/// What became of a request, once all of it is committed.
pub async fn receipt(client: &Client, path: &str) -> Response {
    let mut found = None;
    eventually("it is committed", COMMITTED, async || {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let applied = answer.json().unwrap()["status"] == "applied";
        found = applied.then_some(answer);
        applied
    })
    .await;
    found.unwrap()
}

/// Sends a body and waits for its commit; checks that the answer's numbers add up.
pub async fn applied(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Value {
    let answer = outcome(client, path, headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json().unwrap();
    let number = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{name} in {answer}"));
    assert_eq!(
        number("received"),
        number("recorded") + number("deduplicated") + number("dead_lettered"),
        "{answer}"
    );
    answer
}

/// `verify` finds no difference.
pub async fn assert_verified(system: &dyn Deployment, keys: &[&str]) {
    for key in keys {
        let report =
            abctl::verify::verify(system.store(), system.partitions(), "default", key).await.unwrap();
        assert!(report.differences.is_empty(), "{key}: {:?}", report.differences);
    }
}

/// The answer is a problem document with this status and code.
pub fn assert_problem(answer: &Response, status: u16, code: &str) {
    let text: String = answer.text().chars().take(500).collect();
    assert_eq!(answer.status, status, "{text}");
    let body = answer.json().unwrap();
    assert_eq!(body["error_code"], code, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

/// Looks until `holds` says yes.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same scenario on three tiers with PostgreSQL and Redis, and in one process on SQLite.
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => { on_both!(e2e::Setup::default(); $($scenario),+); };
    ($setup:expr; $($scenario:ident),+) => {
        mod three_tiers {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                let system = e2e::System::start($setup).await.unwrap();
                super::$scenario(&system).await;
                system.stop().await.unwrap();
            })+
        }
        mod one_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                let system = e2e::OneProcess::start(&$setup).await.unwrap();
                super::$scenario(&system).await;
                system.stop().await.unwrap();
            })+
        }
    };
}
