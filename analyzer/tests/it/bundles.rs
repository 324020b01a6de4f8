//! Bundles of definitions: what is written is read, and nothing that was changed on the way.

use analyzer::workspace::bundle::{BundleError, Signature, read, write};
use domain::definition::Definition;
use proptest::prelude::*;
use serde_json::{Value, json};
use service::settings::Secret;

/// Written by the first release, signed with [`key`].
const FIRST: &str = include_str!("../data/workspace-1.json");

fn key() -> Secret {
    Secret::new("a key of the workspace")
}

fn definition(key: &str) -> Definition {
    let text = json!({
        "key": key, "description": "\u{fc}ber \"alles\"\n", "labels": ["a", "b"],
        "variations": [{"key": "control", "weight": 0.3}, {"key": "treatment", "weight": 1e-7}],
        "metrics": [
            {"key": "revenue", "event": "purchase", "type": "mean", "cap": "1000.5"},
            {"key": "errors", "type": "proportion", "direction": "down", "role": "guardrail", "margin": 0.02},
        ],
        "attribution": {"window_hours": 72}, "analysis": {"mde": 0.05, "cuped": {"covariates": ["age"]}},
        "targeting": {"country": {"$in": ["DE", "FR"]}},
    });
    serde_json::from_value::<Definition>(text).unwrap().checked().unwrap()
}

fn signed() -> String {
    write(vec![&definition("one"), &definition("another")], Some(&key())).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let mut expected = vec![definition("another"), definition("one")];
    for (with, of) in [(Some(key()), Signature::Valid), (None, Signature::NotChecked)] {
        let bundle = read(&signed(), with.as_ref()).unwrap();
        assert_eq!((bundle.signature, &bundle.definitions), (of, &expected));
    }
    let unsigned = write(expected.iter().collect(), None).unwrap();
    assert_eq!(read(&unsigned, None).unwrap().definitions, expected);
    assert!(matches!(read(&unsigned, Some(&key())), Err(BundleError::Unsigned)));
    let other = Secret::new("another key, as long");
    assert!(matches!(read(&signed(), Some(&other)), Err(BundleError::Altered("signature"))));
    // The order of definitions is no difference, nor is their layout.
    expected.reverse();
    assert_eq!(write(expected.iter().collect(), Some(&key())).unwrap(), signed());
    let spread = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&signed()).unwrap()).unwrap();
    assert_eq!(read(&spread, Some(&key())).unwrap().definitions.len(), 2);
    assert!(write(vec![], None).is_ok_and(|empty| read(&empty, None).unwrap().definitions.is_empty()));
}

#[test]
fn a_bundle_of_the_first_release_is_still_read() {
    let bundle = read(FIRST, Some(&key())).unwrap();
    assert_eq!(bundle.signature, Signature::Valid);
    let keys: Vec<&str> = bundle.definitions.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, ["checkout", "search"]);
    // Members that came later have their defaults.
    assert_eq!((bundle.definitions[1].description.as_str(), bundle.definitions[1].coverage), ("", 1.0));
}

/// Every leaf of the document replaced by another value.
fn altered(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) => {
            let mut all: Vec<Value> = Vec::new();
            for (name, member) in members {
                for other in altered(member) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), other);
                    all.push(changed.into());
                }
                let mut without = members.clone();
                without.remove(name);
                all.push(without.into());
            }
            all
        }
        Value::Array(items) => {
            let mut all: Vec<Value> = Vec::new();
            for (i, item) in items.iter().enumerate() {
                for other in altered(item) {
                    let mut changed = items.clone();
                    changed[i] = other;
                    all.push(changed.into());
                }
                let mut without = items.clone();
                without.remove(i);
                all.push(without.into());
            }
            all
        }
        Value::String(text) => vec![format!("{text} ").into(), Value::Null],
        Value::Number(n) => vec![json!(n.as_f64().unwrap() + 1.0)],
        Value::Bool(so) => vec![(!so).into()],
        Value::Null => vec![1.into()],
    }
}

#[test]
fn no_field_can_be_changed_or_left_out() {
    let bundle: Value = serde_json::from_str(&signed()).unwrap();
    let all = altered(&bundle);
    assert!(all.len() > 150, "{}", all.len());
    for changed in all {
        // Without a key the signature is not looked at.
        let unsigned = changed["signature"] != bundle["signature"];
        let text = changed.to_string();
        assert!(read(&text, Some(&key())).is_err(), "{text}");
        assert!(unsigned || read(&text, None).is_err(), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let reason = |text: &str| read(text, None).unwrap_err().to_string();
    // Whoever has the key can make any bundle; this is what it must be then.
    let made = |content: Value| {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(content.to_string());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut bundle = content;
        bundle["sha256"] = digest.into();
        reason(&bundle.to_string())
    };
    assert!(reason("[]").contains("not a bundle of abstream"));
    assert!(reason("{\"a\": 1, \"a\": 1}").contains("`a` is given more than once"));
    assert!(reason("{}").contains("checksum"));
    let format = "abstream-workspace";
    assert!(made(json!({"format": "other", "version": 1, "experiments": []})).contains("`format` must be"));
    assert!(
        made(json!({"format": format, "version": 2, "experiments": []}))
            .contains("of version 2, this release")
    );
    assert!(made(json!({"format": format, "version": 0, "experiments": []})).contains("of version 0"));
    assert!(made(json!({"format": format, "version": 1, "experiments": [], "more": 1})).contains("`more`"));
    let one = json!({"format": format, "version": 1, "experiments": [{"key": "1"}]});
    assert!(made(one).starts_with("/experiments/0: "));
}

proptest! {
    #![proptest_config(crate::cases(2_000))]

    #[test]
    fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = signed().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(read(&text, Some(&key())).is_err(), "{}", text);
        }
    }
}
