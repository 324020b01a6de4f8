//! live-stats from stored moments rows.

use domain::plan::Feature;
use domain::{Day, Moments};
use ethnum::I256;
use serde_json::{Value, json};
use store::Experiment;

use crate::answers::{DAY, moments};
use crate::rig::{Rig, code, two_arms};
use crate::vectors::{assert_close, load, scaled};

/// A third of the users in partition 0 and the rest in partition 1, with a smaller row the day before: only the last
/// rows of both may be added up.
async fn store_arm(rig: &Rig, e: &Experiment, variation: i16, whole: &Moments) {
    let mut part = whole.clone();
    part.heads.enrolled /= 3;
    part.products.iter_mut().for_each(|p| *p /= 3);
    let mut rest = whole.clone();
    rest.heads.enrolled -= part.heads.enrolled;
    rest.products.iter_mut().zip(&part.products).for_each(|(p, q)| *p -= q);
    rig.moments(e, 0, variation, Day(DAY.0 - 1), &Moments { heads: part.heads, products: vec![] }).await;
    rig.moments(e, 0, variation, DAY, &part).await;
    rig.moments(e, 1, variation, DAY, &rest).await;
}

#[tokio::test]
async fn the_reference_events_give_the_reference_answers() {
    let expected = load(include_str!("../data/expected.json"));
    let tolerance = json!({
        "default": expected["tolerance"]["stats"], "p_value": expected["tolerance"]["p_value"]
    });
    let reference = &expected["experiments"]["exp_checkout"];
    let rig = Rig::start().await;
    let e = rig
        .running(&json!({
            "key": "exp_checkout",
            "variations": [{"key": "a", "weight": 0.5}, {"key": "b", "weight": 0.25}, {"key": "c", "weight": 0.25}],
            "metrics": [
                {"key": "rate", "event": "purchase", "type": "proportion"},
                {"key": "value", "event": "purchase", "type": "mean"},
                {"key": "orders", "event": "purchase", "type": "count"},
            ],
        }))
        .await;
    let plan = e.plan();
    let event = 0;
    for (variation, arm) in reference["metrics"]["purchase"]["arms"].as_array().unwrap().iter().enumerate() {
        let (one, converted) = (Feature::One, Feature::Converted(event));
        let (count, sum) = (Feature::Count(event), Feature::Sum(event));
        let whole = moments(
            &plan,
            arm["n"].as_i64().unwrap(),
            &[
                (one, converted, scaled(&arm["converters"], 0)),
                (converted, converted, scaled(&arm["converters"], 0)),
                (one, count, scaled(&arm["conversions"], 0)),
                (count, count, scaled(&arm["count_sum_squares"], 0)),
                (one, sum, scaled(&arm["sum_exact"], 6)),
                (sum, sum, scaled(&arm["sum_squares_exact"], 12)),
            ],
        );
        store_arm(&rig, &e, i16::try_from(variation).unwrap(), &whole).await;
    }
    let answer = rig.ok("/api/v1/experiments/exp_checkout/live-stats").await;

    assert_eq!(answer["as_of"], json!(null));
    assert_eq!(answer["users"], 4000);
    assert_eq!(answer["srm"]["status"], "ok");
    assert_eq!(answer["srm"]["mismatch"], false);
    assert_close(
        "srm",
        &tolerance,
        "p_value",
        number(&answer["srm"]["p_value"]),
        number(&reference["srm"]["p_value"]),
    );
    let (rate, value, orders) = (&answer["metrics"][0], &answer["metrics"][1], &answer["metrics"][2]);
    for (variation, arm) in reference["metrics"]["purchase"]["arms"].as_array().unwrap().iter().enumerate() {
        assert_eq!(answer["arms"][variation]["users"], arm["n"]);
        for metric in [rate, value, orders] {
            assert_eq!(metric["arms"][variation]["users"], arm["n"]);
            assert_eq!(metric["arms"][variation]["converters"], arm["converters"]);
            assert_eq!(metric["arms"][variation]["conversions"], arm["conversions"]);
        }
        assert_eq!(value["arms"][variation]["sum"], arm["sum_exact"]);
        assert_eq!(rate["arms"][variation]["sum"].as_str().unwrap(), arm["converters"].to_string());
        assert_eq!(orders["arms"][variation]["sum"].as_str().unwrap(), arm["conversions"].to_string());
        let mean = number(&arm["sum"]) / number(&arm["n"]);
        assert_close("mean", &tolerance, "mean", number(&value["arms"][variation]["mean"]), mean);
    }
    let mut compared = 0;
    for comparison in reference["metrics"]["purchase"]["comparisons"].as_array().unwrap() {
        let treatment = usize::try_from(comparison["treatment_index"].as_u64().unwrap()).unwrap();
        for (metric, reading) in [(rate, "conversion_rate"), (value, "value_per_user")] {
            let got = &metric["comparisons"][treatment - 1];
            assert_eq!(got["variation_index"], treatment);
            for kind in ["absolute", "relative"] {
                assert_eq!(got[kind]["status"], "ok");
                for field in ["effect", "standard_error", "dof", "p_value"] {
                    let what = format!("{treatment} {reading} {kind}");
                    let wanted = number(&comparison[reading][kind][field]);
                    assert_close(&what, &tolerance, field, number(&got[kind][field]), wanted);
                    compared += 1;
                }
                for side in 0..2 {
                    let wanted = number(&comparison[reading][kind]["ci"][side]);
                    assert_close(reading, &tolerance, "ci", number(&got[kind]["ci"][side]), wanted);
                }
            }
        }
    }
    assert_eq!(compared, 32);
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

#[tokio::test]
async fn an_empty_experiment_has_reasons_instead_of_numbers() {
    let rig = Rig::start().await;
    let mut definition = two_arms("empty");
    definition["metrics"] = json!([
        {"key": "purchase", "type": "proportion"}, {"key": "revenue", "type": "mean"},
        {"key": "visits", "type": "count"}, {"key": "basket", "type": "ratio", "numerator": "revenue"},
    ]);
    rig.running(&definition).await;
    let answer = rig.ok("/api/v1/experiments/empty/live-stats").await;
    assert_eq!(answer["srm"], json!({"status": "undefined", "reason": "no_units"}));
    assert_eq!(answer["users"], 0);
    assert_eq!(answer["metrics"].as_array().unwrap().len(), 4);
    for metric in answer["metrics"].as_array().unwrap() {
        let arm = &metric["arms"][1];
        assert_eq!((&arm["users"], &arm["converters"], &arm["sum"]), (&json!(0), &json!(0), &json!("0")));
        assert_eq!((&arm["mean"], &arm["reason"]), (&json!(null), &json!("no_units")));
        let undefined = json!({"status": "undefined", "reason": "no_units"});
        assert_eq!(metric["comparisons"].as_array().unwrap().len(), 1);
        assert_eq!(metric["comparisons"][0]["absolute"], undefined);
        assert_eq!(metric["comparisons"][0]["relative"], undefined);
    }
}

#[tokio::test]
async fn ratios_caps_filters_and_head_counts_are_answered() {
    let rig = Rig::start().await;
    let mut definition = two_arms("shop");
    definition["metrics"] = json!([
        {"key": "basket", "type": "ratio", "numerator": "revenue", "denominator": "items", "direction": "down"},
        {"key": "spend", "event": "revenue", "type": "mean", "cap": "100.5"},
    ]);
    let e = rig.running(&definition).await;
    let plan = e.plan();
    let (revenue, items) = (Feature::Sum(0), Feature::Sum(1));
    let capped = plan.metric(&e.definition.metrics[1]).outcome;
    assert!(matches!(capped, Feature::CappedSum(0, _)));
    for (variation, num, cross) in [(0i16, "28364.32", "60194.12"), (1, "27613.49", "60593.33")] {
        let sums = [
            (Feature::One, revenue, scaled(&json!(num), 6)),
            (revenue, revenue, scaled(&json!("2394056.1222"), 12)),
            (Feature::One, items, scaled(&json!("1073"), 6)),
            (items, items, scaled(&json!("2311"), 12)),
            (revenue, items, scaled(&json!(cross), 12)),
            (Feature::One, capped, scaled(&json!("-0.000001"), 6)),
            (capped, capped, scaled(&json!("0.000000000001"), 12)),
        ];
        let mut arm = moments(&plan, 900, &sums);
        // Some are enrolled and do not contribute.
        arm.heads.enrolled = 910;
        arm.heads.filtered = 4;
        arm.heads.excluded = 6;
        arm.heads.crossovers = 7;
        arm.heads.earlier_seen = 8;
        arm.heads.before = 9;
        arm.heads.after_window = 10;
        arm.heads.after_exposure = 11;
        rig.moments(&e, 1, variation, DAY, &arm).await;
    }
    let answer = rig.ok("/api/v1/experiments/shop/live-stats").await;
    assert_eq!(answer["users"], 1820);
    assert_eq!(answer["arms"][1]["users"], 910);
    let quality = json!({
        "crossovers": 7, "earlier_exposure_seen": 8, "filtered": 4, "excluded": 6, "before_exposure": 9, "after_window": 10,
        "after_exposure": 11, "after_stop": 0, "late": 0, "clock_corrected": 0, "keyless": 0, "conflicts": 0,
    });
    assert_eq!(answer["arms"][0]["data_quality"], quality);
    let basket = &answer["metrics"][0];
    assert_eq!((&basket["type"], &basket["direction"]), (&json!("ratio"), &json!("down")));
    assert_eq!(basket["arms"][0]["users"], 900);
    assert_eq!(basket["arms"][0]["sum"], "28364.32");
    assert_eq!(basket["arms"][0]["denominator"], "1073");
    assert!((number(&basket["arms"][0]["mean"]) - 28364.32 / 1073.0).abs() < 1e-12);
    assert!((number(&basket["arms"][0]["standard_deviation"]).powi(2) - 646.829_716_389_369).abs() < 1e-9);
    assert_eq!(basket["comparisons"][0]["relative"]["status"], "ok");
    let spend = &answer["metrics"][1];
    assert_eq!(spend["arms"][0]["sum"], "-0.000001");
    assert_eq!(spend["comparisons"][0]["absolute"]["effect"], 0.0);
}

#[tokio::test]
async fn an_answer_as_of_a_day_never_changes_afterwards() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("checkout")).await;
    let plan = e.plan();
    let arm = |users, converters: u32| {
        let converted = Feature::Converted(0);
        moments(&plan, users, &[(Feature::One, converted, I256::from(converters))])
    };
    for variation in [0, 1] {
        rig.moments(&e, 0, variation, Day(DAY.0 - 1), &arm(50, 5)).await;
    }
    let path = format!("/api/v1/experiments/checkout/live-stats?as_of={}", Day(DAY.0 - 1));
    let before = rig.ok(&path).await;
    assert_eq!((&before["as_of"], &before["users"]), (&json!(Day(DAY.0 - 1).to_string()), &json!(100)));
    rig.moments(&e, 0, 1, DAY, &arm(90, 9)).await;
    rig.moments(&e, 1, 0, DAY, &arm(20, 1)).await;
    assert_eq!(rig.ok(&path).await, before);
    assert_eq!(rig.ok("/api/v1/experiments/checkout/live-stats").await["users"], 160);
    let early = format!("/api/v1/experiments/checkout/live-stats?as_of={}", Day(DAY.0 - 2));
    assert_eq!(rig.ok(&early).await["users"], 0);
    for query in ["as_of=yesterday", "as_of=2026-02-30", "as_of=", "as_of=2026-3-1"] {
        let refused = rig.get(&format!("/api/v1/experiments/checkout/live-stats?{query}")).await;
        assert_eq!((refused.status, code(&refused).as_str()), (422, "invalid_parameter"), "{query}");
    }
}

