//! Hostile and damaged bodies: whatever comes, every event has exactly one fate, and nothing is out of place.

use std::collections::BTreeSet;

use ingest_gateway::body::{Parsed, Refusal};
use ingest_gateway::sdks::{Sdk, Terms, cloudevents};
use proptest::prelude::*;
use serde_json::{Value, json};
use service::settings::SdkValues;

use crate::sdk_decoding::headers;

/// The routes that take many events, each with the member its list is in.
const ROUTES: [(&str, &str); 3] =
    [("/v1/batch", "batch"), ("/i/v1/analytics/events", "batch"), ("/track", "")];

/// The names all decoders know, so that generated events get past the first look.
const NAMES: [&str; 34] = [
    "type",
    "event",
    "userId",
    "anonymousId",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "properties",
    "uuid",
    "distinct_id",
    "event_name",
    "properties_json",
    "user_id",
    "device_id",
    "experiment_id",
    "experimentId",
    "variation_id",
    "variationId",
    "variation_key",
    "hashValue",
    "hash_value",
    "in_experiment",
    "$feature_flag",
    "$feature_flag_response",
    "revenue",
    "value",
    "total",
    "id",
    "source",
    "subject",
    "time",
    "specversion",
    "data",
    "metric",
];

const TEXTS: [&str; 14] = [
    "track",
    "Experiment Viewed",
    "$$experiment_viewed",
    "$feature_flag_called",
    "Feature Evaluated",
    "a.exposure",
    "a.conversion",
    "1.0",
    "u",
    "",
    "2026-03-01T10:00:00Z",
    "12.5",
    "\u{0}",
    "@x/1",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(&TEXTS[..]).prop_map(Value::from),
        1 => "\\PC{0,6}".prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(Value::from("x".repeat(300))),
    ]
}

/// Objects of known names with anything in them, nested.
fn any_event() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 8, |inner| {
        prop_oneof![
            6 => prop::collection::vec((prop::sample::select(&NAMES[..]), inner.clone()), 0..12)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

fn wrapped(events: &Value, list: &str) -> String {
    if list.is_empty() { events.to_string() } else { json!({ (list): events }).to_string() }
}

fn decode<'a>(path: &str, body: &'a str, values: &SdkValues) -> Result<Parsed<'a>, Refusal> {
    let terms = Terms { tenant: "default", values, max_events: 1000 };
    match path {
        "cloudevents" => {
            let batch = headers(&[("content-type", "application/cloudevents-batch+json")]);
            // Nothing that is decoded borrows from the headers of a batch.
            cloudevents::decode(body, Box::leak(Box::new(batch)), terms)
        }
        path => Sdk::at(path).unwrap().decode(&headers(&[]), body, terms),
    }
}

/// Indexes of all events that were told of, each once.
fn indexes(parsed: &Parsed<'_>) -> Vec<u32> {
    let items = parsed.items.iter().map(|item| item.index);
    let all: Vec<u32> = items.chain(parsed.faults.iter().map(|(index, _)| *index)).collect();
    let distinct: BTreeSet<u32> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len(), "an event with two fates");
    distinct.into_iter().collect()
}

/// What became of the event at `index`.
fn fate(parsed: &Parsed<'_>, index: u32) -> String {
    let item = parsed.items.iter().find(|item| item.index == index);
    let fault = parsed.faults.iter().find(|(at, _)| *at == index);
    match (item, fault) {
        (Some(item), None) => {
            format!("{:?} {:?} {:?} {:?}", item.user_id, item.key, item.experiment, item.what)
        }
        (None, Some((_, fault))) => format!("{} {}", fault.code.as_str(), fault.detail),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_event_has_one_fate_and_neighbours_do_not_matter(events in prop::collection::vec(any_event(), 0..6)) {
        let values = SdkValues::parse("default:u=value.value").unwrap();
        for (path, list) in ROUTES.into_iter().chain([("cloudevents", "")]) {
            let body = wrapped(&Value::from(events.clone()), list);
            let together = decode(path, &body, &values).unwrap();
            prop_assert_eq!(indexes(&together), (0u32..).take(events.len()).collect::<Vec<_>>());
            for (index, event) in (0u32..).zip(&events) {
                let body = wrapped(&json!([event]), list);
                let alone = decode(path, &body, &values).unwrap();
                prop_assert_eq!(fate(&together, index), fate(&alone, 0), "{} {}", path, event);
            }
        }
    }

    #[test]
    fn a_body_that_is_damaged_is_refused_or_taken_apart(
        events in prop::collection::vec(any_event(), 1..4),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let values = SdkValues::default();
        for (path, list) in ROUTES {
            let mut bytes = wrapped(&Value::from(events.clone()), list).into_bytes();
            let at = cut.index(bytes.len());
            bytes[at] = byte;
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            for body in [damaged.as_str(), damaged.get(..at).unwrap_or_default()] {
                if let Ok(parsed) = decode(path, body, &values) {
                    indexes(&parsed);
                }
            }
        }
    }

    #[test]
    fn any_text_at_all_is_refused_or_taken_apart(body in "\\PC{0,60}", nested in "[\\[\\]{}\",:0a]{0,60}") {
        let values = SdkValues::default();
        for body in [body, nested] {
            for path in ["/v1/track", "/v1/batch", "/batch/", "/track"] {
                if let Ok(parsed) = decode(path, &body, &values) {
                    indexes(&parsed);
                }
            }
        }
    }
}

#[test]
fn huge_and_deep_bodies_cost_what_they_weigh() {
    let values = SdkValues::default();
    let terms = Terms { tenant: "default", values: &values, max_events: 10 };
    let many = format!("[{}]", vec!["{}"; 1_000_000].join(","));
    let wide = format!("[{{{}}}]", vec!["\"a\":1"; 1_000_000].join(","));
    let deep = format!("[{}{}]", "{\"a\":".repeat(1_000_000), "0".to_owned() + &"}".repeat(1_000_000));
    let growthbook = Sdk::at("/track").unwrap();
    let decode = |body: &str| growthbook.decode(&headers(&[]), body, terms).map(|parsed| parsed.faults.len());
    assert_eq!(decode(&many).unwrap_err().detail, "the batch holds 1000000 events, at most 10 are taken");
    assert_eq!((decode(&wide).unwrap(), decode(&deep).unwrap()), (1, 1));
    let many = format!("{{\"batch\":{many},\"batch\":[]}}");
    let segment = Sdk::at("/v1/batch").unwrap();
    let parsed = segment.decode(&headers(&[]), &many, terms).unwrap();
    assert_eq!(parsed.total(), 0, "of two members with one name the last counts");
}
