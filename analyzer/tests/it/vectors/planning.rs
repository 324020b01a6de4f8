//! Several tests at once, margins, power, strata.

use super::inputs::{alpha, floats, measure, pair_of, proportion_arm};
use analyzer::metric::sums::{Cell, Sums};
use analyzer::stats::bayes::Better;
use analyzer::stats::margin::non_inferiority;
use analyzer::stats::multiple::{benjamini_hochberg, holm, rejected};
use analyzer::stats::power::{
    Alternative, Design, Difference, control_users_by_arcsine, mid_experiment_power, power_by_t,
    power_of_pooled_proportions, users_by_t,
};
use analyzer::stats::{Undefined, effect::effect, strata::post_stratified};
use serde_json::{Value, json};

pub fn adjusted(case: &Value) -> Result<Value, Undefined> {
    let p_values = floats(&case["input"]["p_values"]);
    let adjusted = if case["method"] == "holm" { holm(&p_values) } else { benjamini_hochberg(&p_values) };
    let level = alpha(&case["params"]);
    let found: Vec<bool> = adjusted.iter().map(|p| rejected(*p, level)).collect();
    Ok(json!({"adjusted": adjusted, "rejected": found}))
}

pub fn margin(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    assert_eq!(params["direction"], "higher is better");
    let effect = effect(&pair_of(&case["input"])?, measure(&params["difference_type"]))?;
    let test = non_inferiority(&effect, params["margin"].as_f64().unwrap(), Better::Higher, alpha(params))?;
    let mut got = serde_json::to_value(&test).unwrap();
    got["status"] = "ok".into();
    Ok(got)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn design(params: &Value, power: f64) -> Design {
    let alternative = match params["alternative"].as_str() {
        Some("two-sided") | None => Alternative::TwoSided,
        Some("larger") => Alternative::OneSided,
        Some(other) => panic!("alternative {other}"),
    };
    Design::new(number(&params["alpha"]), power, alternative).unwrap()
}

pub fn proportions(case: &Value) -> Result<Value, Undefined> {
    let (params, input) = (&case["params"], &case["input"]);
    let design = design(params, number(&params["power"]));
    let ratio = number(&params["allocation_ratio"]);
    let (baseline, mde) = (number(&input["baseline"]), number(&input["relative_mde"]));
    let unpooled = Difference::of_proportions(baseline, mde)?.control_users(ratio, design.distance())?;
    Ok(json!({
        "n_control_cohen_h": control_users_by_arcsine(baseline, mde, ratio, design)?,
        "n_control_unpooled": unpooled,
        "n_control_unpooled_ceil": unpooled.ceil(),
        "n_treatment_unpooled_ceil": (unpooled * ratio).ceil(),
    }))
}

/// Of arms with variance 1.
fn apart(effect: f64) -> Difference {
    Difference { control_variance: 1.0, treatment_variance: 1.0, effect }
}

pub fn means(case: &Value) -> Result<Value, Undefined> {
    let (params, effect) = (&case["params"], number(&case["input"]["effect_over_stddev"]));
    assert_eq!(params["allocation_ratio"], 1.0);
    let design = design(params, number(&params["power"]));
    let by_normal = apart(effect).control_users(1.0, design.exact_distance())?;
    Ok(json!({"n_per_arm_normal": by_normal, "n_per_arm_t": users_by_t(effect, design)?}))
}

pub fn achieved(case: &Value) -> Result<Value, Undefined> {
    let (params, input) = (&case["params"], &case["input"]);
    let design = design(params, number(&params["mde_power"]));
    let (users, effect) = (number(&input["n_per_arm"]), number(&input["effect_over_stddev"]));
    Ok(json!({
        "power_normal": apart(effect).power(users, 1.0, design),
        "power_t": power_by_t(effect, users, design)?,
        "mde_over_stddev_at_80": design.exact_distance() * apart(effect).variance(users, 1.0).sqrt(),
    }))
}

pub fn achieved_by_proportions(case: &Value) -> Result<Value, Undefined> {
    let (params, input) = (&case["params"], &case["input"]);
    assert_eq!(params["null_variance"], "pooled");
    let [baseline, treatment, users] =
        ["baseline", "treatment", "n_per_arm"].map(|name| number(&input[name]));
    Ok(json!({"power": power_of_pooled_proportions(baseline, treatment, users, design(params, 0.8))}))
}

pub fn under_way(case: &Value) -> Result<Value, Undefined> {
    let input = &case["input"];
    let [error, mde, more] =
        ["standard_error", "target_mde", "additional_data_factor"].map(|name| number(&input[name]));
    Ok(json!({"power": mid_experiment_power(mde, error, more, design(&case["params"], 0.8))?}))
}

pub fn stratified(case: &Value) -> Result<Value, Undefined> {
    let mut whole = [[0; 2]; 2];
    let mut cells = Vec::new();
    for stratum in case["input"]["strata"].as_array().unwrap() {
        let [a, b] = [0, 1].map(|i| proportion_arm(&stratum["arms"][i], "conversions"));
        for (sum, arm) in whole.iter_mut().zip([a, b]) {
            *sum = [sum[0] + arm.n, sum[1] + arm.converters];
        }
        cells.push(Cell { control: Sums::Proportion(a), treatment: Sums::Proportion(b) });
    }
    let [control, treatment] =
        whole.map(|[n, converters]| analyzer::stats::arms::ProportionArm { n, converters });
    let whole = analyzer::stats::arms::Pair::of_proportions(&control, &treatment)?;
    let effect = post_stratified(cells, &whole, measure(&case["params"]["difference_type"]))?;
    Ok(json!({"status": "ok", "effect": effect.estimate, "standard_error": effect.variance.sqrt()}))
}
