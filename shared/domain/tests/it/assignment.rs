//! Who sees which variation: the reference vectors of the hash, and conditions on attributes.

use crate::definition::read;
use domain::assignment::bucket::{bucket_ranges, choose, hash_v1, hash_v2};
use domain::assignment::{Assigned, assign, targeting};
use domain::definition::Namespace;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn ranges(vector: &Value) -> Vec<(f64, f64)> {
    let weights: Option<Vec<f64>> = serde_json::from_value(vector["weights"].clone()).unwrap();
    let variations = usize::try_from(vector["variations"].as_u64().unwrap()).unwrap();
    bucket_ranges(variations, vector["coverage"].as_f64().unwrap(), weights.as_deref())
}

/// -1 = none.
fn index(choice: Option<usize>) -> Value {
    choice.map_or_else(|| json!(-1), |i| json!(i))
}

#[test]
fn every_reference_vector_agrees() {
    let file: Value = serde_json::from_str(include_str!("../data/hash_vectors.json")).unwrap();
    let (mut hashes, mut probes, mut namespaces) = (0, 0, 0);
    for vector in file["vectors"].as_array().unwrap() {
        let (id, text) = (&vector["id"], |name: &str| vector[name].as_str().unwrap());
        if let Some(expected) = vector["ranges"].as_array() {
            let got = ranges(vector);
            assert_eq!(got.len(), expected.len(), "{id}");
            for ((start, end), expected) in got.iter().zip(expected) {
                for (got, expected) in [(start, &expected[0]), (end, &expected[1])] {
                    assert!((got - expected.as_f64().unwrap()).abs() <= 1e-12, "{id}");
                }
            }
            for probe in vector["probes"].as_array().into_iter().flatten() {
                let choice = choose(probe["hash"].as_f64().unwrap(), &got);
                assert_eq!(index(choice), probe["variation_index"], "{id} {probe}");
                probes += 1;
            }
        }
        if vector["hash_v2"].is_number() {
            let hash = hash_v2(text("seed"), text("value"));
            assert_eq!(
                (json!(hash), &vector["variation_index"]),
                (vector["hash_v2"].clone(), &index(choose(hash, &ranges(vector)))),
                "{id}"
            );
            assert_eq!(json!(hash_v1(text("seed"), text("value"))), vector["hash_v1"], "{id}");
            hashes += 1;
        }
        if vector["namespace"].is_array() {
            let namespace: Namespace = serde_json::from_value(vector["namespace"].clone()).unwrap();
            assert_eq!(
                json!(hash_v1(&format!("__{}", namespace.0), text("value"))),
                vector["namespace_hash_v1"]
            );
            assert_eq!(json!(namespace.holds(text("value"))), vector["in_namespace"], "{id}");
            namespaces += 1;
        }
    }
    assert_eq!((hashes, probes, namespaces), (13, 32, 3));
}

