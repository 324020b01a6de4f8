//! `assign` and `users` over HTTP: what is stored sticks, and stays with its tenant.

use domain::attributes::Said;
use domain::codec::encode_unit;
use domain::{Day, Enrollment, Timestamp, Unit, UnitId};
use serde_json::{Value, json};
use store::Experiment;

use crate::rig::{Rig, code, two_arms};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A user of a tenant as the worker stores it, exposed on the first of March.
async fn store_user(rig: &Rig, tenant: &str, user: &str, e: &Experiment, variation: i16) {
    let exposed = at("2026-03-01T12:00:00Z");
    let mut enrollment = Enrollment::new(&e.plan(), variation, 0, exposed, exposed.day());
    let said =
        |value: &str| Said { value: value.into(), at: None, day: exposed.day(), after_exposure: false };
    enrollment.attributes.stratum = Some(said("gold"));
    enrollment.crossed = vec![(0, Day(exposed.day().0 + 1))];
    let unit = Unit { has_conversions: true, enrollments: vec![enrollment], ..Unit::default() };
    let (id, state) = (hex(&UnitId::of(tenant, user).0), hex(&encode_unit(&unit)));
    rig.sql(&format!(
        "INSERT INTO units (unit, tenant, user_id, state) VALUES ('{id}', '{tenant}', '{user}', '\\x{state}')"
    ))
    .await;
}

async fn store_conversion(rig: &Rig, user: &str, experiment: i64, metric: &str, value: i64, at: &str) {
    let id = hex(&UnitId::of("a", user).0);
    let day = &at[..10];
    rig.sql(&format!(
        "INSERT INTO conversions (unit, experiment, value, occurred_at, received_at, batch, day, tenant, metric, key)
         VALUES ('{id}', {experiment}, {value}, '{at}', '{at}', gen_random_uuid(), '{day}', 'a', '{metric}', '{at}')"
    ))
    .await;
}

