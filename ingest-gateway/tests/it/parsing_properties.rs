//! The parser against a plain reading of the same JSON, over generated bodies.

use std::fmt::Write;

use domain::event::{check_key, check_metric, check_user_id};
use domain::{Decimal, Timestamp};
use ingest_gateway::body::{Form, Parsed, Shape, Variation, What, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts that need escapes, empty ones and forbidden ones among them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9_-]{1,12}", 2 => "\\PC{0,8}", 1 => "[\\x00-\\x1f\"\\\\@\u{80}-\u{ff}]{0,4}"]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i32>().prop_map(Value::from), (-1e6..1e6f64).prop_map(Value::from)]
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
        Just(json!({"a": [1]})),
        Just(json!([]))
    ]
}

fn member(name: &'static str, usual: BoxedStrategy<Value>) -> BoxedStrategy<Option<(&'static str, Value)>> {
    let usual = usual.prop_map(move |value| Some((name, value)));
    let odd = any_json().prop_map(move |value| Some((name, value)));
    prop_oneof![12 => usual, 2 => Just(None), 1 => odd].boxed()
}

/// Items of `/events`, mostly good: fields in any order.
fn item() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let instant =
        prop_oneof![Just(json!("2026-03-01T10:00:00.25Z")), Just(json!(1_700_000_000)), Just(json!("x"))];
    let fields = vec![
        member("type", prop_oneof![Just(json!("exposure")), Just(json!("conversion"))].boxed()),
        member("user_id", text().prop_map(Value::from).boxed()),
        prop_oneof![2 => member("experiment", prop_oneof![Just(json!("exp")), Just(json!(7))].boxed()), 1 => Just(None)].boxed(),
        prop_oneof![Just(None), member("variation", Just(json!("b")).boxed())].boxed(),
        prop_oneof![Just(None), member("variation_index", (0..3).prop_map(Value::from).boxed())].boxed(),
        prop_oneof![Just(None), member("metric", text().prop_map(Value::from).boxed())].boxed(),
        prop_oneof![Just(None), member("value", prop_oneof![number(), Just(json!("1.25"))].boxed())].boxed(),
        prop_oneof![Just(None), member("idempotency_key", text().prop_map(Value::from).boxed())].boxed(),
        prop_oneof![Just(None), member("occurred_at", instant.boxed())].boxed(),
        prop_oneof![Just(None), member("surplus", Just(json!(1)).boxed())].boxed(),
    ];
    fields.prop_map(|fields| fields.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle()
}

fn written(item: &[(&str, Value)]) -> String {
    let fields: Vec<String> = item.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    format!("{{{}}}", fields.join(" , "))
}

/// What an item says, by the rules of the contract applied to the JSON tree; `None` when it breaks one.
fn plain_reading(item: &[(&str, Value)]) -> Option<String> {
    let given = |name: &str| item.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let get = |name: &str| given(name).filter(|value| !value.is_null());
    let checked = |name: &str, check: fn(&str) -> Result<(), domain::event::TextError>| {
        let text = get(name)?.as_str()?;
        check(text).ok().map(|()| text.to_owned())
    };
    let known = [
        "type",
        "user_id",
        "experiment",
        "variation",
        "variation_index",
        "metric",
        "value",
        "idempotency_key",
        "occurred_at",
        "properties",
    ];
    if item.iter().any(|(name, _)| !known.contains(name)) {
        return None;
    }
    let user = checked("user_id", check_user_id)?;
    let key =
        if get("idempotency_key").is_some() { Some(checked("idempotency_key", check_key)?) } else { None };
    let occurred = match get("occurred_at") {
        None => None,
        Some(Value::String(text)) => Some(Timestamp::parse(text)?),
        Some(Value::Number(number)) => Some(Timestamp::from_unix_number(&number.to_string())?),
        Some(_) => return None,
    };
    let experiment = match get("experiment") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) if number.is_i64() => Some(number.to_string()),
        Some(_) => return None,
    };
    let what = match get("type")?.as_str()? {
        "exposure" => {
            experiment.as_ref()?;
            if get("metric").is_some() || get("value").is_some() {
                return None;
            }
            match (get("variation"), get("variation_index")) {
                (Some(key), None) => What::Exposure(Variation::Key(key.as_str()?.to_owned().into())),
                (None, Some(index)) => What::Exposure(Variation::Index(index.as_i64()?)),
                _ => return None,
            }
        }
        "conversion" => {
            if get("variation").is_some() || get("variation_index").is_some() {
                return None;
            }
            let metric = checked("metric", check_metric)?.into();
            let parsed = match given("value") {
                None => domain::decimal::Parsed { value: Decimal::ONE, rounded: false },
                Some(Value::String(text)) => Decimal::parse(text).ok()?,
                Some(Value::Number(number)) => Decimal::parse(&number.to_string()).ok()?,
                Some(_) => return None,
            };
            What::Conversion { metric, value: parsed.value, rounded: parsed.rounded }
        }
        _ => return None,
    };
    Some(format!("{user:?} {key:?} {occurred:?} {experiment:?} {what:?}"))
}

fn readings(parsed: &Parsed<'_>) -> Vec<Option<String>> {
    let mut all = vec![None; parsed.total()];
    for item in &parsed.items {
        let said = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            item.user_id, item.key, item.occurred_given, item.experiment, item.what
        );
        all[item.index as usize] = Some(said);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_forms_agree_with_a_plain_reading(items in prop::collection::vec(item(), 1..8)) {
        let wanted: Vec<Option<String>> = items.iter().map(|item| plain_reading(item)).collect();
        let texts: Vec<String> = items.iter().map(|item| written(item)).collect();

        let body = format!("{{\"events\" : [{}]}}", texts.join(",\n"));
        let parsed = parse(body.as_bytes(), Shape::Events, Form::Json, 100).unwrap();
        prop_assert_eq!(readings(&parsed), wanted.clone());

        let lines = texts.join("\n");
        let parsed = parse(lines.as_bytes(), Shape::Events, Form::NdJson, 100).unwrap();
        prop_assert_eq!(readings(&parsed), wanted);
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise_than_by_refusing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (shape, form) in [(Shape::Events, Form::Json), (Shape::Exposures, Form::NdJson)] {
            let _ = parse(&bytes, shape, form, 100);
        }
    }

    #[test]
    fn a_damaged_body_never_yields_items_out_of_place(cut in 0usize..400, byte in any::<u8>()) {
        let mut body = String::from("{\"conversions\":[");
        for index in 0..8 {
            let comma = if index == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"user_id":"user-{index}","metric":"m","value":{index}.5}}"#).unwrap();
        }
        body.push_str("]}");
        let mut bytes = body.into_bytes();
        let at = cut % bytes.len();
        bytes[at] = byte;
        if let Ok(parsed) = parse(&bytes, Shape::Conversions, Form::Json, 100) {
            let mut indexes: Vec<u32> = parsed.items.iter().map(|i| i.index).collect();
            indexes.extend(parsed.faults.iter().map(|(index, _)| *index));
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0u32..).take(parsed.total()).collect::<Vec<_>>());
        }
    }
}
