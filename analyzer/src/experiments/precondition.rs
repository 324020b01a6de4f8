//! `If-Match`: a change is made of the experiment that its author saw, or not at all.

use service::http::header::IF_MATCH;
use service::http::{Problem, Request, StatusCode};
use store::Experiment;

use super::view::View;
use crate::answer::tag_of;

/// 412 when the request names tags and none of them is the experiment's.
pub fn holds(request: &Request, experiment: &Experiment) -> Result<(), Problem> {
    if !is_given(request) {
        return Ok(());
    }
    let tag = tag_of(&View::of(experiment))?;
    // Compared strongly: a weak tag (`W/`) matches nothing.
    let mut given = request.headers().get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let matches = given.any(|list| list.split(',').map(str::trim).any(|one| one == "*" || one == tag));
    if matches { Ok(()) } else { Err(failed()) }
}

pub fn is_given(request: &Request) -> bool {
    request.headers().contains_key(IF_MATCH)
}

pub fn failed() -> Problem {
    let detail = "the experiment has changed since: read it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
}