#[test]
fn conditions_hold_or_do_not() {
    let attributes = json!({
        "country": "DE", "age": 30, "beta": true, "plan": null, "tags": ["a", "b"], "zero": 0, "text_number": "30",
        "device": {"os": "ios", "size": {"w": 3}}, "orders": [{"n": 1}, {"n": 5}],
    });
    let table = [
        (json!({}), true),
        (json!({"country": "DE"}), true),
        (json!({"country": "FR"}), false),
        (json!({"country": "DE", "age": 31}), false),
        (json!({"age": "30"}), true),
        (json!({"text_number": 30}), true),
        (json!({"age": {"$eq": "30"}}), false),
        (json!({"age": {"$eq": 30.0}}), true),
        (json!({"country": {"$ne": "FR"}}), true),
        (json!({"age": {"$gt": 29, "$lt": 31}}), true),
        (json!({"age": {"$gte": 31}}), false),
        (json!({"age": {"$lte": 30}}), true),
        (json!({"country": {"$lt": "DF"}}), true),
        (json!({"country": {"$gt": 1}}), false),
        (json!({"country": {"$in": ["FR", "DE"]}}), true),
        (json!({"country": {"$nin": ["FR", "DE"]}}), false),
        (json!({"tags": {"$in": ["b", "c"]}}), true),
        (json!({"tags": {"$nin": ["c"]}}), true),
        (json!({"tags": {"$all": ["b", "a"]}}), true),
        (json!({"tags": {"$all": ["a", "c"]}}), false),
        (json!({"country": {"$all": ["DE"]}}), false),
        (json!({"tags": {"$size": 2}}), true),
        (json!({"tags": {"$size": {"$gt": 2}}}), false),
        (json!({"tags": ["a", "b"]}), true),
        (json!({"tags": ["b", "a"]}), false),
        (json!({"orders": {"$elemMatch": {"n": {"$gt": 4}}}}), true),
        (json!({"orders": {"$elemMatch": {"n": 4}}}), false),
        (json!({"tags": {"$elemMatch": {"$eq": "b"}}}), true),
        (json!({"beta": true}), true),
        (json!({"plan": {"$exists": true}}), false),
        (json!({"nothing": {"$exists": false}}), true),
        (json!({"age": {"$exists": true}}), true),
        (json!({"plan": null}), true),
        (json!({"nothing": null}), true),
        (json!({"nothing": false}), false),
        (json!({"zero": false}), true),
        (json!({"nothing": {"$gt": -1}}), true),
        (json!({"device.os": "ios"}), true),
        (json!({"device.size.w": {"$lt": 4}}), true),
        (json!({"device.size.h": 3}), false),
        (json!({"country.length": 2}), false),
        (json!({"country": {"$not": "FR"}}), true),
        (json!({"age": {"$not": {"$gt": 10}}}), false),
        (json!({"$or": [{"country": "FR"}, {"age": 30}]}), true),
        (json!({"$or": []}), true),
        (json!({"$nor": [{"country": "FR"}, {"age": 30}]}), false),
        (json!({"$and": [{"country": "DE"}, {"age": 30}]}), true),
        (json!({"$not": {"country": "DE"}}), false),
        (json!({"country": "DE", "$or": [{"age": 1}, {"age": 2}]}), false),
    ];
    for (condition, wanted) in table {
        assert_eq!(targeting::check(&condition), Ok(()), "{condition}");
        assert_eq!(targeting::holds(&condition, attributes.as_object().unwrap()), wanted, "{condition}");
    }
}

#[test]
fn what_is_not_offered_is_refused_by_name() {
    let deep = (0..20).fold(json!({"a": 1}), |inner, _| json!({"$not": inner}));
    assert_eq!(targeting::check(&deep), Ok(()));
    for (condition, named) in [
        (json!([]), "an object"),
        (json!("DE"), "an object"),
        (json!({"a": {"$regex": "x"}}), "`$regex`"),
        (json!({"a": {"$vgt": "1.0"}}), "`$vgt`"),
        (json!({"a": {"$inGroup": "g"}}), "`$inGroup`"),
        (json!({"$where": 1}), "`$where`"),
        (json!({"$or": {"a": 1}}), "`$or`"),
        (json!({"$and": [{"$or": [1]}]}), "an object"),
        (json!({"$not": {"a": {"$lt": null}}}), "`$lt`"),
        (json!({"a": {"$in": 1}}), "`$in`"),
        (json!({"a": {"$exists": 1}}), "`$exists`"),
        (json!({"a": {"$gt": 1, "b": 1}}), "side by side"),
        (json!({"a": {"$not": {"$like": 1}}}), "`$like`"),
        (json!({"a": {"$elemMatch": {"b": {"$size": {"$x": 1}}}}}), "`$x`"),
        (json!({"a": "x".repeat(17_000)}), "16384 bytes"),
    ] {
        let refused = targeting::check(&condition).unwrap_err().to_string();
        assert!(refused.contains(named), "{condition}: {refused}");
    }
}

fn definition(more: Value) -> Value {
    let mut definition = json!({
        "key": "checkout",
        "variations": [{"key": "a", "weight": 3}, {"key": "b", "weight": 1}],
        "metrics": [{"key": "purchase", "type": "proportion"}],
    });
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    definition
}

fn assigned(more: Value, user_id: &str, attributes: Value) -> Assigned {
    let attributes: Map<String, Value> = serde_json::from_value(attributes).unwrap();
    assign(&read(definition(more)), user_id, &attributes)
}

