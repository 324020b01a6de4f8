//! A busy machine's servers stand still for seconds: a disk that does not sync, a program that is not run. Then a gateway
//! answers 503, as it may, and whoever sends comes again.

use anyhow::{Result, ensure};
use serde_json::Value;
use std::time::Duration;
use testkit::http::{Client, Response};
use tokio::time::{Instant, sleep};

/// For every deployment that is not told otherwise: what has begun is not given up so soon that an event may be written
/// whose sender is told to come again. Shorter than clients wait for an answer.
pub(crate) const BUDGETS: (&str, &str) = ("AB_SLA_TIMEOUTS", "ingest=25s;live-stats=25s");

/// What a server says before it has done anything.
const AWAY: [&str; 3] = ["queue_unavailable", "catalogue_unavailable", "keys_unavailable"];
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// The answer to a POST that was let in.
pub async fn post(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Result<Response> {
    request(client, "POST", path, headers, body).await
}

/// The same of a JSON value.
pub async fn post_json(client: &Client, path: &str, body: &Value) -> Result<Response> {
    post(client, path, &[("content-type", "application/json")], body.to_string()).await
}

/// The answer to any request that was let in.
pub async fn request(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Result<Response> {
    let (body, deadline) = (body.into(), Instant::now() + LIMIT);
    loop {
        let answer = client.request(method, path, headers, body.clone()).await?;
        if !is_away(&answer) {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "not let in within {LIMIT:?}: {}", answer.text());
        sleep(PAUSE).await;
    }
}

/// Whether it says nothing but that servers stand still.
pub fn is_away(answer: &Response) -> bool {
    let code = || answer.json().ok().and_then(|body| Some(body.get("error_code")?.as_str()?.to_owned()));
    answer.status == 503 && code().is_some_and(|code| AWAY.contains(&code.as_str()))
}
