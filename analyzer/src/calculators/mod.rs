//! `POST /api/v1/stats/*`: the statistics of the answers on numbers that the caller brings. Nothing is read or stored.

pub mod power;

use serde::{Deserialize, Serialize};
use service::http::{Problem, Request, Response, StatusCode};

use crate::answer::{Parameters, json};
use crate::sample_ratio::SampleRatio;
use crate::stats::multiple::{benjamini_hochberg, holm, rejected};
use crate::stats::srm::SrmArm;
use crate::stats::{Alpha, Undefined};

pub async fn power(mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let question: power::Question = json(&mut request, INVALID).await?;
    let answer = power::answer(&question).map_err(|invalid| refused(&invalid))?;
    Response::json(StatusCode::OK, &answer)
}

/// Users per arm against the shares planned for them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    observed: Vec<u64>,
    weights: Vec<f64>,
    #[serde(default = "srm_alpha")]
    alpha: f64,
}

fn srm_alpha() -> f64 {
    0.001
}

pub async fn srm(mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let Ratio { observed, weights, alpha } = json(&mut request, INVALID).await?;
    ensure("/weights", observed.len() == weights.len(), "must be as many as observed")?;
    ensure("/observed", (2..=MAX_ARMS).contains(&observed.len()), "must be 2 to 100 arms")?;
    let sound = weights.iter().all(|w| (0.0..=1e9).contains(w));
    ensure("/weights", sound, "must be between 0 and 1e9")?;
    ensure("/observed", observed.iter().all(|n| *n <= MAX_USERS), "must be at most 1e12")?;
    let alpha = Alpha::new(alpha).ok_or_else(|| refused(&invalid("/alpha", "must lie between 0 and 1")))?;
    let arms = observed.iter().zip(weights).map(|(observed, weight)| SrmArm { observed: *observed, weight });
    Response::json(StatusCode::OK, &SampleRatio::of_periods(&[arms.collect()], alpha))
}

/// Null: a test without a result, which is no part of the family.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    p_values: Vec<Option<f64>>,
    #[serde(default)]
    method: Method,
    #[serde(default = "alpha")]
    alpha: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    #[default]
    Holm,
    BenjaminiHochberg,
}

fn alpha() -> f64 {
    0.05
}

#[derive(Serialize)]
struct Adjusted {
    method: Method,
    alpha: f64,
    /// Tests with a result.
    family: usize,
    adjusted: Vec<Option<f64>>,
    rejected: Vec<Option<bool>>,
}

pub async fn multiple_testing(mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let Family { p_values, method, alpha } = json(&mut request, INVALID).await?;
    ensure("/p_values", (1..=MAX_TESTS).contains(&p_values.len()), "must be 1 to 10000")?;
    let sound = p_values.iter().flatten().all(|p| (0.0..=1.0).contains(p));
    ensure("/p_values", sound, "must be between 0 and 1, or null")?;
    let level = Alpha::new(alpha).ok_or_else(|| refused(&invalid("/alpha", "must lie between 0 and 1")))?;
    let defined: Vec<f64> = p_values.iter().flatten().copied().collect();
    let of_family = match method {
        Method::Holm => holm(&defined),
        Method::BenjaminiHochberg => benjamini_hochberg(&defined),
    };
    let mut next = of_family.iter().copied();
    let adjusted: Vec<Option<f64>> = p_values.iter().map(|p| p.and_then(|_| next.next())).collect();
    let answer = Adjusted {
        method,
        alpha,
        family: defined.len(),
        rejected: adjusted.iter().map(|p| p.map(|p| rejected(p, level))).collect(),
        adjusted,
    };
    Response::json(StatusCode::OK, &answer)
}

const INVALID: &str = "invalid_request";
const MAX_ARMS: usize = 100;
const MAX_USERS: u64 = 1_000_000_000_000;
const MAX_TESTS: usize = 10_000;

/// A field that makes no sense: JSON pointer and reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct Invalid {
    pub pointer: &'static str,
    pub reason: &'static str,
}

fn invalid(pointer: &'static str, reason: &'static str) -> Invalid {
    Invalid { pointer, reason }
}

fn refused(invalid: &Invalid) -> Problem {
    Problem::unprocessable(INVALID, invalid.to_string())
}

fn ensure(pointer: &'static str, holds: bool, reason: &'static str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(refused(&invalid(pointer, reason))) }
}

impl From<Undefined> for Invalid {
    fn from(_: Undefined) -> Invalid {
        invalid("", "the numbers together are beyond what can be computed")
    }
}
