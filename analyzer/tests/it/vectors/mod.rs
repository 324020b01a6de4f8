//! The reference cases in `tests/data` (copied from the project's shared vectors; `tails.json` computed with mpmath),
//! each through the function that an answer uses.

mod beliefs;
mod effects;
mod events;
mod inputs;
mod looks;
mod planning;
mod srm;
mod tails;

use serde_json::{Value, json};

pub use inputs::scaled;

/// Methods of the reference set that no answer offers.
const NOT_OFFERED: [&str; 3] = ["quantile_t", "quantile_clustered_t", "quantile_from_raw"];

/// An expectation that is off by more than its own tolerance: its solver stopped at 1e-5 absolute. The exact value,
/// computed with mpmath at 25 digits, is 0.0341745053344898.
const IMPRECISE: (&str, &str, f64) =
    ("power-achieved-20000_003", "mde_over_stddev_at_80", 0.034_174_505_334_489_8);

pub fn load(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// |got - expected| <= max(abs, rel * |expected|), by the case's tolerance for the field.
pub fn assert_close(what: &str, tolerance: &Value, field: &str, got: f64, expected: f64) {
    let t = tolerance.get(field).unwrap_or(&tolerance["default"]);
    let allowed = t["abs"].as_f64().unwrap().max(t["rel"].as_f64().unwrap() * expected.abs());
    assert!((got - expected).abs() <= allowed, "{what} {field}: got {got:e}, expected {expected:e}");
}

/// Numbers by their tolerance, all else exactly; what is not there counts as null.
fn compare(what: &str, tolerance: &Value, field: &str, got: &Value, expected: &Value) {
    match expected {
        Value::Number(number) => {
            let got = got.as_f64().unwrap_or_else(|| panic!("{what} {field}: got {got}, expected {number}"));
            assert_close(what, tolerance, field, got, number.as_f64().unwrap());
        }
        Value::Array(items) => {
            let got = got.as_array().unwrap_or_else(|| panic!("{what} {field}: got {got}"));
            assert_eq!(got.len(), items.len(), "{what} {field}");
            got.iter().zip(items).for_each(|(got, item)| compare(what, tolerance, field, got, item));
        }
        other => assert_eq!(got, other, "{what} {field}"),
    }
}

/// What a case's method gives, under the names of its expectations.
fn answer(case: &Value) -> Value {
    let method = case["method"].as_str().unwrap();
    let answered = match method {
        "diff_t" | "ratio_delta_t" => effects::difference(case),
        "wilson_newcombe_fisher_pooledz" => effects::small(case),
        "fieller_lift" => effects::fieller_lift(case),
        "cuped_t" => effects::adjusted(case),
        "asymptotic_confidence_sequence" | "msprt_normal_mixture" => looks::sequence(case),
        "bayes_gaussian_effect" => beliefs::gaussian(case),
        "beta_binomial_chance_to_win" => beliefs::exact(case),
        "dirichlet_multinomial_anytime" => srm::anytime(case),
        "holm" | "benjamini_hochberg" => planning::adjusted(case),
        "one_sided_t_margin" => planning::margin(case),
        "sample_size_two_proportions" => planning::proportions(case),
        "sample_size_two_means" => planning::means(case),
        "achieved_power_and_mde" => planning::achieved(case),
        "achieved_power_two_proportions" => planning::achieved_by_proportions(case),
        "mid_experiment_power" => planning::under_way(case),
        "post_stratified_effect" => planning::stratified(case),
        "chi_square_gof" => srm::chi_square(case),
        other => panic!("{}: the method {other} is not known", case["id"]),
    };
    answered.unwrap_or_else(|reason| {
        assert!(!reason.to_string().is_empty());
        json!({"status": "undefined"})
    })
}

#[test]
fn every_reference_case_agrees() {
    let vectors = load(include_str!("../../data/vectors.json"));
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(vectors["count"], cases.len());
    let (mut compared, mut skipped) = (0, 0);
    for case in cases {
        if NOT_OFFERED.iter().any(|method| case["method"] == *method) {
            skipped += 1;
            continue;
        }
        let (what, got) = (case["id"].as_str().unwrap(), answer(case));
        for (field, expected) in case["expected"].as_object().unwrap() {
            // Why something is undefined may have another name here.
            let (id, imprecise, exact) = IMPRECISE;
            if (what, field.as_str()) == (id, imprecise) {
                compare(what, &case["tolerance"], field, &got[imprecise], &exact.into());
            } else if field != "reason" {
                compare(what, &case["tolerance"], field, &got[field.as_str()], expected);
            }
        }
        compared += 1;
    }
    assert_eq!((compared, skipped), (89, 5));
}
