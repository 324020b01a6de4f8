//! What servers tell of users: pre-period values, strata, exclusions, the holdout.

use ingest_gateway::body::{Form, Shape, parse};
use ingest_gateway::codes::Code;
use serde_json::{Value, json};
use testkit::http::Client;

use crate::rig::{Rig, error_code};

const ROUTES: [(&str, &str, &str); 4] = [
    ("pre-period", "pre_period_values", r#"{"user_id":"u","value":1}"#),
    ("strata", "strata", r#"{"user_id":"u","stratum":"DE"}"#),
    ("exclusions", "exclusions", r#"{"user_id":"u"}"#),
    ("holdout", "holdout", r#"{"user_id":"u"}"#),
];

fn path(experiment: &str, route: &str) -> String {
    format!("/api/v1/experiments/{experiment}/{route}")
}

fn body(list: &str, items: &str) -> String {
    format!(r#"{{"{list}":[{items}]}}"#)
}

#[tokio::test]
async fn every_route_writes_what_it_was_told() {
    let rig = Rig::start().await;
    let told = [
        (
            "pre-period",
            r#"{"pre_period_values":[{"user_id":"a","value":"12.5"},
                {"user_id":"a","value":-3,"covariate_name":"age","occurred_at":"2026-03-01T00:00:00Z"}]}"#,
        ),
        ("strata", r#"{"strata":[{"user_id":"a","stratum":"DE","properties":{"from":"crm"}}]}"#),
        (
            "exclusions",
            r#"{"exclusions":[{"user_id":"a","exclusion_reason":"bot"},{"user_id":"a","excluded":false}]}"#,
        ),
        ("holdout", r#"{"holdout":[{"user_id":"b"}]}"#),
    ];
    for (route, body) in told {
        let answer = rig.post(&path("checkout", route), body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let answer = answer.json().unwrap();
        assert_eq!((&answer["keyless"], &answer["status"]), (&json!(0), &json!("queued")));
    }
    // In the order of the requests: exclusions are a sequence.
    let seen = rig.seen().await;
    let of = |user: &str| -> Vec<String> {
        let lines = seen.iter().filter(|s| s.user == user && s.experiment == 1);
        lines.map(|s| s.what.clone()).collect()
    };
    assert_eq!(
        of("a"),
        [
            "had - 12.5",
            "had age -3 at 2026-03-01T00:00:00Z",
            "is in DE",
            "excluded true bot",
            "excluded false -",
        ]
    );
    assert_eq!(of("b"), ["saw -1"]);
    for (kind, n) in [("pre_period", 2.0), ("stratum", 1.0), ("exclusion", 2.0), ("exposure", 1.0)] {
        assert_eq!(
            rig.metric(&format!("abstream_ingest_events_total{{kind=\"{kind}\"}}")).await,
            n,
            "{kind}"
        );
    }
    rig.end().await.unwrap();
}

/// A page's key may not take users out of an experiment, and a link may not either.
#[tokio::test]
async fn only_servers_may_tell() {
    let rig = Rig::start().await;
    for (route, list, item) in ROUTES {
        let (path, body) = (path("checkout", route), body(list, item));
        let json = [("content-type", "application/json")];
        for key in ["only-events", "only-reads"] {
            let client = Client::at(rig.addr).bearer(key);
            let refused = client.post(&path, &json, body.clone()).await.unwrap();
            assert_eq!(
                (refused.status, error_code(&refused).as_str()),
                (403, "missing_scope"),
                "{key} {route}"
            );
        }
        let in_link =
            Client::at(rig.addr).post(&format!("{path}?key=only-events"), &json, body.clone()).await;
        assert_eq!(in_link.unwrap().status, 401, "{route}");
        let foreign = Client::at(rig.addr).bearer("of-acme").post(&path, &json, body.clone()).await.unwrap();
        assert_eq!((foreign.status, error_code(&foreign).as_str()), (404, "unknown_experiment"), "{route}");
        assert_eq!(rig.client.get(&path).await.unwrap().status, 405, "{route}");
    }
    assert_eq!(rig.seen().await, []);
    rig.end().await.unwrap();
}

/// Users may be told of before the start, but not enrolled.
#[tokio::test]
async fn the_status_of_the_experiment_decides() {
    let rig = Rig::start().await;
    for (route, list, item) in ROUTES {
        let body = body(list, item);
        let draft = rig.post(&path("planned", route), &body).await;
        match route {
            "holdout" => {
                assert_eq!((draft.status, error_code(&draft).as_str()), (409, "experiment_not_started"));
            }
            _ => assert_eq!(draft.status, 202, "{route}"),
        }
        let archived = rig.post(&path("gone", route), &body).await;
        assert_eq!(
            (archived.status, error_code(&archived).as_str()),
            (409, "experiment_archived"),
            "{route}"
        );
        assert_eq!(rig.post(&path("ended", route), &body).await.status, 202, "{route}");
    }
    rig.end().await.unwrap();
}

#[tokio::test]
async fn batches_are_judged_like_those_of_events() {
    let rig = Rig::start().await;
    let mixed = r#"{"strata":[{"user_id":"a","stratum":"DE"},{"user_id":"b","stratum":""},{"user_id":"c","stratum":"FR"}]}"#;
    let refused = rig.post(&path("checkout", "strata"), mixed).await;
    assert_eq!((refused.status, error_code(&refused).as_str()), (422, "invalid_items"));
    let problem: Value = refused.json().unwrap();
    assert_eq!(problem["errors"][0]["pointer"], "/strata/1/stratum");
    assert_eq!(rig.seen().await, []);

    let key = [("idempotency-key", "nightly-1")];
    let partial = format!("{}?partial=true", path("checkout", "strata"));
    let first = rig.post_with(&partial, &key, mixed).await.json().unwrap();
    assert_eq!((&first["received"], &first["rejected"]), (&json!(2), &json!(1)));
    let again = rig.post_with(&partial, &key, mixed).await.json().unwrap();
    assert_eq!(first["batch_id"], again["batch_id"]);
    // The same key on another route is another batch.
    let other =
        rig.post_with(&path("checkout", "holdout"), &key, &body("holdout", r#"{"user_id":"z"}"#)).await;
    assert_ne!(first["batch_id"], other.json().unwrap()["batch_id"]);

    let lines = [("content-type", "application/x-ndjson")];
    let text = "{\"user_id\":\"a\"}\n\n{\"user_id\":\"b\",\"excluded\":false}\n".to_owned();
    let answer = rig.client.post(&path("checkout", "exclusions"), &lines, text).await.unwrap();
    assert_eq!((answer.status, &answer.json().unwrap()["received"]), (202, &json!(2)));
    rig.end().await.unwrap();
}

#[test]
fn every_mistake_has_its_code_and_field() {
    use Code::*;
    let long = "x".repeat(101);
    let named = format!(r#"{{"user_id":"u","value":1,"covariate_name":"{long}"}}"#);
    let reason = format!(r#"{{"user_id":"u","exclusion_reason":"{long}"}}"#);
    let stratum = format!(r#"{{"user_id":"u","stratum":"{long}"}}"#);
    let table: &[(Shape, &str, Code, &str)] = &[
        (Shape::PrePeriod, r#"{"user_id":"u"}"#, MissingField, "value"),
        (Shape::PrePeriod, r#"{"value":1}"#, MissingField, "user_id"),
        (Shape::PrePeriod, r#"{"user_id":"u","value":null}"#, InvalidValue, "value"),
        (Shape::PrePeriod, r#"{"user_id":"u","value":"ten"}"#, InvalidValue, "value"),
        (Shape::PrePeriod, r#"{"user_id":"u","value":9.3e12}"#, ValueOutOfRange, "value"),
        (
            Shape::PrePeriod,
            r#"{"user_id":"u","value":1,"covariate_name":""}"#,
            InvalidCovariateName,
            "covariate_name",
        ),
        (Shape::PrePeriod, &named, InvalidCovariateName, "covariate_name"),
        (
            Shape::PrePeriod,
            r#"{"user_id":"u","value":1,"occurred_at":"soon"}"#,
            InvalidOccurredAt,
            "occurred_at",
        ),
        (Shape::PrePeriod, r#"{"user_id":"u","value":1,"metric":"m"}"#, UnknownField, "metric"),
        (
            Shape::PrePeriod,
            r#"{"user_id":"u","value":1,"idempotency_key":"k"}"#,
            UnknownField,
            "idempotency_key",
        ),
        (Shape::Strata, r#"{"user_id":"u"}"#, MissingField, "stratum"),
        (Shape::Strata, r#"{"user_id":"u","stratum":""}"#, InvalidStratum, "stratum"),
        (Shape::Strata, r#"{"user_id":"u","stratum":"a\nb"}"#, InvalidStratum, "stratum"),
        (Shape::Strata, r#"{"user_id":"u","stratum":7}"#, InvalidType, "stratum"),
        (Shape::Strata, &stratum, InvalidStratum, "stratum"),
        (Shape::Exclusions, r#"{"user_id":"u","excluded":"no"}"#, InvalidType, "excluded"),
        (Shape::Exclusions, r#"{"user_id":"u","excluded":0}"#, InvalidType, "excluded"),
        (
            Shape::Exclusions,
            r#"{"user_id":"u","exclusion_reason":""}"#,
            InvalidExclusionReason,
            "exclusion_reason",
        ),
        (Shape::Exclusions, &reason, InvalidExclusionReason, "exclusion_reason"),
        (Shape::Exclusions, r#"{"user_id":"u","occurred_at":1700000000}"#, UnknownField, "occurred_at"),
        (Shape::Holdout, r#"{"user_id":"u","variation":"control"}"#, UnknownField, "variation"),
        (Shape::Holdout, r#"{"user_id":"u","occurred_at":"soon"}"#, InvalidOccurredAt, "occurred_at"),
        (Shape::Holdout, r#"{"user_id":"a\u0000b"}"#, InvalidUserId, "user_id"),
        (Shape::Exposures, r#"{"user_id":"u","variation":"a","stratum":"DE"}"#, UnknownField, "stratum"),
        (Shape::Conversions, r#"{"user_id":"u","metric":"m","excluded":true}"#, UnknownField, "excluded"),
        (Shape::Events, r#"{"type":"exclusion","user_id":"u"}"#, UnknownEventType, "type"),
    ];
    for (shape, item, code, field) in table {
        let body = body(shape.list(), item);
        let parsed = parse(body.as_bytes(), *shape, Form::Json, 10).unwrap();
        assert_eq!(parsed.items, [], "{item} must be refused");
        let fault = &parsed.faults[0].1;
        assert_eq!((fault.code, fault.field.as_deref()), (*code, Some(*field)), "{item}");
    }
}
