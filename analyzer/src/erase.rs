//! A user is forgotten, for good. The owner of the user's partition does it, as soon as it is between two transactions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::http::{Problem, Request, Response, StatusCode};
use store::Erasure;
use tokio::time::{Instant, sleep};

use crate::answer::{Parameters, actor, json, storage};
use crate::app::Analyzer;
use crate::dead_letters;

/// The answer waits this long for the owner, who looks every second.
const WAIT: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    user_id: String,
}

#[derive(Serialize)]
struct Answer {
    /// `queued`: asking again tells when it is `erased`.
    status: &'static str,
}

pub async fn post(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let Body { user_id } = json(&mut request, "invalid_body").await?;
    domain::event::check_user_id(&user_id)
        .map_err(|error| Problem::unprocessable("invalid_user_id", error.to_string()))?;
    let actor = actor(&request);
    let deadline = Instant::now() + WAIT;
    loop {
        let tenant = &request.principal().tenant;
        match app.store.erase_user(tenant, &user_id, app.partitions, actor).await.map_err(storage)? {
            Erasure::Done => {
                // Behind the tombstone: no letter of the user is written any more.
                dead_letters::erase(&*app.store, tenant, &user_id, actor).await.map_err(storage)?;
                return Response::json(StatusCode::OK, &Answer { status: "erased" });
            }
            Erasure::Asked if Instant::now() >= deadline => {
                return Response::json(StatusCode::ACCEPTED, &Answer { status: "queued" });
            }
            Erasure::Asked => sleep(POLL_EVERY).await,
        }
    }
}
