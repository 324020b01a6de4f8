//! What is told of users, over HTTP to an answer: pre-period values, strata, exclusions, the holdout.

use crate::support::{applied, assert_verified};
use e2e::Deployment;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const USERS: u32 = 200;
const HELD_OUT: u32 = 20;
/// Told their stratum behind their exposure.
const LATE: std::ops::Range<u32> = 196..200;
/// Excluded; the first two no longer.
const EXCLUDED: std::ops::Range<u32> = 0..10;
const LIFTED: std::ops::Range<u32> = 0..2;

fn user(i: u32) -> String {
    format!("user-{i}")
}

fn variation(i: u32) -> u32 {
    i % 2
}

/// As many of each arm in each.
fn stratum(i: u32) -> &'static str {
    if i % 4 < 2 { "DE" } else { "FR" }
}

fn loyalty(i: u32) -> u32 {
    i * 37 % 101
}

/// Mostly what the user was before, and ten more by the treatment.
fn spent(i: u32) -> u32 {
    loyalty(i) + 10 * variation(i) + i * 13 % 7
}

struct Sender<'s> {
    system: &'s dyn Deployment,
    experiment: &'static str,
}

impl Sender<'_> {
    /// (recorded, deduplicated, conflicts)
    async fn send(&self, key: Option<&str>, route: &str, list: &str, items: Vec<Value>) -> [u64; 3] {
        let path = format!("/api/v1/experiments/{}/{route}", self.experiment);
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let answer = applied(&self.system.ingest(), &path, &headers, json!({list: items}).to_string()).await;
        ["recorded", "deduplicated", "conflicts"].map(|name| answer[name].as_u64().unwrap())
    }

    /// Everything in the order of a real life; how many were recorded.
    async fn everything(&self) -> u64 {
        let of = |users: std::ops::Range<u32>, item: fn(u32) -> Value| users.map(item).collect::<Vec<_>>();
        let told = |i: u32| json!({"user_id": user(i), "stratum": stratum(i)});
        let excluded = |i: u32| json!({"user_id": user(i), "exclusion_reason": "bot"});
        let lifted = |i: u32| json!({"user_id": user(i), "excluded": false});
        let before = |i: u32| json!({"user_id": user(i), "value": loyalty(i), "covariate_name": "loyalty"});
        let own = |i: u32| json!({"user_id": user(i), "value": "0.5"});
        let seen = |i: u32| json!({"user_id": user(i), "variation_index": variation(i)});
        let bought = |i: u32| json!({"user_id": user(i), "metric": "purchase", "value": spent(i), "idempotency_key": "order"});
        let held = |i: u32| json!({"user_id": format!("held-{i}")});
        let held_bought = |i: u32| json!({"user_id": format!("held-{i}"), "metric": "purchase", "value": 40 + i, "idempotency_key": "order"});
        let mut recorded = 0;
        for (route, list, items) in [
            ("strata", "strata", of(0..LATE.start, told)),
            ("pre-period", "pre_period_values", of(0..USERS, before)),
            ("pre-period", "pre_period_values", of(0..USERS / 2, own)),
            ("exclusions", "exclusions", of(EXCLUDED.start..5, excluded)),
            ("exposures", "exposures", of(0..USERS, seen)),
            ("holdout", "holdout", of(0..HELD_OUT, held)),
            ("conversions", "conversions", of(0..USERS, bought)),
            ("conversions", "conversions", of(0..HELD_OUT, held_bought)),
            ("strata", "strata", of(LATE, told)),
            ("exclusions", "exclusions", of(5..EXCLUDED.end, excluded)),
            ("exclusions", "exclusions", of(LIFTED, lifted)),
        ] {
            let key = format!("{route}-{}-{}", items.len(), items[0]["user_id"]);
            recorded += self.send(Some(&key), route, list, items).await[0];
        }
        recorded
    }
}

/// Every user and event once, and each exclusion.
const RECORDED: u64 = 2 * (USERS + HELD_OUT) as u64 + USERS as u64 + (USERS + USERS / 2) as u64 + 10 + 2;