#[tokio::test]
async fn unchanged_answers_are_not_sent_again() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("checkout")).await;
    let path = "/api/v1/experiments/checkout/live-stats";
    let first = rig.get(path).await;
    let tag = first.header("etag").unwrap().to_owned();
    let with = |tag: String| {
        let admin = rig.client("admin-a");
        async move { admin.request("GET", path, &[("if-none-match", &tag)], "").await.unwrap() }
    };
    for given in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = with(given.clone()).await;
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, Some(tag.as_str())),
            "{given}"
        );
    }
    assert_eq!(with("\"other\"".to_owned()).await.status, 200);
    rig.moments(&e, 0, 0, DAY, &moments(&e.plan(), 1, &[])).await;
    let changed = with(tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.body, first.body);
}

#[tokio::test]
async fn users_where_none_belong_are_a_certain_mismatch() {
    let rig = Rig::start().await;
    let mut definition = two_arms("weights");
    definition["variations"] = json!([{"key": "a"}, {"key": "b"}, {"key": "off", "weight": 0}]);
    let e = rig.running(&definition).await;
    for (variation, users) in [(0, 500), (1, 480)] {
        rig.moments(&e, 0, variation, DAY, &moments(&e.plan(), users, &[])).await;
    }
    let srm = rig.ok("/api/v1/experiments/weights/live-stats").await["srm"].clone();
    assert_eq!((&srm["status"], &srm["dof"], &srm["mismatch"]), (&json!("ok"), &json!(1), &json!(false)));
    // The holdout is no arm; the variation of weight 0 is one.
    rig.moments(&e, 0, -1, DAY, &moments(&e.plan(), 700, &[])).await;
    let answer = rig.ok("/api/v1/experiments/weights/live-stats").await;
    assert_eq!((&answer["srm"], &answer["users"]), (&srm, &json!(980)));
    rig.moments(&e, 0, 2, DAY, &moments(&e.plan(), 1, &[])).await;
    let srm = rig.ok("/api/v1/experiments/weights/live-stats").await["srm"].clone();
    assert_eq!(srm, json!({"status": "mismatch_certain", "mismatch": true}));
}