#[tokio::test]
async fn users_fall_where_their_id_falls_or_where_they_were_exposed() {
    let rig = Rig::start().await;
    let mut definition = two_arms("checkout");
    definition["coverage"] = json!(0.5);
    definition["namespace"] = json!(["space", 0.0, 0.9]);
    definition["targeting"] = json!({"country": {"$in": ["DE", "FR"]}});
    let created = rig.admin.post_json("/api/v1/experiments", &definition).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let shown = created.json().unwrap();
    for field in ["coverage", "namespace", "targeting"] {
        assert_eq!(shown[field], definition[field]);
    }
    let path = "/api/v1/experiments/checkout/assign";
    let sender = rig.client("send-a");
    let ask = async |user: &str, attributes: Value| {
        let question = json!({"user_id": user, "attributes": attributes});
        let answer = sender.post_json(path, &question).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().unwrap()
    };
    let draft = ask("u", json!({"country": "DE"})).await;
    assert_eq!((&draft["reason"], &draft["in_experiment"]), (&json!("not_running"), &json!(false)));
    assert_eq!(rig.post("/api/v1/experiments/checkout/start").await.status, 200);

    let mut reasons = std::collections::BTreeMap::new();
    for n in 0..200 {
        let user = format!("user-{n}");
        let answer = ask(&user, json!({"country": "DE"})).await;
        *reasons.entry(answer["reason"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert_eq!(answer["user_id"], user.as_str());
        assert_eq!(answer["in_experiment"], answer["reason"] == "assigned");
        assert_eq!(answer["variation_index"].is_u64(), answer["reason"] == "assigned");
        assert_eq!(ask(&user, json!({"country": "DE"})).await, answer);
    }
    let seen: Vec<&str> = reasons.keys().map(String::as_str).collect();
    assert_eq!(seen, ["assigned", "not_covered", "not_in_namespace"]);
    assert!((50..130).contains(&reasons["assigned"]), "{reasons:?}");
    // Namespaces come before conditions.
    let elsewhere = ask("u", json!({"country": "US"})).await["reason"].clone();
    assert!(elsewhere == "not_targeted" || elsewhere == "not_in_namespace");

    // A stored exposure wins over everything, in its tenant.
    let e = rig.store().await.experiment("a", "checkout").await.unwrap().unwrap();
    store_user(&rig, "a", "stored", &e, 1).await;
    store_user(&rig, "a", "held out", &e, -1).await;
    store_user(&rig, "b", "foreign", &e, 1).await;
    let sticky = ask("stored", json!({})).await;
    assert_eq!(
        (&sticky["variation"], &sticky["variation_index"], &sticky["reason"]),
        (&json!("treatment"), &json!(1), &json!("sticky"))
    );
    let held = ask("held out", json!({"country": "DE"})).await;
    assert_eq!((&held["variation"], &held["reason"]), (&json!(null), &json!("holdout")));
    assert_ne!(ask("foreign", json!({})).await["reason"], "sticky");
    rig.post("/api/v1/experiments/checkout/stop").await;
    assert_eq!(ask("stored", json!({})).await["reason"], "sticky");

    for (body, refused) in [
        (json!({"attributes": {}}), "invalid_request"),
        (json!({"user_id": ""}), "invalid_request"),
        (json!({"user_id": "u\u{0}"}), "invalid_request"),
        (json!({"user_id": "u", "attributes": []}), "invalid_request"),
        (json!({"user_id": "u", "salt": 1}), "unknown_field"),
    ] {
        let answer = sender.post_json(path, &body).await.unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (422, refused), "{body}");
    }
    let foreign = rig.client("admin-b").post_json(path, &json!({"user_id": "u"})).await.unwrap();
    assert_eq!((foreign.status, code(&foreign).as_str()), (404, "unknown_experiment"));
    assert_eq!(rig.get(path).await.status, 405);
}

#[tokio::test]
async fn a_user_is_shown_with_what_counted_and_what_did_not() {
    let rig = Rig::start().await;
    let mut definition = two_arms("checkout");
    definition["metrics"] = json!([
        {"key": "purchase", "type": "proportion"},
        {"key": "revenue", "event": "purchase", "type": "mean", "cap": "20"},
        {"key": "basket", "type": "ratio", "numerator": "purchase"},
    ]);
    definition["attribution"] = json!({"window_hours": 48});
    let e = rig.running(&definition).await;
    store_user(&rig, "a", "zoë/1 ", &e, 1).await;
    for (experiment, metric, value, at) in [
        (e.id.0, "purchase", 12_500_000, "2026-03-01T13:00:00Z"),
        (0, "purchase", 10_000_000, "2026-03-02T13:00:00Z"),
        (e.id.0, "purchase", 3_000_000, "2026-02-25T13:00:00Z"),
        (e.id.0, "purchase", 1_000_000, "2026-03-01T11:30:00Z"),
        (e.id.0, "purchase", 1_000_000, "2026-03-04T13:00:00Z"),
        (e.id.0, "visit", 1_000_000, "2026-03-01T14:00:00Z"),
        (e.id.0 + 1, "purchase", 1_000_000, "2026-03-01T15:00:00Z"),
    ] {
        store_conversion(&rig, "zoë/1 ", experiment, metric, value, at).await;
    }
    let path = "/api/v1/experiments/checkout/users/zo%C3%AB%2F1%20";
    let user = rig.ok(path).await;
    assert_eq!(user["user_id"], "zoë/1 ");
    let enrolled = &user["enrollment"];
    assert_eq!((&enrolled["variation"], &enrolled["crossed"]), (&json!("treatment"), &json!([0])));
    assert_eq!(
        (&enrolled["day"], &enrolled["exposed_at"]),
        (&json!("2026-03-01"), &json!("2026-03-01T12:00:00Z"))
    );
    assert_eq!((&enrolled["stratum"], &enrolled["excluded"]), (&json!("gold"), &json!(false)));
    assert_eq!((&enrolled["before_exposure"], &enrolled["after_window"]), (&json!(2), &json!(1)));
    let values = |user: &Value| -> Vec<Value> {
        let metrics = user["metrics"].as_array().unwrap().iter();
        metrics
            .map(|m| json!([m["converted"], m["conversions"], m["value"], m["denominator"], m["before"]]))
            .collect()
    };
    let expected = [
        json!([true, "2", "1", null, "1"]),
        json!([true, "2", "20", null, "3"]),
        json!([true, "2", "22.5", "2", null]),
    ];
    assert_eq!(values(&user), expected);
    let fell: Vec<Value> = user["conversions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| json!([c["value"], c["named_experiment"], c["fell"]]))
        .collect();
    let expected = [
        json!(["3", true, "pre_exposure"]),
        json!(["1", true, "before_exposure"]),
        json!(["12.5", true, "counted"]),
        json!(["1", true, "unused_metric"]),
        json!(["10", false, "counted"]),
        json!(["1", true, "after_window"]),
    ];
    assert_eq!(fell, expected);
    assert_eq!(user["conversions_total"], 6);

    let earlier = rig.ok(&format!("{path}?as_of=2026-03-01")).await;
    assert_eq!(
        (&earlier["enrollment"]["crossed"], &earlier["enrollment"]["after_window"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(values(&earlier)[1], json!([true, "1", "12.5", null, "3"]));
    let before = rig.ok(&format!("{path}?as_of=2026-02-28")).await;
    assert_eq!((&before["enrollment"], &before["metrics"]), (&json!(null), &json!([])));
    assert_eq!(before["conversions"][0]["fell"], "not_enrolled");

    // In another experiment its own conversion and the tenant's are known.
    rig.running(&two_arms("second")).await;
    let elsewhere = rig.ok(&path.replace("checkout", "second")).await;
    assert_eq!((&elsewhere["enrollment"], &elsewhere["conversions_total"]), (&json!(null), &json!(2)));

    for (client, path, status, refused) in [
        ("admin-a", "/api/v1/experiments/checkout/users/nobody", 404, "unknown_user"),
        ("admin-a", "/api/v1/experiments/checkout/users/%ff", 404, "unknown_user"),
        ("admin-a", "/api/v1/experiments/none/users/nobody", 404, "unknown_experiment"),
        ("admin-b", path, 404, "unknown_experiment"),
        ("read-a", path, 403, "missing_scope"),
    ] {
        let answer = rig.client(client).get(path).await.unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (status, refused), "{client} {path}");
    }
    // The other tenant has an experiment of this name, and no such user.
    rig.client("admin-b").post_json("/api/v1/experiments", &definition).await.unwrap();
    let foreign = rig.client("admin-b").get(path).await.unwrap();
    assert_eq!((foreign.status, code(&foreign).as_str()), (404, "unknown_user"));
    let posted = rig.admin.post(path, &[], "").await.unwrap();
    assert_eq!(posted.status, 405);
}