async fn each_kind_has_its_effect_on_the_answer(system: &dyn Deployment) {
    let definition = json!({"key": "told", "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "revenue", "event": "purchase", "type": "mean"}],
        "analysis": {"cuped": {"covariates": ["loyalty"]}}});
    system.experiment(definition).await.unwrap();
    let sender = Sender { system, experiment: "told" };
    what_is_told_before_anybody_came_is_shown(system, &sender).await;
    assert_eq!(sender.everything().await, RECORDED);
    let answer = live(system).await;
    check(&answer);
    strata_have_rows_of_their_own(system).await;
    strata_are_answered_apart(system).await;
    assert_verified(system, &["told"]).await;

    // Every request once more; then what was told, by requests that nobody has seen.
    assert_eq!(sender.everything().await, 0);
    let again = |i: u32| json!({"user_id": user(i), "stratum": stratum(i)});
    assert_eq!(sender.send(None, "strata", "strata", (0..5).map(again).collect()).await, [0, 5, 0]);
    let other = |i: u32| json!({"user_id": user(i), "stratum": "IT"});
    assert_eq!(sender.send(None, "strata", "strata", (0..5).map(other).collect()).await, [0, 5, 5]);
    let held = |i: u32| json!({"user_id": format!("held-{i}")});
    assert_eq!(sender.send(None, "holdout", "holdout", (0..5).map(held).collect()).await, [0, 5, 0]);
    let excluded = |i: u32| json!({"user_id": user(i)});
    assert_eq!(
        sender.send(None, "exclusions", "exclusions", (2..5).map(excluded).collect()).await,
        [0, 3, 0]
    );
    // Of all that, the answer knows the contradictions, by the arms of their users.
    let mut then = live(system).await;
    let conflicts = ["/data_quality", "/arms/0/data_quality", "/arms/1/data_quality"]
        .map(|of| then.pointer_mut(of).unwrap()["conflicts"].take());
    assert_eq!(conflicts, [json!(5), json!(3), json!(2)]);
    let mut now = answer;
    for of in ["/data_quality", "/arms/0/data_quality", "/arms/1/data_quality"] {
        assert_eq!(now.pointer_mut(of).unwrap()["conflicts"].take(), 0);
    }
    assert_eq!(then, now);
    assert_verified(system, &["told"]).await;

    let books = system.books().await.unwrap();
    assert!(books.are_good(), "{}", books.total);
    assert_eq!(books.total.recorded, i64::try_from(RECORDED + 4).unwrap());
    let path = "/api/v1/experiments/told/ingestion";
    let ingestion = system.admin().get(path).await.unwrap().json().unwrap();
    let counted = ["pre_period", "strata", "exclusions"].map(|name| ingestion[name].as_u64().unwrap());
    assert_eq!(counted, [301, 201, 13]);
    assert_eq!(ingestion["data_quality"]["never_exposed"], 1);
}

/// Of somebody who never comes.
async fn what_is_told_before_anybody_came_is_shown(system: &dyn Deployment, sender: &Sender<'_>) {
    for (route, list, mut item) in [
        ("strata", "strata", json!({"stratum": "DE"})),
        ("pre-period", "pre_period_values", json!({"value": "2.5", "covariate_name": "loyalty"})),
        ("exclusions", "exclusions", json!({"exclusion_reason": "bot"})),
        ("conversions", "conversions", json!({"metric": "purchase", "idempotency_key": "order"})),
    ] {
        item["user_id"] = json!("nobody");
        assert_eq!(sender.send(None, route, list, vec![item]).await, [1, 0, 0]);
    }
    let path = "/api/v1/experiments/told/users/nobody";
    let mut user = system.admin().get(path).await.unwrap().json().unwrap();
    assert_eq!(user["enrollment"], json!(null));
    let waiting = user["waiting"].take();
    assert_eq!((&waiting["stratum"], &waiting["covariates"][0]["value"]), (&json!("DE"), &json!("2.5")));
    let exclusion = &waiting["exclusions"][0];
    assert_eq!((&exclusion["excluded"], &exclusion["reason"]), (&json!(true), &json!("bot")));
    assert_eq!(user["conversions"][0]["fell"], "not_enrolled");
    // Before any of it was known.
    let early = system.admin().get(&format!("{path}?as_of=2026-01-01")).await.unwrap().json().unwrap();
    assert_eq!((&early["waiting"], &early["conversions_total"]), (&json!(null), &json!(0)));
}

async fn live(system: &dyn Deployment) -> Value {
    system.admin().get("/api/v1/experiments/told/live-stats").await.unwrap().json().unwrap()
}