#[tokio::test]
async fn few_conversions_are_read_by_exact_methods() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("rare")).await;
    let arm = |users, converters: u32| {
        let converted = Feature::Converted(0);
        let n = I256::from(converters);
        moments(&e.plan(), users, &[(Feature::One, converted, n), (converted, converted, n)])
    };
    rig.moments(&e, 0, 0, DAY, &arm(40, 0)).await;
    rig.moments(&e, 0, 1, DAY, &arm(60, 0)).await;
    let comparison = || async {
        rig.ok("/api/v1/experiments/rare/live-stats").await["metrics"][0]["comparisons"][0].clone()
    };
    // Nobody converted: Welch has nothing to go by, the exact methods do.
    let nobody = comparison().await;
    assert_eq!(nobody["absolute"], json!({"status": "undefined", "reason": "zero_variance"}));
    let small = &nobody["small_counts"];
    assert_eq!(
        (&small["status"], &small["p_value"], &small["pooled_z"]),
        (&json!("ok"), &json!(1.0), &json!(null))
    );
    assert!((number(&small["ci"][0]) + 0.087_621_601_197_286_68).abs() < 1e-11);
    // A control that does not differ from zero: no bounded relative interval.
    rig.moments(&e, 0, 0, Day(DAY.0 + 1), &arm(60, 2)).await;
    rig.moments(&e, 0, 1, Day(DAY.0 + 1), &arm(60, 6)).await;
    let few = comparison().await;
    assert_eq!(few["relative"]["flags"], json!(["low_data", "unstable_baseline"]));
    assert_eq!(few["fieller"], json!({"status": "undefined", "reason": "unbounded"}));
    assert_eq!(few["small_counts"]["status"], "ok");
    // Enough of them: only the usual methods.
    rig.moments(&e, 0, 0, Day(DAY.0 + 2), &arm(10_000, 1000)).await;
    rig.moments(&e, 0, 1, Day(DAY.0 + 2), &arm(10_000, 1100)).await;
    let many = comparison().await;
    assert_eq!(many["small_counts"], json!(null));
    assert!((number(&many["fieller"]["ci"][1]) - 0.1932).abs() < 1e-3);
}

