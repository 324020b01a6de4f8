//! Webhooks over HTTP: made, listed, tried out, deleted, and what became of their deliveries.

use serde::Deserialize;
use serde_json::json;
use service::http::{Problem, Request, Response, StatusCode};
use store::{DeliveryState, NewWebhook, WEBHOOKS_MAX};

use super::facts::{EVENTS, TEST, note};
use super::signature;
use super::target::Target;
use super::view::{DeliveryView, Tested, WebhookView};
use crate::answer::{Parameters, actor, json, storage, tagged};
use crate::app::Analyzer;
use crate::clock;
use crate::paging::Paging;

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
    let paging = Paging::of(&parameters)?;
    let webhooks = app.store.webhooks(&request.principal().tenant).await.map_err(storage)?;
    let rest = webhooks.into_iter().filter(|webhook| paging.cursor.is_none_or(|after| webhook.id > after));
    let page = paging.page(rest.take(paging.wanted() as usize).collect(), |webhook| webhook.id);
    tagged(request, &page.shown(WebhookView::of))
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
    let paging = Paging::of(&parameters)?;
    let state = parameters.parsed("state", "must be waiting, delivered or given_up", DeliveryState::parse)?;
    let id = id.parse().map_err(|_| unknown())?;
    let webhooks = app.store.webhooks(&request.principal().tenant).await.map_err(storage)?;
    if !webhooks.iter().any(|webhook| webhook.id == id) {
        return Err(unknown());
    }
    let found = app.store.deliveries(id, paging.cursor, state, paging.wanted()).await.map_err(storage)?;
    let page = paging.page(found, |delivery| delivery.number);
    tagged(request, &page.shown(DeliveryView::of))
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
