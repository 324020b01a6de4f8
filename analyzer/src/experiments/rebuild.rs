//! All sums of an experiment built anew from its raw rows, by the owners of the partitions; the old ones are served
//! meanwhile.

use service::http::{Problem, Request, Response, StatusCode};
use store::Changed;

use super::view::View;
use super::{body, precondition, purged};
use crate::answer::{self, Parameters, actor, storage, tagged_as, unknown_experiment};
use crate::app::Analyzer;

pub async fn post(app: &Analyzer, mut request: Request, reference: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    body::nothing(&mut request).await?;
    let experiment = answer::experiment(&*app.store, &request, reference).await?;
    precondition::holds(&request, &experiment)?;
    let actor = actor(&request);
    match app.store.rebuild_experiment(&experiment.tenant, experiment.id, actor).await.map_err(storage)? {
        Changed::Done(experiment) => tagged_as(StatusCode::ACCEPTED, &View::of(&experiment)),
        Changed::Purged => Err(purged()),
        Changed::Outrun | Changed::NotFound => Err(unknown_experiment()),
    }
}