#[tokio::test]
async fn the_time_before_the_exposure_adjusts_the_answer() {
    let rig = Rig::start().await;
    let mut definition = two_arms("adjusted");
    definition["metrics"] = json!([
        {"key": "revenue", "type": "mean"}, {"key": "basket", "type": "ratio", "numerator": "revenue"},
        {"key": "visits", "type": "count"},
    ]);
    let e = rig.running(&definition).await;
    let (sum, pre, had) = (Feature::Sum(0), Feature::PreSum(0), Feature::PreConverted(0));
    // The reference case cuped-rho_07.
    for (variation, users, y, yy, x, xx, xy) in [
        (0, 2000, "19974.43", "207350.4101", "19917.11", "206220.6973", "204286.067"),
        (1, 2100, "21130.3", "220979.8646", "20924.69", "216878.5355", "216446.039"),
    ] {
        let text = |text: &str, digits| scaled(&json!(text), digits);
        let sums = [
            (Feature::One, sum, text(y, 6)),
            (sum, sum, text(yy, 12)),
            (Feature::One, pre, text(x, 6)),
            (pre, pre, text(xx, 12)),
            (sum, pre, text(xy, 12)),
            (Feature::One, had, I256::from(users * 3 / 4)),
        ];
        store_arm(&rig, &e, variation, &moments(&e.plan(), users, &sums)).await;
    }
    let answer = rig.ok("/api/v1/experiments/adjusted/live-stats").await;
    let of = |metric: usize| answer["metrics"][metric]["comparisons"][0]["cuped"].clone();
    let revenue = of(0);
    assert_eq!((&revenue["status"], &revenue["coverage"]), (&json!("ok"), &json!(0.75)));
    assert_eq!(revenue["covariates"][0]["event"], "revenue");
    assert!((number(&revenue["covariates"][0]["theta"]) - 0.693_286_454_580_161_1).abs() < 1e-8);
    assert!((number(&revenue["relative"]["p_value"]) - 0.114_635_145_616_603_08).abs() < 1e-8);
    assert!(number(&revenue["variance_reduction"]) > 0.4);
    assert_eq!(of(1), json!({"status": "unavailable", "reason": "ratio"}));
    assert_eq!(of(2), json!({"status": "unavailable", "reason": "no_history"}));
}

