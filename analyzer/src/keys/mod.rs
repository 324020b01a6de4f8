//! Keys that admins issue: shown once when they are made, listed by their last digits, revoked.

mod issuer;

pub use issuer::Issuer;

use serde::{Deserialize, Serialize};
use service::auth::{NewSecret, Scopes};
use service::http::{Problem, Request, Response, StatusCode};
use store::{ApiKey, KEYS_MAX, NewKey};

use crate::answer::{Parameters, actor, json, storage, tagged};
use crate::app::Analyzer;
use crate::paging::Paging;

/// Longest name, in characters.
const NAME_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    scopes: Vec<String>,
}

#[derive(Serialize)]
struct View<'k> {
    id: i64,
    name: &'k str,
    scopes: Vec<&'k str>,
    last_digits: &'k str,
    created_at: String,
    revoked_at: Option<String>,
}

#[derive(Serialize)]
struct Created<'k> {
    #[serde(flatten)]
    view: View<'k>,
    /// The only time it is shown.
    key: &'k str,
}

/// The key counts everywhere when this answers. When the gateways cannot be told nothing is issued.
pub async fn create(app: &Analyzer, mut request: Request) -> Result<Response, Problem> {
    Parameters::of(&request, &[])?;
    let wanted: Wanted = json(&mut request, "invalid_body").await?;
    let scopes = wanted.check()?;
    let secret = NewSecret::random().map_err(|error| {
        tracing::error!(%error, "no random bytes for a key");
        Problem::internal()
    })?;
    let digest = secret.digest().bytes();
    let key = NewKey { digest, name: &wanted.name, scopes: &scopes, last_digits: secret.last_digits() };
    let tenant = &request.principal().tenant;
    let created = app.store.create_key(tenant, key, actor(&request)).await.map_err(storage)?;
    let Some(created) = created else {
        let detail = format!("the tenant has {KEYS_MAX} keys in force: revoke those that nobody uses");
        return Err(Problem::conflict("too_many_keys", detail));
    };
    if let Err(error) = app.issuer.publish().await {
        app.issuer.not_written(&error);
        // Nobody was shown the key.
        app.store.revoke_key(tenant, created.id, actor(&request)).await.map_err(storage)?;
        let detail = "the gateways could not be told, so no key was issued: try again";
        return Err(Problem::unavailable("keys_unavailable", detail, 1));
    }
    let created = Created { view: View::of(&created), key: secret.expose() };
    Response::json(StatusCode::CREATED, &created)
}

pub async fn list(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor"])?;
    let paging = Paging::of(&parameters)?;
    let found = app.store.keys(&request.principal().tenant, paging.cursor, paging.wanted()).await;
    let page = paging.page(found.map_err(storage)?, |key| key.id);
    tagged(request, &page.shown(View::of))
}

/// Idempotent. On a 503 the key is revoked, and the gateways learn of it as soon as they can be told.
pub async fn revoke(app: &Analyzer, request: &Request, id: &str) -> Result<Response, Problem> {
    Parameters::of(request, &[])?;
    let unknown = || Problem::not_found("unknown_key_id", "there is no such key");
    let id = id.parse().map_err(|_| unknown())?;
    let revoked = app.store.revoke_key(&request.principal().tenant, id, actor(request)).await;
    revoked.map_err(storage)?.ok_or_else(unknown)?;
    if let Err(error) = app.issuer.publish().await {
        app.issuer.not_written(&error);
        let detail = "the key is revoked, but the gateways could not be told yet: send the request again";
        return Err(Problem::unavailable("keys_unavailable", detail, 1));
    }
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

impl Wanted {
    /// The scopes as they are stored.
    fn check(&self) -> Result<String, Problem> {
        let length = self.name.chars().count();
        if !(1..=NAME_MAX).contains(&length) || self.name.chars().any(char::is_control) {
            let detail = format!("`name` must be 1 to {NAME_MAX} characters without control characters");
            return Err(Problem::unprocessable("invalid_key_name", detail));
        }
        let invalid = || {
            let detail = "`scopes` must hold at least one of events, ingest, read, admin";
            Problem::unprocessable("invalid_scopes", detail)
        };
        let scopes = Scopes::parse(&self.scopes.join(",")).ok_or_else(invalid)?;
        if !Scopes::ISSUABLE.has(scopes) {
            return Err(invalid());
        }
        Ok(scopes.names().collect::<Vec<_>>().join(","))
    }
}

impl<'k> View<'k> {
    fn of(key: &'k ApiKey) -> View<'k> {
        View {
            id: key.id,
            name: &key.name,
            scopes: key.scopes.split(',').collect(),
            last_digits: &key.last_digits,
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}
