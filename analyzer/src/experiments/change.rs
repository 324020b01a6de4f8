//! PUT replaces a definition, PATCH (RFC 7396) members of it. Both are judged by [`rules`] against the experiment they
//! are made of, and stored only while that is still the latest.

use service::http::{Problem, Request, Response};
use store::{Change, Changed, Experiment};

use domain::definition::Definition;

use super::{body, difference, precondition, published, purged, rules};
use crate::answer::{self, Parameters, actor, storage, unknown_experiment};
use crate::app::Analyzer;

/// Changes of others that one request gives way to; each of them is somebody's success.
const ATTEMPTS: u32 = 10;

pub async fn put(app: &Analyzer, mut request: Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let wanted = body::definition(&mut request).await?;
    change(app, &request, reference, |_| Ok(wanted.clone())).await
}

pub async fn patch(app: &Analyzer, mut request: Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let patch = body::patch(&mut request).await?;
    change(app, &request, reference, |experiment| body::patched(experiment.wanted(), &patch)).await
}

async fn change(
    app: &Analyzer,
    request: &Request,
    reference: &str,
    wanted: impl Fn(&Experiment) -> Result<Definition, Problem>,
) -> Result<Response, Problem> {
    let actor = actor(request);
    for _ in 0..ATTEMPTS {
        let experiment = answer::experiment(&*app.store, request, reference).await?;
        precondition::holds(request, &experiment)?;
        let definition = wanted(&experiment)?;
        if definition == *experiment.wanted() {
            return published(app, &experiment).await;
        }
        rules::allow(&experiment, &definition)?;
        let detail = difference::between(experiment.wanted(), &definition)?;
        let change = Change { revision: experiment.revision, definition: &definition, detail: &detail };
        let changed = app.store.change_definition(&experiment.tenant, experiment.id, change, actor).await;
        match changed.map_err(storage)? {
            Changed::Done(experiment) => return published(app, &experiment).await,
            Changed::Outrun if precondition::is_given(request) => return Err(precondition::failed()),
            Changed::Outrun => {}
            Changed::Purged => return Err(purged()),
            Changed::NotFound => return Err(unknown_experiment()),
        }
    }
    Err(Problem::unavailable("busy", "others are changing the experiment: try again", 1))
}
