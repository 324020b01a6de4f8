//! Out of one deployment and into an empty one of the other kind: `abctl export`, then `abctl replay`, and the answers
//! are the same.

use crate::support::{applied, assert_verified};
use e2e::{ADMIN_TOKEN, API_TOKEN, Deployment, OneProcess, Setup, System, run};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use testkit::Process;

const USERS: u32 = 240;
/// In the second experiment too.
const OF_BOTH: u32 = 160;
const KEYS: [&str; 2] = ["checkout", "search"];

fn definitions() -> [Value; 2] {
    let arms = json!([{"key": "control"}, {"key": "treatment"}, {"key": "other"}]);
    let revenue = json!({"key": "revenue", "event": "purchase", "type": "mean"});
    let basket = json!({"key": "basket", "type": "ratio", "numerator": "purchase", "denominator": "visit"});
    let metrics = json!([revenue, {"key": "visit", "type": "count"}, basket]);
    [
        json!({"key": KEYS[0], "variations": arms, "metrics": metrics, "attribution": {"window_hours": 48},
            "analysis": {"cuped": {"lookback_days": 7, "covariates": ["loyalty"]}}}),
        json!({"key": KEYS[1], "variations": arms, "metrics": [{"key": "purchase", "type": "proportion"}],
            "crossovers": "exclude"}),
    ]
}

/// Hours after the first of March.
fn at(hours: i64) -> String {
    domain::Timestamp(1_772_323_200_000_000 + 1_234_567).plus(hours * 3_600_000_000).to_string()
}

fn user(i: u32) -> String {
    format!("u\u{e9}, \"{i}\"")
}

async fn send(system: &dyn Deployment, path: &str, list: &str, items: Vec<Value>) {
    let key = format!("{path}-{}", items.len());
    let body = json!({ list: items }).to_string();
    applied(&system.ingest(), &format!("/api/v1/{path}"), &[("idempotency-key", &key)], body).await;
}

async fn of(system: &dyn Deployment, experiment: &str, route: &str, list: &str, items: Vec<Value>) {
    send(system, &format!("experiments/{experiment}/{route}"), list, items).await;
}

/// Everything that can be said of a user, before and behind the exposure.
async fn a_life(system: &dyn Deployment) {
    let told = |users: std::ops::Range<u32>| {
        let one = |i: u32| json!({"user_id": user(i), "stratum": (if i % 6 < 3 { "DE" } else { "FR" }), "occurred_at": at(1)});
        users.map(one).collect::<Vec<_>>()
    };
    let before =
        |i: u32| json!({"user_id": user(i), "value": format!("{}.5", i % 17), "covariate_name": "loyalty"});
    let own = |i: u32| json!({"user_id": user(i), "value": i % 7, "occurred_at": at(-30)});
    let excluded = |i: u32, so: bool| json!({"user_id": user(i), "excluded": so, "exclusion_reason": "bot"});
    of(system, KEYS[0], "strata", "strata", told(0..180)).await;
    of(system, KEYS[0], "pre-period", "pre_period_values", (0..200).map(before).collect()).await;
    of(system, KEYS[0], "exclusions", "exclusions", (0..12).map(|i| excluded(i, true)).collect()).await;
    // Before any exposure: the window before it is counted from history.
    let early = |i: u32| json!({"user_id": user(i), "metric": "purchase", "value": i, "idempotency_key": "early", "occurred_at": at(-40)});
    send(system, "conversions", "conversions", (0..90).map(early).collect()).await;

    let seen =
        |i: u32| json!({"user_id": user(i), "variation_index": i % 3, "occurred_at": at(i64::from(i % 24))});
    of(system, KEYS[0], "exposures", "exposures", (0..USERS).map(seen).collect()).await;
    of(system, KEYS[1], "exposures", "exposures", (80..80 + OF_BOTH).map(seen).collect()).await;
    let held = |i: u32| json!({"user_id": format!("held-{i}"), "occurred_at": at(3)});
    of(system, KEYS[0], "holdout", "holdout", (0..30).map(held).collect()).await;
    // Other variations, and an earlier time.
    let crossed = |i: u32| json!({"user_id": user(i), "variation_index": (i + 1) % 3, "occurred_at": at(90)});
    of(system, KEYS[0], "exposures", "exposures", (0..15).map(crossed).collect()).await;
    of(system, KEYS[1], "exposures", "exposures", (100..125).map(crossed).collect()).await;
    let earlier = |i: u32| json!({"user_id": user(i), "variation_index": i % 3, "occurred_at": at(-2)});
    of(system, KEYS[0], "exposures", "exposures", (20..29).map(earlier).collect()).await;

    of(system, KEYS[0], "strata", "strata", told(180..190)).await;
    of(system, KEYS[0], "pre-period", "pre_period_values", (100..140).map(own).collect()).await;
    of(system, KEYS[0], "exclusions", "exclusions", (0..4).map(|i| excluded(i, false)).collect()).await;
    of(system, KEYS[0], "exclusions", "exclusions", (2..3).map(|i| excluded(i, true)).collect()).await;
    let only_told = json!({"user_id": "told of, never seen", "stratum": "DE"});
    of(system, KEYS[1], "strata", "strata", vec![only_told]).await;

    // In the window, behind it, unused, never exposed; with an experiment, without one, and the same key in both.
    let bought = |i: u32, key: &str, hours: i64| {
        let value = format!("{}.{:06}", i % 50, i * 7919 % 1_000_000);
        json!({"user_id": user(i), "metric": "purchase", "value": value, "idempotency_key": key, "occurred_at": at(hours)})
    };
    let many = |users: std::ops::Range<u32>, key: &str, hours| {
        users.map(|i| bought(i, key, hours)).collect::<Vec<_>>()
    };
    send(system, "conversions", "conversions", many(0..USERS + 20, "order", 30)).await;
    send(system, "conversions", "conversions", many(0..31, "late", 200)).await;
    of(system, KEYS[0], "conversions", "conversions", many(0..150, "order", 31)).await;
    of(system, KEYS[1], "conversions", "conversions", many(90..131, "other", 32)).await;
    let held = |i: u32| json!({"user_id": format!("held-{i}"), "metric": "purchase", "value": i, "idempotency_key": "k", "occurred_at": at(20)});
    send(system, "conversions", "conversions", (0..25).map(held).collect()).await;
    let unused =
        |i: u32| json!({"user_id": user(i), "metric": "nobody looks", "value": -3, "occurred_at": at(30)});
    send(system, "conversions", "conversions", (0..9).map(unused).collect()).await;
    // Twice the same without a key is two visits.
    let visit = |i: u32| json!({"user_id": user(i / 2), "metric": "visit", "occurred_at": at(28)});
    send(system, "conversions", "conversions", (0..400).map(visit).collect()).await;
}