/// The reference case sequential-at_tuning, then as planned by the definition.
#[tokio::test]
async fn always_valid_answers_stand_beside_the_fixed_ones() {
    let rig = Rig::start().await;
    for (key, looks) in [("refreshed", json!([])), ("sized", json!([10_000]))] {
        let mut definition = two_arms(key);
        definition["analysis"] = json!({"looks": looks});
        let e = rig.running(&definition).await;
        for (variation, converters) in [(0, 250), (1, 300u32)] {
            let converted = Feature::Converted(0);
            let arm = moments(&e.plan(), 2500, &[(Feature::One, converted, I256::from(converters))]);
            rig.moments(&e, 0, variation, DAY, &arm).await;
        }
        let answer = rig.ok(&format!("/api/v1/experiments/{key}/live-stats")).await;
        assert_eq!(answer["mode"], "sequential");
        let comparison = &answer["metrics"][0]["comparisons"][0];
        let (sequential, tuning) = (&comparison["sequential"], number(&comparison["sequential"]["tuning"]));
        let p = number(&sequential["relative"]["p_value"]);
        match key {
            "refreshed" => assert!(tuning == 5000.0 && (p - 0.452_528_530_463_307_27).abs() < 1e-7),
            _ => assert!(tuning == 10_000.0 && (p - 0.408).abs() < 1e-3),
        }
        assert!(p > number(&comparison["relative"]["p_value"]));
        assert_eq!(comparison["group_sequential"], json!(null));
    }
}

#[tokio::test]
async fn planned_looks_are_taken_at_the_ends_of_days() {
    let rig = Rig::start().await;
    let mut definition = two_arms("planned");
    definition["variations"] = json!([{"key": "a"}, {"key": "b"}, {"key": "c"}]);
    definition["analysis"] = json!({"mode": "group_sequential", "looks": [2000, 4000, 6000]});
    let e = rig.running(&definition).await;
    let converted = Feature::Converted(0);
    let arm = |users: i64, converters: i64| {
        moments(&e.plan(), users, &[(Feature::One, converted, I256::from(converters))])
    };
    // Days, then users and converters of a, b and c; two partitions, of which one is silent on the third day.
    let day = |n: i32| Day(DAY.0 + n);
    for (n, [a, b, c]) in [
        (0, [(900, 90), (900, 90), (100, 10)]),
        (1, [(1100, 110), (1100, 130), (200, 20)]),
        (2, [(1500, 150), (1500, 170), (400, 40)]),
        (3, [(2600, 260), (2600, 340), (500, 50)]),
    ] {
        for (variation, (users, converters)) in [(0, a), (1, b), (2, c)] {
            rig.moments(&e, 0, variation, day(n), &arm(users, converters)).await;
        }
    }
    rig.moments(&e, 1, 1, day(1), &arm(10, 1)).await;
    let path = "/api/v1/experiments/planned/live-stats";
    let answer = rig.ok(path).await;
    let of = |answer: &Value, treatment: usize| {
        answer["metrics"][0]["comparisons"][treatment - 1]["group_sequential"].clone()
    };
    let b = of(&answer, 1);
    assert_eq!((&b["status"], &b["planned"]), (&json!("ok"), &json!([2000, 4000, 6000])));
    let taken: Vec<_> =
        b["taken"].as_array().unwrap().iter().map(|l| (l["day"].clone(), l["users"].clone())).collect();
    let (second, fourth) = (day(1).to_string(), day(3).to_string());
    assert_eq!(taken, [(json!(second), json!(2210)), (json!(fourth), json!(5210))]);
    // Of half the level, because there are two treatments; by the users there were, not by those planned.
    assert_eq!(b["alpha"], 0.025);
    assert!((number(&b["taken"][0]["spent"]) - 0.000_077_27).abs() < 1e-7, "{b}");
    assert_eq!((&b["taken"][0]["crossed"], &b["taken"][1]["crossed"]), (&json!(false), &json!(true)));
    assert_eq!(b["crossed"], true);
    // Each pair has looks of its own.
    let c = of(&answer, 2);
    assert_eq!((c["taken"].as_array().unwrap().len(), &c["taken"][0]["users"]), (1, &json!(3100)));
    assert_eq!((&c["taken"][0]["z"], &c["crossed"]), (&json!(0.0), &json!(false)));
    // As of an earlier day only the looks up to then.
    let earlier = rig.ok(&format!("{path}?as_of={}", day(2))).await;
    assert_eq!(of(&earlier, 1)["taken"], json!([b["taken"][0]]));
    assert_eq!(earlier["users"], 1500 + 1510 + 400);
}

