//! `POST .../assign`: which variation a user is to see. A user whose exposure is stored stays in its variation; others
//! fall where their id falls ([`domain::assignment`]). Nothing is stored here: only an exposure enrolls.

use domain::UnitId;
use domain::assignment::{Assigned, assign};
use domain::event::check_user_id;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::http::{Problem, Request, Response, StatusCode};
use store::{Asked, Experiment, Rows, Snapshot, Status};

use crate::answer::{self, Parameters, json};
use crate::app::Analyzer;
use crate::live_stats::Subject;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    user_id: String,
    /// What targeting asks about.
    #[serde(default)]
    attributes: Map<String, Value>,
}

#[derive(Serialize)]
struct Assignment<'a> {
    experiment: Subject<'a>,
    user_id: &'a str,
    in_experiment: bool,
    /// Null: show what everybody saw before the experiment.
    variation_index: Option<usize>,
    variation: Option<&'a str>,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    /// An exposure is stored.
    Sticky,
    /// By hash.
    Assigned,
    /// Kept out of every variation, by a stored exposure.
    Holdout,
    NotRunning,
    NotInNamespace,
    NotTargeted,
    NotCovered,
}

const INVALID: &str = "invalid_request";

pub async fn post(app: &Analyzer, mut request: Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let Question { user_id, attributes } = json(&mut request, INVALID).await?;
    check_user_id(&user_id).map_err(|error| Problem::unprocessable(INVALID, format!("/user_id: {error}")))?;
    let unit = UnitId::of(&request.principal().tenant, &user_id);
    let asked = Asked { user: Some(unit), ..Asked::of(None, |_| Rows::None) };
    let Snapshot { experiment, user, .. } =
        answer::snapshot(&*app.store, &request, reference, &asked).await?;
    let stored = user.as_ref().and_then(|user| user.unit.unit.enrollment(experiment.id));
    let (variation_index, reason) = match stored.map(|enrollment| usize::try_from(enrollment.variation)) {
        Some(Ok(variation)) => (Some(variation), Reason::Sticky),
        Some(Err(_)) => (None, Reason::Holdout),
        None => place(&experiment, &user_id, &attributes),
    };
    let variation = variation_index.and_then(|i| experiment.definition.variations.get(i));
    let assignment = Assignment {
        experiment: Subject::of(&experiment),
        user_id: &user_id,
        in_experiment: variation_index.is_some(),
        variation_index,
        variation: variation.map(|v| v.key.as_str()),
        reason,
    };
    Response::json(StatusCode::OK, &assignment)
}

fn place(experiment: &Experiment, user_id: &str, attributes: &Map<String, Value>) -> (Option<usize>, Reason) {
    if experiment.status != Status::Running {
        return (None, Reason::NotRunning);
    }
    match assign(&experiment.definition, user_id, attributes) {
        Assigned::Variation(variation) => (Some(variation), Reason::Assigned),
        Assigned::NotInNamespace => (None, Reason::NotInNamespace),
        Assigned::NotTargeted => (None, Reason::NotTargeted),
        Assigned::NotCovered => (None, Reason::NotCovered),
    }
}
