//! The arms of a case, in the exact form that sums have.

use analyzer::stats::arms::{ArmMoments, Pair, ProportionArm, Scale};
use analyzer::stats::ratio::RatioArm;
use analyzer::stats::{Alpha, Undefined, effect::Measure};
use ethnum::I256;
use serde_json::Value;

/// A decimal as an integer count of 10^-digits.
pub fn scaled(value: &Value, digits: usize) -> I256 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<digits$}").parse().unwrap()
}

pub fn mean_arm(arm: &Value, sum: &str, sum_sq: &str) -> ArmMoments {
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

pub fn proportion_arm(arm: &Value, converters: &str) -> ProportionArm {
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

pub fn pair_of(input: &Value) -> Result<Pair, Undefined> {
    if let Some(raw) = input.get("raw_users").filter(|_| input.get("arms").is_none()) {
        return Pair::of_means(&raw_arm(&raw["control"]), &raw_arm(&raw["treatment"]));
    }
    let arms = &input["arms"];
    match input["metric_type"].as_str().unwrap() {
        "binomial" => Pair::of_proportions(
            &proportion_arm(&arms[0], "conversions"),
            &proportion_arm(&arms[1], "conversions"),
        ),
        "ratio" => Pair::of_ratios(&ratio_arm(&arms[0]), &ratio_arm(&arms[1])),
        "mean" => {
            let arm = |i: usize| mean_arm(&arms[i], "sum", "sum_squares");
            Pair::of_means(&arm(0), &arm(1))
        }
        other => panic!("metric type {other}"),
    }
}

pub fn measure(name: &Value) -> Measure {
    match name.as_str().unwrap() {
        "relative" => Measure::Relative,
        "absolute" => Measure::Absolute,
        other => panic!("difference type {other}"),
    }
}

pub fn alpha(params: &Value) -> Alpha {
    Alpha::new(params["alpha"].as_f64().unwrap()).unwrap()
}

pub fn floats(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

pub fn counts(values: &Value) -> Vec<u64> {
    values.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
}
