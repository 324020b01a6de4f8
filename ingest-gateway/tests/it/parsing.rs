//! Tables: every mistake a body or an item can hold, with the code it is answered with.

use domain::{Decimal, Timestamp};
use ingest_gateway::body::{Fault, Form, Item, Parsed, Refusal, Shape, Variation, What, parse};
use ingest_gateway::codes::Code;

const MAX: usize = 10_000;

fn json(body: &str, shape: Shape) -> Result<Parsed<'_>, Refusal> {
    parse(body.as_bytes(), shape, Form::Json, MAX)
}

fn refused(body: &[u8], shape: Shape) -> Code {
    parse(body, shape, Form::Json, MAX).expect_err("the body is bad").code
}

/// The body of one item.
fn body_of(shape: Shape, item: &str) -> String {
    format!(r#"{{"{}":[{item}]}}"#, shape.list())
}

fn fault(shape: Shape, item: &str) -> Fault {
    let body = body_of(shape, item);
    let parsed = json(&body, shape).unwrap_or_else(|refusal| panic!("{item}: {refusal:?}"));
    assert_eq!(parsed.items, [], "{item} must be refused");
    assert_eq!(parsed.faults[0].0, 0);
    parsed.faults[0].1.clone()
}

fn item(shape: Shape, item: &str, check: impl FnOnce(&Item<'_>)) {
    let body = body_of(shape, item);
    let parsed = json(&body, shape).unwrap();
    assert_eq!(parsed.faults, [], "{item} must be accepted");
    check(&parsed.items[0]);
}

#[test]
fn a_conversion_with_every_field() {
    let text = r#"{"user_id":"u\u00e9","metric":"purchase","value":"12.5","idempotency_key":"k","occurred_at":"2026-03-01T00:00:00Z","properties":{"a":[1]}}"#;
    item(Shape::Conversions, text, |item| {
        assert_eq!(item.user_id, "u\u{e9}");
        assert_eq!(item.key.as_deref(), Some("k"));
        assert_eq!(item.occurred_given, Timestamp::parse("2026-03-01T00:00:00Z"));
        let wanted =
            What::Conversion { metric: "purchase".into(), value: Decimal(12_500_000), rounded: false };
        assert_eq!(item.what, wanted);
    });
}

#[test]
fn absent_and_null_fields_have_their_defaults() {
    for text in [
        r#"{"user_id":"u","metric":"m"}"#,
        r#"{"user_id":"u","metric":"m","idempotency_key":null,"occurred_at":null,"properties":null}"#,
    ] {
        item(Shape::Conversions, text, |item| {
            assert_eq!((item.key.as_deref(), item.occurred_given), (None, None));
            let wanted = What::Conversion { metric: "m".into(), value: Decimal::ONE, rounded: false };
            assert_eq!(item.what, wanted);
        });
    }
}

#[test]
fn values_are_read_from_their_text() {
    for (text, wanted, rounded) in [
        ("0", 0, false),
        ("-0.000001", -1, false),
        ("1e3", 1_000_000_000, false),
        ("9007199254740993", 0, false),
        ("0.1234565", 123_456, true),
        ("0.1234575", 123_458, true),
        (r#""9.99""#, 9_990_000, false),
        (r#""\u0031""#, 1_000_000, false),
        ("9199999999999.999999", 9_199_999_999_999_999_999, false),
    ] {
        let body = format!(r#"{{"user_id":"u","metric":"m","value":{text}}}"#);
        if text == "9007199254740993" {
            assert_eq!(fault(Shape::Conversions, &body).code, Code::ValueOutOfRange);
            continue;
        }
        item(Shape::Conversions, &body, |item| {
            let wanted = What::Conversion { metric: "m".into(), value: Decimal(wanted), rounded };
            assert_eq!(item.what, wanted, "{text}");
        });
    }
}

#[test]
fn instants_in_every_form() {
    let second = Some(Timestamp(1_700_000_000_000_000));
    for (text, wanted) in [
        ("1700000000", second),
        ("1700000000000", second),
        ("1700000000.5", second.map(|t| t.plus(500_000))),
        (r#""2023-11-14T22:13:20Z""#, second),
        (r#""2023-11-14T22:13:20""#, second),
        (r#""2023-11-15T00:13:20+02:00""#, second),
    ] {
        let body = format!(r#"{{"user_id":"u","variation_index":1,"occurred_at":{text}}}"#);
        item(Shape::Exposures, &body, |item| assert_eq!(item.occurred_given, wanted, "{text}"));
    }
}

#[test]
fn events_name_kind_and_experiment() {
    let exposure = r#"{"type":"exposure","user_id":"u","experiment":"checkout","variation":"b"}"#;
    item(Shape::Events, exposure, |item| {
        assert_eq!(item.experiment.as_deref(), Some("checkout"));
        assert_eq!(item.what, What::Exposure(Variation::Key("b".into())));
    });
    let numbered = r#"{"type":"exposure","user_id":"u","experiment":17,"variation_index":0,"metric":null}"#;
    item(Shape::Events, numbered, |item| {
        assert_eq!(item.experiment.as_deref(), Some("17"));
        assert_eq!(item.what, What::Exposure(Variation::Index(0)));
    });
    item(Shape::Events, r#"{"type":"conversion","user_id":"u","metric":"m"}"#, |item| {
        assert_eq!(item.experiment, None);
    });
}

#[test]
fn every_item_error_has_its_code_and_field() {
    use Code::*;
    use Shape::*;
    let long = "x".repeat(201);
    let properties = format!(r#"{{"user_id":"u","metric":"m","properties":{{"a":"{}"}}}}"#, "x".repeat(8192));
    let table: &[(Shape, &str, Code, Option<&str>)] = &[
        // The item itself.
        (Conversions, "null", InvalidItem, None),
        (Conversions, "true", InvalidItem, None),
        (Conversions, "1", InvalidItem, None),
        (Conversions, "-1", InvalidItem, None),
        (Conversions, "1.5", InvalidItem, None),
        (Conversions, r#""u""#, InvalidItem, None),
        (Conversions, r#"["u"]"#, InvalidItem, None),
        // Unknown, foreign and repeated fields.
        (Conversions, r#"{"user_id":"u","metric":"m","userId":1}"#, UnknownField, Some("userId")),
        (Conversions, r#"{"user_id":"u","metric":"m","variation":"b"}"#, UnknownField, Some("variation")),
        (Conversions, r#"{"user_id":"u","metric":"m","experiment":"e"}"#, UnknownField, Some("experiment")),
        (Exposures, r#"{"user_id":"u","variation":"b","metric":"m"}"#, UnknownField, Some("metric")),
        (
            Events,
            r#"{"type":"exposure","user_id":"u","experiment":"e","variation":"b","value":1}"#,
            UnknownField,
            Some("value"),
        ),
        (
            Events,
            r#"{"type":"conversion","user_id":"u","metric":"m","variation_index":1}"#,
            UnknownField,
            Some("variation_index"),
        ),
        (Conversions, r#"{"user_id":"u","user_id":"u","metric":"m"}"#, DuplicateField, Some("user_id")),
        (Conversions, r#"{"user_id":"u","user\u005fid":"v","metric":"m"}"#, DuplicateField, Some("user_id")),
        // Required fields.
        (Conversions, "{}", MissingField, Some("user_id")),
        (Conversions, r#"{"user_id":null,"metric":"m"}"#, MissingField, Some("user_id")),
        (Conversions, r#"{"user_id":"u"}"#, MissingField, Some("metric")),
        (Exposures, r#"{"user_id":"u"}"#, MissingField, Some("variation")),
        (Events, r#"{"user_id":"u","metric":"m"}"#, MissingField, Some("type")),
        (Events, r#"{"type":"exposure","user_id":"u","variation":"b"}"#, MissingField, Some("experiment")),
        // Wrong types.
        (Conversions, r#"{"user_id":1,"metric":"m"}"#, InvalidType, Some("user_id")),
        (Conversions, r#"{"user_id":["u"],"metric":"m"}"#, InvalidType, Some("user_id")),
        (Conversions, r#"{"user_id":"\ud800","metric":"m"}"#, InvalidType, Some("user_id")),
        (Conversions, r#"{"user_id":"u","metric":{}}"#, InvalidType, Some("metric")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":true}"#, InvalidType, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":[1]}"#, InvalidType, Some("value")),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","idempotency_key":7}"#,
            InvalidType,
            Some("idempotency_key"),
        ),
        (Conversions, r#"{"user_id":"u","metric":"m","occurred_at":{}}"#, InvalidType, Some("occurred_at")),
        (Conversions, r#"{"user_id":"u","metric":"m","properties":[]}"#, InvalidType, Some("properties")),
        (Exposures, r#"{"user_id":"u","variation":1}"#, InvalidType, Some("variation")),
        (Exposures, r#"{"user_id":"u","variation_index":"1"}"#, InvalidType, Some("variation_index")),
        (Exposures, r#"{"user_id":"u","variation_index":1.0}"#, InvalidType, Some("variation_index")),
        (Exposures, r#"{"user_id":"u","variation_index":1e0}"#, InvalidType, Some("variation_index")),
        (Events, r#"{"type":1,"user_id":"u"}"#, InvalidType, Some("type")),
        (
            Events,
            r#"{"type":"conversion","user_id":"u","metric":"m","experiment":1.5}"#,
            InvalidType,
            Some("experiment"),
        ),
        // Texts.
        (Conversions, r#"{"user_id":"","metric":"m"}"#, InvalidUserId, Some("user_id")),
        (Conversions, r#"{"user_id":"a\u0000b","metric":"m"}"#, InvalidUserId, Some("user_id")),
        (Conversions, r#"{"user_id":"a\u0085b","metric":"m"}"#, InvalidUserId, Some("user_id")),
        (Conversions, r#"{"user_id":"u","metric":"a\nb"}"#, InvalidMetric, Some("metric")),
        (Conversions, r#"{"user_id":"u","metric":""}"#, InvalidMetric, Some("metric")),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","idempotency_key":"@x"}"#,
            InvalidIdempotencyKey,
            Some("idempotency_key"),
        ),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","idempotency_key":""}"#,
            InvalidIdempotencyKey,
            Some("idempotency_key"),
        ),
        // Variations and types.
        (
            Exposures,
            r#"{"user_id":"u","variation":"b","variation_index":1}"#,
            AmbiguousVariation,
            Some("variation"),
        ),
        (Events, r#"{"type":"click","user_id":"u"}"#, UnknownEventType, Some("type")),
        // Values.
        (Conversions, r#"{"user_id":"u","metric":"m","value":null}"#, InvalidValue, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":"NaN"}"#, InvalidValue, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":"Infinity"}"#, InvalidValue, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":"12,5"}"#, InvalidValue, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":""}"#, InvalidValue, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":1e999}"#, ValueOutOfRange, Some("value")),
        (Conversions, r#"{"user_id":"u","metric":"m","value":-9.2e12}"#, ValueOutOfRange, Some("value")),
        // Instants.
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","occurred_at":"yesterday"}"#,
            InvalidOccurredAt,
            Some("occurred_at"),
        ),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","occurred_at":"2026-03-01"}"#,
            InvalidOccurredAt,
            Some("occurred_at"),
        ),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","occurred_at":1e300}"#,
            InvalidOccurredAt,
            Some("occurred_at"),
        ),
        (
            Conversions,
            r#"{"user_id":"u","metric":"m","occurred_at":9223372036854775807}"#,
            InvalidOccurredAt,
            Some("occurred_at"),
        ),
        // Properties.
        (Conversions, &properties, InvalidProperties, Some("properties")),
    ];
    for (shape, text, code, field) in table {
        let found = fault(*shape, text);
        assert_eq!((found.code, found.field.as_deref()), (*code, *field), "{text}");
        assert!(!found.detail.is_empty());
    }
    for (name, max, code) in [("user_id", 200, InvalidUserId), ("metric", 100, InvalidMetric)] {
        let other = if name == "user_id" { "metric" } else { "user_id" };
        let text = |length| format!(r#"{{"{other}":"o","{name}":"{}"}}"#, "\u{e9}".repeat(length));
        item(Conversions, &text(max), |_| ());
        assert_eq!(fault(Conversions, &text(max + 1)).code, code);
    }
    let key = format!(r#"{{"user_id":"u","metric":"m","idempotency_key":"{long}"}}"#);
    assert_eq!(fault(Conversions, &key).code, InvalidIdempotencyKey);
}

#[test]
fn pointers_lead_to_the_field_in_the_body() {
    let bad = r#"{"events":[{"type":"conversion","user_id":"u","metric":"m"},{"type":"conversion","user_id":"u","metric":"m","a/b~c":1}, 5]}"#;
    let parsed = json(bad, Shape::Events).unwrap();
    assert_eq!((parsed.items.len(), parsed.items[0].index), (1, 0));
    let pointers: Vec<String> =
        parsed.faults.iter().map(|(index, fault)| fault.pointer("events", *index)).collect();
    assert_eq!(pointers, ["/events/1/a~1b~0c", "/events/2"]);
    assert_eq!(parsed.faults[0].1.pointer("", 1), "/1/a~1b~0c", "NDJSON has no list");
}

#[test]
fn what_refuses_the_whole_body() {
    use Code::*;
    let deep_array = "[".repeat(10_000);
    let deep_object = format!(
        r#"{{"conversions":[{{"user_id":"u","metric":"m","properties":{}1{}}}]}}"#,
        r#"{"a":"#.repeat(10_000),
        "}".repeat(10_000)
    );
    let deep_list = format!(r#"{{"conversions":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deep_unknown = format!(r#"{{"x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let table: &[(&[u8], Code)] = &[
        (b"", MalformedJson),
        (b"{", MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m","value":NaN}]}"#, MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m","value":Infinity}]}"#, MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m","value":01}]}"#, MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m"},]}"#, MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}]} x"#, MalformedJson),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}]"#, MalformedJson),
        (b"{\"conversions\":[{\"user_id\":\"a\0b\",\"metric\":\"m\"}]}", MalformedJson),
        (b"{\"conversions\":[{\"user_id\":\"a\nb\",\"metric\":\"m\"}]}", MalformedJson),
        (b"{\"conversions\":[{\"user_id\":\"\xff\",\"metric\":\"m\"}]}", InvalidUtf8),
        (b"{\"conversions\":[{\"user_id\":\"\xed\xa0\x80\",\"metric\":\"m\"}]}", InvalidUtf8),
        (deep_array.as_bytes(), JsonTooDeep),
        (deep_object.as_bytes(), JsonTooDeep),
        (deep_list.as_bytes(), JsonTooDeep),
        (deep_unknown.as_bytes(), JsonTooDeep),
        (b"null", InvalidBody),
        (b"7", InvalidBody),
        (b"[]", InvalidBody),
        (b" \"conversions\"", InvalidBody),
        (b"{}", InvalidBody),
        (br#"{"conversions":{}}"#, InvalidBody),
        (br#"{"conversions":null}"#, InvalidBody),
        (br#"{"sent_at":1}"#, InvalidBody),
        (br#"{"exposures":[]}"#, UnknownField),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}],"extra":1}"#, UnknownField),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}],"conversions":[]}"#, DuplicateField),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":1,"sent_at":1}"#, DuplicateField),
        (br#"{"conversions":[]}"#, EmptyBatch),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":"soon"}"#, InvalidSentAt),
        (br#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":true}"#, InvalidSentAt),
    ];
    for (body, code) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        assert_eq!(refused(body, Shape::Conversions), *code, "{shown}");
    }
    let unknown = json(r#"{"converions":[]}"#, Shape::Conversions).unwrap_err();
    assert!(unknown.detail.contains("`converions`"), "{}", unknown.detail);
}

#[test]
fn depth_is_counted_from_the_body_on() {
    // The item's properties begin at level 4.
    let nested = |levels: usize| {
        let inner = levels - 4;
        format!(
            r#"{{"conversions":[{{"user_id":"u","metric":"m","properties":{{"a":{}{}}}}}]}}"#,
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };
    assert!(json(&nested(32), Shape::Conversions).is_ok());
    assert_eq!(refused(nested(33).as_bytes(), Shape::Conversions), Code::JsonTooDeep);
}

#[test]
fn the_limit_on_items_counts_the_bad_ones_too() {
    let body = |n: usize| {
        let items: Vec<&str> =
            (0..n).map(|i| if i % 2 == 0 { r#"{"user_id":"u","metric":"m"}"# } else { "{}" }).collect();
        format!(r#"{{"conversions":[{}]}}"#, items.join(","))
    };
    let parsed = |n| parse(body(n).leak().as_bytes(), Shape::Conversions, Form::Json, 10);
    assert_eq!(parsed(10).unwrap().total(), 10);
    let refusal = parsed(25).unwrap_err();
    assert_eq!(refusal.code, Code::BatchTooLarge);
    assert!(refusal.detail.contains("25"), "{}", refusal.detail);
}

#[test]
fn ndjson_is_judged_line_by_line() {
    let body = "\n{\"user_id\":\"a\",\"metric\":\"m\"}\r\n  \n{\"user_id\":\"b\",\"metric\":\"m\",\"value\":NaN}\n7\n{\"user_id\":\"c\",\"metric\":\"m\"}{}\n{\"user_id\":\"d\",\"metric\":\"m\"}";
    let parsed = parse(body.as_bytes(), Shape::Conversions, Form::NdJson, 5).unwrap();
    let users: Vec<(u32, &str)> = parsed.items.iter().map(|i| (i.index, i.user_id.as_ref())).collect();
    assert_eq!(users, [(0, "a"), (4, "d")]);
    let faults: Vec<(u32, Code)> = parsed.faults.iter().map(|(i, f)| (*i, f.code)).collect();
    assert_eq!(faults, [(1, Code::MalformedJson), (2, Code::InvalidItem), (3, Code::MalformedJson)]);

    let too_many = parse(body.as_bytes(), Shape::Conversions, Form::NdJson, 4).unwrap_err();
    assert_eq!(too_many.code, Code::BatchTooLarge);
    for (body, code) in
        [(&b""[..], Code::EmptyBatch), (b" \n\n", Code::EmptyBatch), (b"\xc0", Code::InvalidUtf8)]
    {
        assert_eq!(parse(body, Shape::Events, Form::NdJson, 4).unwrap_err().code, code);
    }
    let deep = format!("{{\"user_id\":{}", "[".repeat(10_000));
    assert_eq!(parse(deep.as_bytes(), Shape::Events, Form::NdJson, 4).unwrap_err().code, Code::JsonTooDeep);
}

#[test]
fn sent_at_is_read_wherever_it_stands() {
    let wanted = Some(Timestamp(1_700_000_000_000_000));
    for body in [
        r#"{"sent_at":1700000000,"conversions":[{"user_id":"u","metric":"m"}]}"#,
        r#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":"2023-11-14T22:13:20Z"}"#,
    ] {
        assert_eq!(json(body, Shape::Conversions).unwrap().sent_at, wanted);
    }
    let null = r#"{"conversions":[{"user_id":"u","metric":"m"}],"sent_at":null}"#;
    assert_eq!(json(null, Shape::Conversions).unwrap().sent_at, None);
}

#[test]
fn codes_are_unique_and_in_snake_case() {
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
    assert!(
        Code::ALL.iter().all(|code| code.meaning().ends_with('.') && (400..=503).contains(&code.status()))
    );
}