fn check(answer: &Value) {
    let contributes = |i: u32| LIFTED.contains(&i) || !EXCLUDED.contains(&i);
    // The sample ratio is tested on everybody.
    assert_eq!(answer["users"], USERS);
    assert_eq!(answer["srm"]["status"], "ok", "{answer:#}");
    let metric = &answer["metrics"][0];
    for arm in 0..2 {
        let mine = || (0..USERS).filter(|i| variation(*i) == arm);
        let shown = &answer["arms"][arm as usize];
        assert_eq!(shown["users"], USERS / 2);
        assert_eq!(shown["data_quality"]["excluded"], 4);
        assert_eq!(shown["data_quality"]["after_exposure"], 2);
        let sum: u32 = mine().filter(|i| contributes(*i)).map(spent).sum();
        let outcome = &metric["arms"][arm as usize];
        assert_eq!((&outcome["users"], &outcome["sum"]), (&json!(96), &json!(sum.to_string())));
    }
    let comparison = &metric["comparisons"][0];
    let cuped = &comparison["cuped"];
    assert_eq!(cuped["status"], "ok", "{cuped:#}");
    let events: Vec<&str> =
        cuped["covariates"].as_array().unwrap().iter().map(|c| c["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["purchase", "loyalty"]);
    // Nearly all of the variance is who the users were before.
    assert!(cuped["variance_reduction"].as_f64().unwrap() > 0.95, "{cuped:#}");
    let effect = cuped["absolute"]["effect"].as_f64().unwrap();
    assert!((effect - 10.0).abs() < 1.5, "{cuped:#}");
    let coverage = cuped["coverage"].as_f64().unwrap();
    let own = (0..USERS / 2).filter(|i| contributes(*i)).count();
    assert!((coverage - own as f64 / 192.0).abs() < 1e-12, "{coverage}");
    assert!(comparison["post_stratified"].is_object(), "{comparison:#}");

    let holdout = &answer["holdout"];
    assert_eq!(holdout["users"], HELD_OUT);
    let pooled = (0..USERS).filter(|i| contributes(*i));
    let mean = f64::from(pooled.map(spent).sum::<u32>()) / 192.0;
    let held = f64::from((0..HELD_OUT).map(|i| 40 + i).sum::<u32>()) / f64::from(HELD_OUT);
    let effect = holdout["metrics"][0]["absolute"]["effect"].as_f64().unwrap();
    assert!((effect - (mean - held)).abs() < 1e-9, "{holdout:#}");
}

/// Users by variation and stratum; the late ones have moved.
async fn strata_have_rows_of_their_own(system: &dyn Deployment) {
    let experiment = system.store().experiment("default", "told").await.unwrap().unwrap();
    let mut users: BTreeMap<(i16, String), i64> = BTreeMap::new();
    for row in system.store().answer(&experiment, None).await.unwrap() {
        *users.entry((row.key.variation, row.key.stratum)).or_default() += row.moments.heads.enrolled;
    }
    users.retain(|_, n| *n != 0);
    let expected = [(-1, "", 20), (0, "DE", 50), (0, "FR", 50), (1, "DE", 50), (1, "FR", 50)];
    assert_eq!(users, expected.into_iter().map(|(v, s, n)| ((v, s.to_owned()), n)).collect());
}

async fn strata_are_answered_apart(system: &dyn Deployment) {
    let path = "/api/v1/experiments/told/live-stats?by=stratum";
    let answer = system.admin().get(path).await.unwrap().json().unwrap();
    let shown = answer["strata"].as_array().unwrap();
    let users: BTreeMap<&str, u64> =
        shown.iter().map(|s| (s["stratum"].as_str().unwrap(), s["users"].as_u64().unwrap())).collect();
    assert_eq!(users, BTreeMap::from([("DE", 100), ("FR", 100)]));
    for of in shown {
        let name = of["stratum"].as_str().unwrap();
        let contributes = |i: &u32| LIFTED.contains(i) || !EXCLUDED.contains(i);
        let mine = (0..USERS).filter(|i| stratum(*i) == name && variation(*i) == 1);
        let sum: u32 = mine.filter(contributes).map(spent).sum();
        assert_eq!(of["metrics"][0]["arms"][1]["sum"], sum.to_string(), "{name}");
    }
}

on_both!(each_kind_has_its_effect_on_the_answer);
