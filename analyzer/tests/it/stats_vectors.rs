//! The reference cases in `tests/data` (copied from the project's shared vectors; `tails.json` computed with mpmath).

use analyzer::stats::{
    Alpha, Undefined,
    arms::{ArmMoments, Pair, ProportionArm, Scale},
    effect::Measure,
    ratio::RatioArm,
    special::{StudentT, ln_chi_square_upper_tail},
    srm::{Srm, SrmArm, srm},
    welch::{TTest, welch},
};
use ethnum::I256;
use serde_json::Value;

pub fn load(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn vectors() -> Value {
    load(include_str!("../data/vectors.json"))
}

/// |got - expected| <= max(abs, rel * |expected|), by the case's tolerance for the field.
pub fn assert_close(what: &str, tolerance: &Value, field: &str, got: f64, expected: f64) {
    let t = tolerance.get(field).unwrap_or(&tolerance["default"]);
    let allowed = t["abs"].as_f64().unwrap().max(t["rel"].as_f64().unwrap() * expected.abs());
    assert!((got - expected).abs() <= allowed, "{what} {field}: got {got:e}, expected {expected:e}");
}

/// A decimal as an integer count of 10^-digits.
pub fn scaled(value: &Value, digits: usize) -> I256 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<digits$}").parse().unwrap()
}

fn mean_arm(arm: &Value, sum: &str, sum_sq: &str) -> ArmMoments {
    ArmMoments {
        n: arm["n"].as_u64().unwrap(),
        sum: scaled(&arm[sum], 6),
        sum_sq: scaled(&arm[sum_sq], 12),
        scale: Scale::Millionths,
    }
}

fn raw_arm(values: &Value) -> ArmMoments {
    let values: Vec<i128> =
        values.as_array().unwrap().iter().map(|v| i128::from(v.as_i64().unwrap())).collect();
    ArmMoments {
        n: values.len() as u64,
        sum: values.iter().map(|&v| I256::from(v)).sum(),
        sum_sq: values.iter().map(|&v| I256::from(v * v)).sum(),
        scale: Scale::Ones,
    }
}

fn proportion_arm(arm: &Value, converters: &str) -> ProportionArm {
    ProportionArm { n: arm["n"].as_u64().unwrap(), converters: arm[converters].as_u64().unwrap() }
}

fn ratio_arm(arm: &Value) -> RatioArm {
    RatioArm {
        n: arm["n"].as_u64().unwrap(),
        numerator: scaled(&arm["num_sum"], 6),
        numerator_sq: scaled(&arm["num_sum_squares"], 12),
        denominator: scaled(&arm["den_sum"], 6),
        denominator_sq: scaled(&arm["den_sum_squares"], 12),
        product: scaled(&arm["num_den_sum_products"], 12),
        numerator_scale: Scale::Millionths,
        denominator_scale: Scale::Millionths,
    }
}

fn pair_of(input: &Value) -> Result<Pair, Undefined> {
    if let Some(raw) = input.get("raw_users").filter(|_| input.get("arms").is_none()) {
        return Pair::of_means(&raw_arm(&raw["control"]), &raw_arm(&raw["treatment"]));
    }
    let arms = &input["arms"];
    if input["metric_type"] == "binomial" {
        Pair::of_proportions(
            &proportion_arm(&arms[0], "conversions"),
            &proportion_arm(&arms[1], "conversions"),
        )
    } else if input["metric_type"] == "ratio" {
        Pair::of_ratios(&ratio_arm(&arms[0]), &ratio_arm(&arms[1]))
    } else {
        let arm = |i: usize| mean_arm(&arms[i], "sum", "sum_squares");
        Pair::of_means(&arm(0), &arm(1))
    }
}

fn measure(name: &Value) -> Measure {
    if name == "relative" { Measure::Relative } else { Measure::Absolute }
}

