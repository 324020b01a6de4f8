//! Sample ratio mismatch.

use super::inputs::{counts, floats};
use analyzer::stats::srm::{Srm, SrmArm, srm};
use analyzer::stats::srm_anytime::srm_anytime;
use analyzer::stats::{Alpha, Undefined};
use serde_json::{Value, json};

pub fn arms(observed: &[u64], weights: &[f64]) -> Vec<SrmArm> {
    observed.iter().zip(weights).map(|(&observed, &weight)| SrmArm { observed, weight }).collect()
}

pub fn chi_square(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    let arms = arms(&counts(&case["input"]["observed"]), &floats(&params["weights"]));
    let tested = srm(&[arms], Alpha::new(params["threshold"].as_f64().unwrap()).unwrap())?;
    Ok(match tested {
        Srm::CertainMismatch => json!({"status": "mismatch_certain", "mismatch": true}),
        Srm::Tested(test) => {
            let mut got = serde_json::to_value(&test).unwrap();
            got["status"] = "ok".into();
            got
        }
    })
}

pub fn anytime(case: &Value) -> Result<Value, Undefined> {
    let params = &case["params"];
    assert_eq!(params["concentration"], 10_000);
    let weights = floats(&params["weights"]);
    let mut so_far = vec![0; weights.len()];
    let mut looks = Vec::new();
    for new in case["input"]["new_counts_per_look"].as_array().unwrap() {
        so_far.iter_mut().zip(counts(new)).for_each(|(sum, n)| *sum += n);
        looks.push(vec![arms(&so_far, &weights)]);
    }
    let alpha = Alpha::new(params["threshold"].as_f64().unwrap()).unwrap();
    let checked = srm_anytime(&looks, alpha)?;
    Ok(json!({
        "status": "ok",
        "ln_bayes_factor": checked.iter().map(|look| look.ln_bayes_factor).collect::<Vec<_>>(),
        "p_value": checked.iter().map(|look| look.p_value).collect::<Vec<_>>(),
        "mismatch": checked.last().unwrap().mismatch,
    }))
}