#[test]
fn each_condition_keeps_its_users_out() {
    let (nobody, none) = (json!({"coverage": 0}), json!({}));
    assert_eq!(assigned(nobody, "u", none.clone()), Assigned::NotCovered);
    // user-1 is at 0.709 of the namespace.
    let space = |start: f64, end: f64| json!({"namespace": ["ns", start, end], "coverage": 1});
    assert_eq!(assigned(space(0.0, 0.5), "user-1", none.clone()), Assigned::NotInNamespace);
    assert!(matches!(assigned(space(0.7, 0.71), "user-1", none.clone()), Assigned::Variation(_)));
    let german = json!({"targeting": {"country": "DE"}});
    assert_eq!(assigned(german.clone(), "u", none.clone()), Assigned::NotTargeted);
    assert!(matches!(assigned(german, "u", json!({"country": "DE"})), Assigned::Variation(_)));
    // The id is an attribute, unless the caller says otherwise.
    let one = json!({"targeting": {"id": "u"}});
    assert!(matches!(assigned(one.clone(), "u", none), Assigned::Variation(_)));
    assert_eq!(assigned(one, "u", json!({"id": "v"})), Assigned::NotTargeted);
}

#[test]
fn refused_audiences_name_their_field() {
    for (more, pointer) in [
        (json!({"coverage": -0.1}), "/coverage"),
        (json!({"coverage": 1.01}), "/coverage"),
        (json!({"namespace": ["", 0, 1]}), "/namespace/0"),
        (json!({"namespace": ["ns", 0.5, 0.5]}), "/namespace"),
        (json!({"namespace": ["ns", -0.5, 0.5]}), "/namespace"),
        (json!({"namespace": ["ns", 0, 1.5]}), "/namespace"),
        (json!({"targeting": {"a": {"$regex": "x"}}}), "/targeting"),
    ] {
        let parsed: domain::definition::Definition =
            serde_json::from_value(definition(more.clone())).unwrap();
        assert_eq!(parsed.checked().unwrap_err().pointer, pointer, "{more}");
    }
    // As it is written and stored; a definition without an audience is for everybody.
    let stored = serde_json::to_value(read(definition(json!({"namespace": ["ns", 0, 0.5]})))).unwrap();
    assert_eq!((&stored["namespace"], &stored["coverage"]), (&json!(["ns", 0.0, 0.5]), &json!(1.0)));
    assert_eq!(stored["targeting"], Value::Null);
}

#[test]
fn users_spread_by_weight_and_coverage() {
    let definition = read(definition(json!({"coverage": 0.5})));
    let mut counts = [0u32; 3];
    for n in 0..20_000 {
        match assign(&definition, &format!("user-{n}"), &Map::new()) {
            Assigned::Variation(i) => counts[i] += 1,
            _ => counts[2] += 1,
        }
    }
    // Of 20,000: 3/8, 1/8, 1/2, each within five standard deviations.
    for (count, wanted) in counts.into_iter().zip([7_500u32, 2_500, 10_000]) {
        assert!(count.abs_diff(wanted) < 350, "{counts:?}");
    }
}

proptest! {
    #![proptest_config(crate::cases(300))]

    /// More coverage takes users in and moves nobody; the unit of weights does not matter.
    #[test]
    fn coverage_only_adds_users(user in ".{0,20}", low in 0.0f64..1.0, more in 0.0f64..1.0, factor in 2.0f64..100.0) {
        let at = |coverage: f64, factor: f64| {
            let variations = json!([{"key": "a", "weight": 3.0 * factor}, {"key": "b", "weight": factor}]);
            assigned(json!({"coverage": coverage, "variations": variations}), &user, json!({}))
        };
        let (few, many) = (at(low, 1.0), at(low + (1.0 - low) * more, 1.0));
        prop_assert!(few == many || few == Assigned::NotCovered);
        prop_assert!(matches!(at(1.0, 1.0), Assigned::Variation(_)));
        // A hash step lies a hundredth of a percent from the next, rounding much less.
        prop_assert_eq!(at(1.0, 1.0), at(1.0, factor.round()));
    }
}