fn compare(what: &str, tolerance: &Value, expected: &Value, pair: &Pair, test: &TTest) {
    for (field, value) in expected.as_object().unwrap() {
        let close = |got: f64| assert_close(what, tolerance, field, got, value.as_f64().unwrap());
        match field.as_str() {
            "status" => assert_eq!(value, "ok", "{what}"),
            "effect" => close(test.effect),
            "standard_error" => close(test.standard_error),
            "dof" => close(test.dof),
            "t_statistic" => close(test.t_statistic),
            "p_value" => close(test.p_value),
            "ln_p_value" => close(test.ln_p_value),
            "mean_control" | "ratio_control" => close(pair.control.mean),
            "mean_treatment" | "ratio_treatment" => close(pair.treatment.mean),
            "variance_control" | "unit_variance_control" => close(pair.control.unit_variance),
            "variance_treatment" | "unit_variance_treatment" => close(pair.treatment.unit_variance),
            "ci" => {
                for side in 0..2 {
                    assert_close(what, tolerance, field, test.ci[side], value[side].as_f64().unwrap());
                }
            }
            other => panic!("{what}: field {other} is not compared"),
        }
    }
}

#[test]
fn differences_agree_with_the_reference_cases() {
    let mut compared = 0;
    for case in vectors()["cases"].as_array().unwrap().iter().filter(|c| c["family"] != "srm") {
        let what = case["id"].as_str().unwrap();
        let params = &case["params"];
        assert_eq!(params["sided"], "two", "{what}");
        let alpha = Alpha::new(params["alpha"].as_f64().unwrap()).unwrap();
        let pair = pair_of(&case["input"]);
        let got = pair.and_then(|p| welch(&p, measure(&params["difference_type"]), alpha).map(|t| (p, t)));
        match (case["expected"]["status"].as_str().unwrap(), got) {
            ("ok", Ok((pair, test))) => compare(what, &case["tolerance"], &case["expected"], &pair, &test),
            ("undefined", Err(_)) => {}
            (status, got) => panic!("{what}: expected {status}, got {got:?}"),
        }
        compared += 1;
    }
    assert_eq!(compared, 32);
}

fn srm_arms(observed: &Value, weights: &Value) -> Vec<SrmArm> {
    let pairs = observed.as_array().unwrap().iter().zip(weights.as_array().unwrap());
    pairs.map(|(o, w)| SrmArm { observed: o.as_u64().unwrap(), weight: w.as_f64().unwrap() }).collect()
}

