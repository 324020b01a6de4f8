//! Posteriors.

use super::inputs::{alpha, measure, pair_of, proportion_arm};
use analyzer::stats::bayes::{Better, Prior, posterior};
use analyzer::stats::beta_binomial::beta_binomial;
use analyzer::stats::{Undefined, effect::effect};
use serde_json::Value;

pub fn gaussian(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    let effect = effect(&pair_of(&case["input"])?, measure(&params["difference_type"]))?;
    let given = &params["prior"];
    let prior = given["proper"]
        .as_bool()
        .unwrap()
        .then(|| Prior { mean: given["mean"].as_f64().unwrap(), stddev: given["stddev"].as_f64().unwrap() });
    let better = if params["inverse"].as_bool().unwrap() { Better::Lower } else { Better::Higher };
    let mut got = serde_json::to_value(posterior(&effect, prior, better, alpha(params))?).unwrap();
    got["status"] = "ok".into();
    Ok(got)
}

pub fn exact(case: &Value) -> Result<Value, Undefined> {
    assert_eq!((&case["params"]["prior_alpha"], &case["params"]["prior_beta"]), (&1.into(), &1.into()));
    let arms = &case["input"]["arms"];
    let [control, treatment] = [0, 1].map(|i| proportion_arm(&arms[i], "conversions"));
    let mut got = serde_json::to_value(beta_binomial(&control, &treatment, Better::Higher)?).unwrap();
    got["status"] = "ok".into();
    Ok(got)
}
