//! What of a definition may change, and when.
//!
//! | | draft | started, stopped | archived |
//! |---|---|---|---|
//! | key | never | never | never |
//! | name, description, labels, names of variations | yes | yes | no |
//! | analysis, direction, role and margin of metrics | yes | yes, without the planned looks | no |
//! | targeting, namespace | yes | yes | no |
//! | weights, coverage | yes | yes: a phase begins | no |
//! | which variations there are, and their order | yes | no | no |
//! | what is counted: events, types and caps of metrics, windows, filters | yes | yes: answers stay those of before until all sums are rebuilt | no |

use domain::definition::Definition;
use service::http::Problem;
use store::{Experiment, Status};

/// 409 names what cannot change.
pub fn allow(experiment: &Experiment, wanted: &Definition) -> Result<(), Problem> {
    let current = experiment.wanted();
    if wanted.key != current.key {
        return refuse("key_fixed", "an experiment keeps its key for ever");
    }
    match experiment.status {
        Status::Draft => Ok(()),
        Status::Running | Status::Stopped => allow_started(experiment, wanted),
        Status::Archived => {
            refuse("wrong_status", "an archived experiment does not change: restore it first")
        }
    }
}

fn allow_started(experiment: &Experiment, wanted: &Definition) -> Result<(), Problem> {
    let current = experiment.wanted();
    let keys = |d: &Definition| d.variations.iter().map(|v| v.key.clone()).collect::<Vec<_>>();
    if keys(wanted) != keys(current) {
        let detail = "variations cannot be added, removed or re-ordered once the experiment was started";
        return refuse("variations_fixed", detail);
    }
    if wanted.analysis.looks != current.analysis.looks {
        return refuse("looks_fixed", "planned sizes are frozen when the experiment is started");
    }
    Ok(())
}

fn refuse(code: &'static str, detail: &'static str) -> Result<(), Problem> {
    Err(Problem::conflict(code, detail))
}
