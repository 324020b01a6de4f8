//! Differences of two arms: Welch, small counts, Fieller.

use super::inputs::{alpha, mean_arm, measure, pair_of, proportion_arm, scaled};
use analyzer::stats::arms::{Pair, Scale};
use analyzer::stats::cuped::{Columns, Divisor, adjust};
use analyzer::stats::{
    Undefined, effect::effect, fieller::fieller, normal, small_counts::small_counts, welch::welch,
};
use serde_json::{Value, json};

pub fn difference(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    assert_eq!(params["sided"], "two");
    let pair = pair_of(&case["input"])?;
    let test = welch(&effect(&pair, measure(&params["difference_type"]))?, alpha(params))?;
    let mut got = serde_json::to_value(&test).unwrap();
    got["status"] = "ok".into();
    for (arm, summary) in [("control", pair.control), ("treatment", pair.treatment)] {
        got[format!("mean_{arm}")] = summary.mean.into();
        got[format!("ratio_{arm}")] = summary.mean.into();
        got[format!("variance_{arm}")] = summary.unit_variance.into();
        got[format!("unit_variance_{arm}")] = summary.unit_variance.into();
    }
    Ok(got)
}

pub fn small(case: &Value) -> Result<Value, Undefined> {
    let arms = &case["input"]["arms"];
    let [control, treatment] = [0, 1].map(|i| proportion_arm(&arms[i], "conversions"));
    let small = small_counts(&control, &treatment, alpha(&case["params"]))?;
    let mut got = serde_json::to_value(&small).unwrap();
    (got["status"], got["newcombe_diff_ci"]) = ("ok".into(), json!(small.ci));
    got["p_fisher_two_sided"] = small.p_value.into();
    Ok(got)
}

pub fn fieller_lift(case: &Value) -> Result<Value, Undefined> {
    let (params, pair) = (&case["params"], pair_of(&case["input"])?);
    assert_eq!(params["quantile"], "normal");
    let critical = normal::upper_quantile(alpha(params).get() / 2.0);
    let effect = effect(&pair, analyzer::stats::effect::Measure::Relative)?;
    Ok(json!({"status": "ok", "ci": fieller(&pair, critical)?, "effect": effect.estimate}))
}

pub fn adjusted(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    let arms = &case["input"]["arms"];
    let columns = |arm: &Value| Columns {
        n: arm["n"].as_u64().unwrap(),
        scales: vec![Scale::Millionths; 2],
        sums: ["sum", "pre_sum"].map(|name| scaled(&arm[name], 6)).to_vec(),
        products: vec![
            vec![scaled(&arm["sum_squares"], 12)],
            vec![scaled(&arm["post_pre_sum_products"], 12), scaled(&arm["pre_sum_squares"], 12)],
        ],
    };
    let [a, b] = [0, 1].map(|i| mean_arm(&arms[i], "sum", "sum_squares"));
    let pair = Pair::of_means(&a, &b)?;
    let adjusted = adjust(&pair, &columns(&arms[0]), &columns(&arms[1]), Divisor::Sample)?;
    let measure = measure(&params["difference_type"]);
    let mut got = serde_json::to_value(welch(&adjusted.effect(measure)?, alpha(params))?).unwrap();
    (got["status"], got["theta"]) = ("ok".into(), adjusted.theta[0].into());
    let [control, treatment] = adjusted.variances;
    (got["adjusted_variance_control"], got["adjusted_variance_treatment"]) =
        (control.into(), treatment.into());
    got["unadjusted_effect"] = effect(&pair, measure)?.estimate.into();
    Ok(got)
}
