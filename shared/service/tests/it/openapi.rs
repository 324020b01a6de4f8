//! The API document: what it says is approved by whoever changes the golden file, and nothing in it dangles.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn document() -> Value {
    serde_json::from_str(service::openapi::DOCUMENT.as_ref().unwrap()).unwrap()
}

/// What clients rely on, a line for each operation, schema, parameter and code.
fn lines(document: &Value) -> BTreeMap<String, Value> {
    let mut lines = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            lines.insert(format!("{} {path}", method.to_uppercase()), operation.clone());
        }
    }
    let components = document["components"].as_object().unwrap();
    for (kind, of_kind) in components.iter().chain([(&"codes".to_owned(), &document["x-error-codes"])]) {
        for (name, of) in of_kind.as_object().unwrap() {
            lines.insert(format!("{kind} {name}"), of.clone());
        }
    }
    lines
}

#[test]
fn the_document_is_the_one_approved() {
    let now = lines(&document());
    let golden: BTreeMap<String, Value> = serde_json::from_str(include_str!("../data/openapi.json")).unwrap();
    let changed: BTreeSet<&String> =
        now.keys().chain(golden.keys()).filter(|name| now.get(*name) != golden.get(*name)).collect();
    if changed.is_empty() {
        return;
    }
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi.json");
    let written: Vec<String> =
        now.iter().map(|(name, of)| format!("{}: {of}", Value::from(name.as_str()))).collect();
    fs::write(&fresh, format!("{{\n{}\n}}\n", written.join(",\n"))).unwrap();
    let fresh = fresh.display();
    panic!("{changed:?}: if that is meant, cp {fresh} shared/service/tests/data/openapi.json");
}

#[test]
fn nothing_is_named_that_is_not_there_and_nothing_is_there_unnamed() {
    let document = document();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    for reference in &named {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    let components = ["schemas", "parameters"].into_iter().flat_map(|kind| {
        let of_kind = document["components"][kind].as_object().unwrap();
        of_kind.keys().map(move |name| format!("/components/{kind}/{name}")).collect::<Vec<_>>()
    });
    assert_eq!(components.collect::<BTreeSet<_>>(), named);
}

fn references(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
            named.extend(target.map(str::to_owned));
            members.values().for_each(|member| references(member, named));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn operations_have_names_of_their_own_and_parameters_for_their_paths() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let given: Vec<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|p| p["$ref"].as_str())
                .collect();
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let wanted = format!("#/components/parameters/{name}");
                assert!(given.contains(&wanted.as_str()), "{method} {path}: {name}");
            }
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        }
    }
}

#[test]
fn every_code_has_a_status_and_a_meaning() {
    for (code, of) in document()["x-error-codes"].as_object().unwrap() {
        assert!((400..=599).contains(&of["status"].as_u64().unwrap()), "{code}");
        assert!(of["meaning"].as_str().unwrap().ends_with('.'), "{code}");
    }
}