async fn abctl(arguments: &[&str], env: &[(&str, String)]) -> (i32, String, String) {
    let mut process = Process::of("abctl").unwrap();
    for argument in arguments {
        process = process.arg(argument);
    }
    for (name, value) in env {
        process = process.env(name, value);
    }
    let mut process = process.spawn().unwrap();
    let status = process.wait(Duration::from_secs(120)).await.unwrap();
    (status.code().unwrap(), process.stdout(), process.stderr())
}

fn analyst(system: &dyn Deployment) -> [(&'static str, String); 2] {
    [("AB_URL", system.analyzer_url()), ("AB_ADMIN_TOKEN", ADMIN_TOKEN.into())]
}

/// Each experiment in another form.
async fn exported(system: &dyn Deployment, directory: &Path) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for (key, ending) in [(KEYS[0], "ndjson.gz"), (KEYS[1], "csv")] {
        for kind in ["units", "conversions"] {
            let file = directory.join(format!("{key}-{kind}.{ending}")).to_str().unwrap().to_owned();
            let (code, out, error) =
                abctl(&["export", key, "--kind", kind, "--output", &file], &analyst(system)).await;
            assert_eq!((code, error.as_str()), (0, ""), "{out}");
            files.push((if kind == "units" { "units" } else { "events" }, file));
        }
    }
    files
}

/// The numbers of the last line of each.
async fn replayed(system: &dyn Deployment, files: &[(&str, String)]) -> Vec<String> {
    let mut ends = Vec::new();
    for (kind, file) in files {
        let env = [("AB_URL", system.gateway_url()), ("AB_API_TOKEN", API_TOKEN.into())];
        let arguments = ["replay", file, "--kind", kind, "--batch", "97", "--concurrency", "3"];
        let (code, out, error) = abctl(&arguments, &env).await;
        assert_eq!(code, 0, "{file}: {out}{error}");
        ends.push(out.lines().last().unwrap().to_owned());
    }
    // What a replay was not told of in time is queued.
    assert_eq!(run::settled(system).await.unwrap().total.in_flight, 0);
    ends
}

/// What is the same wherever and whenever the events were received.
async fn answers(system: &dyn Deployment) -> Vec<Value> {
    let mut answers = Vec::new();
    for key in KEYS {
        for path in ["live-stats", "timeseries?day_basis=occurred&from=2026-02-25&to=2026-03-20"] {
            let path = format!("/api/v1/experiments/{key}/{path}");
            let answer = system.admin().get(&path).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let mut answer = answer.json().unwrap();
            answer["experiment"]["id"] = Value::Null;
            answers.push(answer);
        }
    }
    answers
}

async fn moves(from: &dyn Deployment, to: &dyn Deployment) {
    for definition in definitions() {
        from.experiment(definition.clone()).await.unwrap();
        to.experiment(definition).await.unwrap();
    }
    a_life(from).await;
    let before = answers(from).await;
    let quality = &before[0]["arms"][0]["data_quality"];
    for what in [
        "crossovers",
        "earlier_exposure_seen",
        "excluded",
        "before_exposure",
        "after_window",
        "after_exposure",
    ] {
        assert!(quality[what].as_i64().unwrap() > 0, "{what}: {quality}");
    }
    assert_eq!(before[0]["holdout"]["users"], 30);
    assert_eq!(before[0]["metrics"][0]["comparisons"][0]["cuped"]["status"], "ok");

    let directory = testkit::temp_dir("export").unwrap();
    let files = exported(from, &directory).await;
    let first = replayed(to, &files).await;
    assert!(first.iter().all(|end| !end.contains("recorded=0 ")), "{first:?}");
    assert_verified(from, &KEYS).await;
    assert_verified(to, &KEYS).await;
    let after = answers(to).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    // Sent again nothing is new, nor in what the other deployment exports.
    for files in [files, exported(to, &directory).await] {
        let again = replayed(to, &files).await;
        assert!(again.iter().all(|end| end.contains("recorded=0 ") && end.contains("dead=0 ")), "{again:?}");
    }
    assert_eq!(answers(to).await, after);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgresql_to_sqlite() {
    let from = System::start(Setup::default()).await.unwrap();
    let to = OneProcess::start(&Setup::default()).await.unwrap();
    moves(&from, &to).await;
    to.stop().await.unwrap();
    from.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_postgresql() {
    let from = OneProcess::start(&Setup::default()).await.unwrap();
    let to = System::start(Setup::default()).await.unwrap();
    moves(&from, &to).await;
    to.stop().await.unwrap();
    from.stop().await.unwrap();
}
