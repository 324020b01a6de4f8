//! Sample ratio mismatch.

use super::inputs::{counts, floats};
use analyzer::stats::srm::{Srm, SrmArm, srm};
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
