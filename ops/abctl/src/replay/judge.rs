//! `--dry-run`: a row in the eyes of the gateway's own parser.

use super::command::Kind;
use super::row::Reject;
use ingest_gateway::body::{self, Form, Shape};
use ingest_gateway::codes::Code;

/// Checks all that a gateway checks without knowing experiments and the time.
pub fn row(kind: Kind, json: &str) -> Result<(), Reject> {
    let shape = match kind {
        // Of units each item has the kind of its own route.
        Kind::Events | Kind::Units => Shape::Events,
        Kind::Exposures => Shape::Exposures,
        Kind::Conversions => Shape::Conversions,
        Kind::PrePeriod => Shape::PrePeriod,
        Kind::Strata => Shape::Strata,
        Kind::Exclusions => Shape::Exclusions,
        Kind::Holdout => Shape::Holdout,
    };
    let reject =
        |code: Code, detail: &str| Reject { error_code: code.as_str().into(), detail: detail.into() };
    let parsed =
        body::parse(json.as_bytes(), shape, Form::NdJson, 1).map_err(|r| reject(r.code, &r.detail))?;
    match parsed.faults.first() {
        Some((_, fault)) => Err(reject(fault.code, &fault.detail)),
        None => Ok(()),
    }
}