/// The reference case bayes-prior-default, of an experiment with a third arm that is no better.
#[tokio::test]
async fn beliefs_follow_the_prior_of_the_definition() {
    let rig = Rig::start().await;
    let mut definition = two_arms("believed");
    definition["variations"] = json!([{"key": "a"}, {"key": "b"}, {"key": "c"}]);
    definition["analysis"] = json!({"mode": "bayesian", "prior": {"stddev": 0.3}});
    let e = rig.running(&definition).await;
    let empty = rig.ok("/api/v1/experiments/believed/live-stats").await["metrics"][0].clone();
    let undefined = json!({"status": "undefined", "reason": "no_units"});
    assert_eq!((&empty["best"], &empty["comparisons"][0]["bayesian"]["relative"]), (&undefined, &undefined));
    for (variation, converters) in [(0, 1000), (1, 1100u32), (2, 1000)] {
        let n = I256::from(converters);
        let arm = moments(&e.plan(), 10_000, &[(Feature::One, Feature::Converted(0), n)]);
        rig.moments(&e, 0, variation, DAY, &arm).await;
    }
    let metric = rig.ok("/api/v1/experiments/believed/live-stats").await["metrics"][0].clone();
    let comparison = &metric["comparisons"][0];
    assert!(
        (number(&comparison["bayesian"]["relative"]["chance_to_win"]) - 0.985_153_464_120_371_6).abs() < 1e-9
    );
    assert!((number(&comparison["beta_binomial"]["chance_to_win"]) - 0.989).abs() < 2e-3);
    let best: Vec<f64> = (0..3).map(|i| number(&metric["best"]["arms"][i]["best"])).collect();
    assert!(
        (best.iter().sum::<f64>() - 1.0).abs() < 1e-10 && best[1] > 0.97 && best[0] == best[2],
        "{best:?}"
    );
    assert!(number(&metric["best"]["arms"][1]["expected_loss"]) < 1e-4);
}

#[tokio::test]
async fn arms_that_lose_users_unevenly_are_told() {
    let rig = Rig::start().await;
    let e = rig.running(&two_arms("uneven")).await;
    for (variation, users, excluded) in [(0, 10_000, 100), (1, 10_100, 200)] {
        let mut arm = moments(&e.plan(), users - excluded, &[]);
        (arm.heads.enrolled, arm.heads.excluded, arm.heads.crossovers) = (users, excluded, 150);
        rig.moments(&e, 1, variation, DAY, &arm).await;
    }
    let answer = rig.ok("/api/v1/experiments/uneven/live-stats").await;
    let imbalance = &answer["filter_imbalance"];
    assert_eq!((&imbalance["mismatch"], &imbalance["excluded"]["mismatch"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&imbalance["crossovers"]["status"], &imbalance["crossovers"]["mismatch"]),
        (&json!("ok"), &json!(false))
    );
    assert_eq!(imbalance["filtered"], json!({"status": "undefined", "reason": "zero_variance"}));
    // Enrolled as planned, whatever became of them.
    assert_eq!(
        (&answer["srm"]["mismatch"], &answer["srm"]["always_valid"]["mismatch"]),
        (&json!(false), &json!(false))
    );
}
