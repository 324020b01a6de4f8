//! Webhooks over HTTP: made, listed, tried out, deleted, and what became of their deliveries.

use serde::Deserialize;
use serde_json::json;
use service::http::{Problem, Request, Response, StatusCode};
use store::{DeliveryState, NewWebhook, WEBHOOKS_MAX, Webhook};

use super::facts::{EVENTS, TEST, note};
use super::signature;
use super::target::Target;
use super::view::{DeliveryView, Page, Tested, WebhookView};
use crate::answer::{Parameters, actor, json, storage, tagged};
use crate::app::Analyzer;
use crate::clock;

const INVALID: &str = "invalid_webhook";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    url: String,
    /// None: all there are.
    events: Option<Vec<String>>,
}

pub async fn create(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let Body { url, events } = json(&mut request, INVALID).await?;
    let invalid = |detail: String| Problem::unprocessable(INVALID, detail);
    Target::checked(&url, &app.webhook_targets).map_err(|bad| invalid(format!("`url` {bad}")))?;
    let mut events = events.unwrap_or_else(|| EVENTS.map(str::to_owned).to_vec());
    events.sort_unstable();
    events.dedup();
    if events.is_empty() || events.iter().any(|event| !EVENTS.contains(&event.as_str())) {
        return Err(invalid(format!("`events` must be some of {}", EVENTS.join(", "))));
    }
    let secret = signature::new_secret().map_err(|error| {
        tracing::error!(%error, "the system gave no random bytes");
        Problem::internal()
    })?;
    let new = NewWebhook { url: &url, events: &events, secret: &secret };
    let created =
        app.store.create_webhook(&request.principal().tenant, new, actor(&request)).await.map_err(storage)?;
    let Some(webhook) = created else {
        let detail = format!("a tenant has at most {WEBHOOKS_MAX} webhooks");
        return Err(Problem::conflict("too_many_webhooks", detail));
    };
    let shown = WebhookView::of(&webhook).with_secret(signature::shown(&secret));
    Response::json(StatusCode::CREATED, &shown)
}

/// In pages as all lists are, although a tenant's fit one.
pub async fn list(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor"])?;
    let limit = parameters.limit()? as usize;
    let after = parameters
        .parsed("cursor", "must be a `next_cursor`", |t| t.parse().ok().filter(|id: &i64| *id >= 0))?;
    let webhooks = app.store.webhooks(&request.principal().tenant).await.map_err(storage)?;
    let mut rest = webhooks.iter().filter(|webhook| after.is_none_or(|after| webhook.id > after)).peekable();
    let page: Vec<&Webhook> = rest.by_ref().take(limit).collect();
    let next_cursor = page.last().filter(|_| rest.peek().is_some()).map(|webhook| webhook.id.to_string());
    tagged(request, &Page { items: page.into_iter().map(WebhookView::of).collect(), next_cursor })
}

pub async fn delete(app: &Analyzer, request: &Request, id: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let id = id.parse().map_err(|_| unknown())?;
    match app.store.delete_webhook(&request.principal().tenant, id, actor(request)).await.map_err(storage)? {
        true => Ok(Response::empty(StatusCode::NO_CONTENT)),
        false => Err(unknown()),
    }
}

/// The latest first.
pub async fn deliveries(app: &Analyzer, request: &Request, id: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor", "state"])?;
    let limit = parameters.limit()?;
    let before = parameters
        .parsed("cursor", "must be a `next_cursor`", |t| t.parse().ok().filter(|number: &i64| *number > 0))?;
    let state = parameters.parsed("state", "must be waiting, delivered or given_up", DeliveryState::parse)?;
    let id = id.parse().map_err(|_| unknown())?;
    let webhooks = app.store.webhooks(&request.principal().tenant).await.map_err(storage)?;
    if !webhooks.iter().any(|webhook| webhook.id == id) {
        return Err(unknown());
    }
    // One more than asked for tells whether there is a next page.
    let mut found = app.store.deliveries(id, before, state, limit + 1).await.map_err(storage)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|delivery| delivery.number.to_string());
    tagged(request, &Page { items: found.iter().map(DeliveryView::of).collect(), next_cursor })
}

pub async fn test(app: &Analyzer, mut request: Request, id: &str) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    crate::experiments::nothing(&mut request).await?;
    let tenant = &request.principal().tenant;
    let note = note(TEST, tenant, clock::now(), &json!({"request_id": request.id()}));
    let id = id.parse().map_err(|_| unknown())?;
    let told = app.store.tell_one(tenant, id, &note).await.map_err(storage)?.ok_or_else(unknown)?;
    Response::json(StatusCode::ACCEPTED, &Tested { number: told.number, id: told.id })
}

fn unknown() -> Problem {
    Problem::not_found("unknown_webhook", "there is no such webhook")
}
