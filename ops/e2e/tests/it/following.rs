//! One request followed by its id, from its header through frame, receipt and dead letter to the log lines of all tiers.

use crate::support::{applied, assert_problem, eventually, receipt, two_arms};
use e2e::{Deployment, Setup, System, patience};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::http::Client;

const ID: &str = "order.42_followed";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const JSON: (&str, &str) = ("content-type", "application/json");
const LIMIT: Duration = Duration::from_secs(60);

/// Lines of a log that have this request's id.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["request_id"] == ID && line["message"] == message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_name_everywhere() {
    let environment = vec![("AB_LOG_LEVEL", "debug".to_owned()), ("AB_LOG_FORMAT", "json".to_owned())];
    let system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    // The database refuses one of the two events: it becomes a dead letter.
    let rule = "CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$; \
         CREATE TRIGGER rule BEFORE INSERT ON conversions FOR EACH ROW WHEN (NEW.key = 'bad') \
         EXECUTE FUNCTION rule()";
    system.postgres.execute(&system.database, rule).await.unwrap();

    let named = |client: Client| client.header("x-request-id", ID).header("traceparent", TRACE);
    let (gateway, analyzer) = (named(system.ingest()), named(system.admin()));
    let exposed = json!({"exposures": [{"user_id": "u", "variation_index": 0}]}).to_string();
    let path = "/api/v1/experiments/exp/exposures";
    applied(&system.ingest(), path, &[], exposed).await;

    // Header -> frame: what the client may ask for later has the name in it.
    let body = json!({"conversions": [
        {"user_id": "u", "metric": "purchase", "idempotency_key": "good"},
        {"user_id": "u", "metric": "purchase", "idempotency_key": "bad"},
    ]});
    let headers = [JSON, ("prefer", "respond-async")];
    let answer = patience::post(&gateway, "/api/v1/conversions", &headers, body.to_string()).await.unwrap();
    assert_eq!((answer.status, answer.header("x-request-id")), (202, Some(ID)), "{}", answer.text());
    let place = answer.header("location").unwrap().to_owned();
    assert!(place.contains(&format!("request={ID}&")), "{place}");

    // Frame -> receipt: the analyzer finds what the worker stored under the name.
    let batch: Value = answer.json().unwrap();
    let path = place.find("/api/").map(|at| &place[at..]).unwrap();
    let receipt = receipt(&analyzer, path).await.json().unwrap();
    assert_eq!((&receipt["recorded"], &receipt["dead_lettered"]), (&json!(1), &json!(1)), "{receipt}");

    // Frame -> dead letter, and what the client said of its trace.
    let letters = analyzer.get("/api/v1/dead-letters").await.unwrap();
    assert_eq!(letters.header("x-request-id"), Some(ID));
    let letter = &letters.json().unwrap()["items"][0];
    assert_eq!((&letter["request_id"], &letter["batch_id"]), (&json!(ID), &batch["batch_id"]));
    let shown =
        analyzer.get(&format!("/api/v1/dead-letters/{}", letter["id"])).await.unwrap().json().unwrap();
    let frame = &shown["payload"]["frames"][0];
    assert_eq!((&frame["request_id"], &frame["traceparent"]), (&json!(ID), &json!(TRACE)), "{shown}");

    // Both tiers' problem documents.
    let [of_gateway, of_analyzer] = ["malformed_json", "invalid_json"];
    for (client, path, code) in
        [(&gateway, "/api/v1/conversions", of_gateway), (&analyzer, "/api/v1/experiments", of_analyzer)]
    {
        let answer = patience::post(client, path, &[JSON], "{").await.unwrap();
        assert_problem(&answer, 400, code);
        assert_eq!(answer.json().unwrap()["request_id"], ID);
        assert_eq!(answer.header("x-request-id"), Some(ID));
    }

    // Log lines of all tiers.
    for (tier, log, code) in [
        ("gateway", system.gateway.stderr(), of_gateway),
        ("analyzer", system.analyzer.stderr(), of_analyzer),
    ] {
        let answered = lines(&log, "request answered");
        assert!(answered.iter().all(|line| line["traceparent"] == TRACE), "{tier}: {answered:?}");
        assert!(answered.iter().any(|line| line["status"] == 400), "{tier}: {answered:?}");
        let mut refused = lines(&log, "request refused");
        // Nor what was not let in at first.
        refused.retain(|line| line["status"] != 503);
        assert_eq!(refused.len(), 1, "{tier}: {refused:?}");
        assert_eq!(refused[0]["error_code"], code);
    }
    let accepted = lines(&system.gateway.stderr(), "request answered");
    assert!(
        accepted.iter().any(|line| line["status"] == 202 && line["route"] == "conversions"),
        "{accepted:?}"
    );
    // Behind the commit that the receipt is part of.
    let mut applied = Vec::new();
    eventually("the worker says so", LIMIT, async || {
        applied = lines(&system.worker.as_ref().unwrap().stderr(), "request applied");
        !applied.is_empty()
    })
    .await;
    let (mut recorded, mut dead) = (0, 0);
    for line in &applied {
        assert_eq!(line["traceparent"], TRACE);
        assert!(line["partition"].is_u64() && line["entry"].is_string(), "{line}");
        recorded += line["recorded"].as_u64().unwrap();
        dead += line["dead_lettered"].as_u64().unwrap();
    }
    assert_eq!((recorded, dead), (1, 1), "{applied:?}");
    system.stop().await.unwrap();
}