#[test]
fn sample_ratio_agrees_with_the_reference_cases() {
    let mut compared = 0;
    for case in vectors()["cases"].as_array().unwrap().iter().filter(|c| c["method"] == "chi_square_gof") {
        let (what, expected) = (case["id"].as_str().unwrap(), &case["expected"]);
        let arms = srm_arms(&case["input"]["observed"], &case["params"]["weights"]);
        let alpha = Alpha::new(case["params"]["threshold"].as_f64().unwrap()).unwrap();
        let got = srm(&[arms], alpha).unwrap();
        assert_eq!(got.mismatch(), expected["mismatch"].as_bool().unwrap(), "{what}");
        match (expected["status"].as_str().unwrap(), got) {
            ("mismatch_certain", Srm::CertainMismatch) => {}
            ("ok", Srm::Tested(test)) => {
                let close = |field: &str, got: f64| {
                    if let Some(value) = expected.get(field) {
                        assert_close(what, &case["tolerance"], field, got, value.as_f64().unwrap());
                    }
                };
                close("chi_square", test.chi_square);
                close("dof", f64::from(test.dof));
                close("p_value", test.p_value);
                close("ln_p_value", test.ln_p_value);
            }
            (status, got) => panic!("{what}: expected {status}, got {got:?}"),
        }
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn comparisons_of_the_reference_events_agree() {
    let expected = load(include_str!("../data/expected.json"));
    let alpha = Alpha::new(0.05).unwrap();
    let tolerance = serde_json::json!({
        "default": expected["tolerance"]["stats"], "p_value": expected["tolerance"]["p_value"]
    });
    let mut compared = 0;
    for (name, experiment) in expected["experiments"].as_object().unwrap() {
        let srm_expected = &experiment["srm"];
        let arms = srm_arms(&experiment["exposed_users"], &srm_expected["weights"]);
        let Srm::Tested(test) = srm(&[arms], Alpha::new(0.001).unwrap()).unwrap() else { panic!("{name}") };
        assert_close(
            name,
            &tolerance,
            "chi_square",
            test.chi_square,
            srm_expected["chi_square"].as_f64().unwrap(),
        );
        assert_close(name, &tolerance, "p_value", test.p_value, srm_expected["p_value"].as_f64().unwrap());
        for (metric, rollup) in experiment["metrics"].as_object().unwrap() {
            for comparison in rollup["comparisons"].as_array().unwrap() {
                let treatment: usize = comparison["treatment_index"].as_u64().unwrap().try_into().unwrap();
                let (a, b) = (&rollup["arms"][0], &rollup["arms"][treatment]);
                let mean = |arm| mean_arm(arm, "sum_exact", "sum_squares_exact");
                let pairs = [
                    (
                        "conversion_rate",
                        Pair::of_proportions(
                            &proportion_arm(a, "converters"),
                            &proportion_arm(b, "converters"),
                        ),
                    ),
                    ("value_per_user", Pair::of_means(&mean(a), &mean(b))),
                ];
                for (reading, pair) in pairs {
                    let pair = pair.unwrap();
                    for kind in ["relative", "absolute"] {
                        let Some(values) = comparison.get(reading).and_then(|r| r.get(kind)) else {
                            continue;
                        };
                        let what = format!("{name} {metric} {treatment} {reading} {kind}");
                        let test = welch(&pair, measure(&kind.into()), alpha).unwrap();
                        compare(&what, &tolerance, values, &pair, &test);
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared >= 16, "{compared}");
}

#[test]
fn tails_are_accurate_at_every_dof_and_distance() {
    let tails = load(include_str!("../data/tails.json"));
    for row in tails["student"].as_array().unwrap() {
        let (dof, t) = (row["dof"].as_f64().unwrap(), row["t"].as_f64().unwrap());
        let expected = row["ln_p"].as_f64().unwrap();
        let got = StudentT::new(dof).unwrap().ln_upper_tail(t) + std::f64::consts::LN_2;
        // Relative error of p itself, allowing for the rounding of a large logarithm.
        let error = (got - expected).abs() / (1.0 + expected.abs());
        assert!(error < 2e-14, "t = {t}, dof = {dof}: got {got:e}, expected {expected:e}");
    }
    for row in tails["chi_square"].as_array().unwrap() {
        let (dof, x): (u32, f64) =
            (row["dof"].as_u64().unwrap().try_into().unwrap(), row["x"].as_f64().unwrap());
        let expected = row["ln_p"].as_f64().unwrap();
        let got = ln_chi_square_upper_tail(x, dof);
        let error = (got - expected).abs() / (1.0 + expected.abs());
        assert!(error < 1e-13, "x = {x}, dof = {dof}: got {got:e}, expected {expected:e}");
    }
}

#[test]
fn quantiles_invert_the_tail() {
    for dof in [1.0, 2.0, 7.7, 100.0, 2e4, 1e6, 2e9] {
        let t = StudentT::new(dof).unwrap();
        for probability in [0.49, 0.25, 0.05, 0.025, 0.0005, 1e-9, 1e-200] {
            let back = t.ln_upper_tail(t.upper_quantile(probability)).exp();
            assert!((back / probability - 1.0).abs() < 1e-11, "dof {dof}, {probability}: {back}");
            if probability > 1e-10 {
                assert_eq!(t.upper_quantile(1.0 - probability), -t.upper_quantile(1.0 - (1.0 - probability)));
            }
        }
        assert_eq!(t.upper_quantile(0.5), 0.0);
    }
    // Computed with mpmath at 30 digits.
    let at = |dof: f64| StudentT::new(dof).unwrap().upper_quantile(0.025);
    assert!((at(1.0) - 12.706_204_736_174_705).abs() < 1e-11);
    assert!((at(10.0) - 2.228_138_851_986_273_6).abs() < 1e-13);
    assert!((at(1e15) - 1.959_963_984_540_054).abs() < 1e-13);
}
