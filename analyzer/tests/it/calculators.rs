//! The stateless calculators: numbers in, numbers out, or a refusal that names the field.

use crate::rig::{Rig, code};
use analyzer::calculators::power::{Question, answer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn asked(question: Value) -> Value {
    let question: Question = serde_json::from_value(question).unwrap();
    serde_json::to_value(answer(&question).unwrap()).unwrap()
}

fn refusal(question: Value) -> String {
    let question: Question = serde_json::from_value(question).unwrap();
    answer(&question).unwrap_err().pointer.to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The reference cases of the power family, as the route answers them.
#[test]
fn the_route_gives_the_reference_numbers() {
    let fixed =
        json!({"type": "proportion", "baseline": 0.1, "mde": 0.1, "mode": "fixed", "users_per_day": 3000});
    let got = asked(fixed);
    let size = &got["sample_size"];
    assert!((number(&size["control"]) - 14_748.045_020_841_939).abs() < 1e-5, "{size}");
    assert!((number(&size["control_by_arcsine"]) - 14_744.104_836_925_51).abs() < 0.02, "{size}");
    assert_eq!((&size["arms"], &size["total"]), (&json!([14_749, 14_749]), &json!(29_498)));
    // 9.8 days are two whole weeks.
    assert_eq!(size["duration_days"], 14);

    let one_sided = json!({
        "type": "proportion", "baseline": 0.1, "mde": 0.1, "mode": "fixed", "alternative": "one_sided",
    });
    assert!((number(&asked(one_sided)["sample_size"]["control"]) - 11_617.025_038_965_146).abs() < 1e-5);

    let mean = json!({
        "type": "mean", "baseline": 10, "stddev": 10, "mde": 0.2, "mode": "fixed", "users": 1000,
    });
    let got = asked(mean);
    assert!((number(&got["sample_size"]["control_by_t"]) - 393.405_693_000_252_6).abs() < 1e-3, "{got}");
    let with = &got["with_users"];
    assert!((number(&with["power"]) - 0.885_379_140_762_351_2).abs() < 1e-9, "{with}");
    assert!((number(&with["power_by_t"]) - 0.884_788_506_300_756_1).abs() < 1e-7, "{with}");
    assert!((number(&with["mde"]) - 0.177_187_8).abs() < 1e-6, "{with}");

    let pooled = json!({"type": "proportion", "baseline": 0.1, "mde": 0.1, "mode": "fixed", "users": 30_000});
    let power = number(&asked(pooled)["with_users"]["power_pooled"]);
    assert!((power - 0.806_533_654_656_268_9).abs() < 1e-7, "{power}");

    let under_way = json!({
        "type": "mean", "baseline": 1, "stddev": 1, "mde": 0.1, "alpha": 0.01, "mode": "fixed",
        "standard_error": 0.06, "more_data": 3,
    });
    let under_way = &asked(under_way)["under_way"];
    assert!((number(&under_way["power_with_more"]) - 0.775_626_025_451_182_1).abs() < 1e-9, "{under_way}");
}

#[test]
fn arms_of_other_shares_and_several_treatments_need_more() {
    let base = json!({"type": "ratio", "baseline": 25.0, "stddev": 40.0, "mde": 0.03, "mode": "fixed"});
    let with = |name: &str, value: Value| {
        let mut question = base.clone();
        question[name] = value;
        asked(question)["sample_size"].clone()
    };
    let total = |size: &Value| number(&size["total"]);
    let even = with("weights", json!([1, 1]));
    let uneven = with("weights", json!([9, 1]));
    assert!(total(&uneven) > 2.5 * total(&even) && uneven["arms"][0].as_f64() > uneven["arms"][1].as_f64());
    let many = with("weights", json!([1, 1, 1, 1]));
    assert!(total(&many) > 2.0 * total(&even) && many["arms"].as_array().unwrap().len() == 4);
    let mut uncorrected = base.clone();
    (uncorrected["weights"], uncorrected["correction"]) = (json!([1, 1, 1, 1]), json!("none"));
    assert!((total(&asked(uncorrected)["sample_size"]) - 2.0 * total(&even)).abs() <= 4.0);
    let reduced = with("variance_reduction", json!(0.5));
    assert!((total(&reduced) - 0.5 * total(&even)).abs() <= 2.0);
    // An answer that holds at every look costs users.
    let sequential = with("mode", json!("sequential"));
    assert!(
        total(&sequential) > 1.3 * total(&even) && total(&sequential) < 3.0 * total(&even),
        "{sequential}"
    );
    assert_eq!(
        (&sequential["control_by_t"], with("mode", json!("fixed"))["control_by_t"].is_number()),
        (&json!(null), true)
    );
}

#[test]
fn senseless_questions_are_refused_by_field() {
    let fine = json!({"type": "proportion", "baseline": 0.1, "mde": 0.1});
    assert!(asked(fine.clone())["sample_size"]["total"].is_u64());
    for (name, value, pointer) in [
        ("baseline", json!(0), "/baseline"),
        ("baseline", json!(1), "/baseline"),
        ("stddev", json!(1), "/stddev"),
        ("mde", json!(0), "/mde"),
        ("mde", json!(-1), "/mde"),
        ("mde", json!(9.5), "/mde"),
        ("mde", json!(null), "/mde"),
        ("mde", json!(1e-9), "/mde"),
        ("alpha", json!(0), "/power"),
        ("alpha", json!(0.9), "/power"),
        ("power", json!(1), "/power"),
        ("weights", json!([1]), "/weights"),
        ("weights", json!([1, 0]), "/weights"),
        ("mode", json!("bayesian"), "/mode"),
        ("alternative", json!("one_sided"), "/alternative"),
        ("variance_reduction", json!(1), "/variance_reduction"),
        ("users_per_day", json!(0), "/users_per_day"),
        ("users", json!(3), "/users"),
        ("standard_error", json!(0), "/standard_error"),
        ("more_data", json!(-1), "/more_data"),
    ] {
        let mut question = fine.clone();
        question[name] = value.clone();
        assert_eq!(refusal(question), pointer, "{name} = {value}");
    }
    assert_eq!(refusal(json!({"type": "mean", "baseline": 1, "mde": 0.1})), "/stddev");
    assert_eq!(refusal(json!({"type": "count", "baseline": 0, "stddev": 1, "mde": 0.1})), "/baseline");
}

/// No number is NaN or infinite: serde_json would write null, so fields that are always numbers must be.
fn finite(value: &Value, at: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let optional = ["sample_size", "with_users", "under_way", "mde", "power", "duration_days"];
                assert!(!value.is_null() || optional.contains(&name.as_str()), "{at}/{name}");
                finite(value, &format!("{at}/{name}"));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| finite(item, at)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(crate::cases(300))]

    /// What is said to be enough is enough, and one user in a hundred less is not.
    #[test]
    fn sample_size_power_and_smallest_effect_agree(
        baseline in 0.01f64..0.6, mde in 0.02f64..0.5, alpha in 0.001f64..0.2, power in 0.5f64..0.99,
        proportion: bool, down: bool, weight in 0.2f64..5.0, sequential: bool,
    ) {
        let mode = if sequential { "sequential" } else { "fixed" };
        let mut question = json!({
            "type": if proportion { "proportion" } else { "mean" }, "baseline": baseline, "alpha": alpha,
            "mde": if down { -mde } else { mde }, "power": power, "weights": [1, weight], "mode": mode,
        });
        if !proportion {
            question["stddev"] = json!(2.0 * baseline);
        }
        let size = asked(question.clone())["sample_size"].clone();
        let total = size["total"].as_u64().unwrap();
        for (users, enough) in [(total + 2, true), (total - total / 50 - 6, false)] {
            if users < 4 {
                continue;
            }
            question["users"] = json!(users);
            let got = asked(question.clone());
            finite(&got, "");
            let with = &got["with_users"];
            prop_assert!((number(&with["power"]) >= power - 1e-9) == enough, "{users} of {total}: {got}");
            let smallest = number(&with["mde"]);
            prop_assert!((smallest.abs() <= mde * (1.0 + 1e-9)) == enough && (smallest < 0.0) == down, "{users} of {total}: {got}");
        }
    }
}

#[tokio::test]
async fn calculators_answer_over_http_and_need_only_read() {
    let rig = Rig::start().await;
    let reader = rig.client("read-a");
    let post = async |path: &str, body: Value| {
        reader.post_json(&format!("/api/v1/stats/{path}"), &body).await.unwrap()
    };
    let power =
        post("power", json!({"type": "proportion", "baseline": 0.1, "mde": 0.1, "mode": "fixed"})).await;
    assert_eq!((power.status, &power.json().unwrap()["sample_size"]["total"]), (200, &json!(29_498)));
    let srm = post("srm", json!({"observed": [5000, 5400], "weights": [1, 1]})).await.json().unwrap();
    assert_eq!(
        (&srm["status"], &srm["mismatch"], &srm["always_valid"]["mismatch"]),
        (&json!("ok"), &json!(true), &json!(false))
    );
    let nobody = post("srm", json!({"observed": [0, 0], "weights": [1, 1]})).await.json().unwrap();
    assert_eq!(nobody, json!({"status": "undefined", "reason": "no_units"}));
    let family = json!({"p_values": [0.01, null, 0.04, 0.03, 0.005, 0.2], "method": "benjamini_hochberg"});
    let adjusted = post("multiple-testing", family).await.json().unwrap();
    assert_eq!(adjusted["adjusted"], json!([0.025, null, 0.05, 0.05, 0.025, 0.2]));
    assert_eq!(adjusted["rejected"], json!([true, null, true, true, true, false]));
    assert_eq!(adjusted["family"], 5);
    for (path, body, refused) in [
        ("power", json!({"type": "proportion", "baseline": 2, "mde": 0.1}), "invalid_request"),
        ("power", json!({"type": "median", "baseline": 2, "mde": 0.1}), "invalid_request"),
        ("power", json!({"type": "mean", "colour": 1}), "unknown_field"),
        ("srm", json!({"observed": [1, 2, 3], "weights": [1, 1]}), "invalid_request"),
        ("srm", json!({"observed": [1], "weights": [1]}), "invalid_request"),
        ("srm", json!({"observed": [1, 2], "weights": [1, -1]}), "invalid_request"),
        ("srm", json!({"observed": [1, 2], "weights": [1, 1], "alpha": 1}), "invalid_request"),
        ("multiple-testing", json!({"p_values": []}), "invalid_request"),
        ("multiple-testing", json!({"p_values": [1.1]}), "invalid_request"),
    ] {
        let answer = post(path, body.clone()).await;
        assert_eq!((answer.status, code(&answer).as_str()), (422, refused), "{path} {body}");
    }
    let sender = rig.client("send-a");
    let refused =
        sender.post_json("/api/v1/stats/srm", &json!({"observed": [1, 2], "weights": [1, 1]})).await.unwrap();
    assert_eq!((refused.status, code(&refused).as_str()), (403, "missing_scope"));
    let got = rig.get("/api/v1/stats/srm").await;
    assert_eq!((got.status, code(&got).as_str()), (405, "method_not_allowed"));
}
