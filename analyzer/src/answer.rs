//! What all routes share: query parameters, entity tags, and errors of the store as problems.

use domain::Day;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::error::Category;
use service::http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use service::http::{Payload, Problem, Request, Response, StatusCode, check_depth};
use service::logs::causes;
use store::{Actor, Asked, ErrorKind, Experiment, Snapshot, Store, StoreError};
use uuid::Uuid;

/// The query parameters of a request, all of them known to its route and given once.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// 422 names a parameter that is not one of `known`, or comes twice.
    pub fn of(request: &Request, known: &[&str]) -> Result<Parameters, Problem> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in request.query_params() {
            if !known.contains(&name.as_ref()) {
                let detail = format!("the parameter `{name}` is not known here");
                return Err(Problem::unprocessable("unknown_parameter", detail));
            }
            if found.iter().any(|(earlier, _)| *earlier == name) {
                return Err(invalid_parameter(&name, "comes twice"));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Parameters(found))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The parameter read by `parse`; 422 with `wanted` when that fails.
    pub fn parsed<T>(
        &self,
        name: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| invalid_parameter(name, wanted))
    }

    /// Those of `names` that were given, as a query.
    pub fn encoded(&self, names: &[&str]) -> String {
        let given = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        let escape = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        given.map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
    }

    /// `as_of`: a UTC date, the end of that day.
    pub fn as_of(&self) -> Result<Option<Day>, Problem> {
        self.parsed("as_of", "must be a date, YYYY-MM-DD", Day::parse)
    }
}

fn invalid_parameter(name: &str, reason: &str) -> Problem {
    Problem::unprocessable("invalid_parameter", format!("the parameter `{name}` {reason}"))
}

/// The request's JSON. Unknown fields are refused as such, values that do not fit as `invalid`.
pub async fn json<T: serde::de::DeserializeOwned>(
    request: &mut Request,
    invalid: &'static str,
) -> Result<T, Problem> {
    if request.payload()? != Payload::Json {
        let detail = "Content-Type must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    let body = request.read_body().await?;
    check_depth(&body)?;
    serde_json::from_slice(&body).map_err(|error| unreadable(&error, invalid))
}

pub fn unreadable(error: &serde_json::Error, invalid: &'static str) -> Problem {
    match error.classify() {
        Category::Data => {
            let detail = error.to_string();
            // Serde tells an unknown field, which it names, by its text alone.
            let code = if detail.starts_with("unknown field") { "unknown_field" } else { invalid };
            Problem::unprocessable(code, detail)
        }
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::bad_request("invalid_json", format!("the body is not JSON: {error}"))
        }
    }
}

/// 200 with an entity tag over the very bytes, or 304 when the client has them.
pub fn tagged<T: serde::Serialize>(request: &Request, value: &T) -> Result<Response, Problem> {
    let body = written(value)?;
    let tag = tag(&body);
    let known = request.header(IF_NONE_MATCH).is_some_and(|given| matches_tag(given, &tag));
    let response = if known {
        Response::empty(StatusCode::NOT_MODIFIED)
    } else {
        Response::bytes(StatusCode::OK, "application/json", body)
    };
    with_tag(response, &tag)
}

/// An answer to a change, with the tag that reading it would have.
pub fn tagged_as<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let body = written(value)?;
    let tag = tag(&body);
    with_tag(Response::bytes(status, "application/json", body), &tag)
}

/// The entity tag of an answer.
pub fn tag_of<T: serde::Serialize>(value: &T) -> Result<String, Problem> {
    Ok(tag(&written(value)?))
}

pub fn written<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::internal()
    })
}

/// Of the bytes of an answer.
pub fn tag(body: &[u8]) -> String {
    format!("\"{}\"", Uuid::new_v5(&Uuid::NAMESPACE_OID, body).simple())
}

fn with_tag(response: Response, tag: &str) -> Result<Response, Problem> {
    let tag = HeaderValue::try_from(tag).map_err(|_| Problem::internal())?;
    Ok(response.with(ETAG, tag))
}

/// RFC 9110 weak comparison of a list of tags, or `*`.
fn matches_tag(given: &str, tag: &str) -> bool {
    given.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// The experiment with this key or id in the key's tenant; another tenant's is as unknown as none.
pub async fn experiment(
    store: &dyn Store,
    request: &Request,
    reference: &str,
) -> Result<Experiment, Problem> {
    let found = store.experiment(&request.principal().tenant, reference).await.map_err(storage)?;
    found.ok_or_else(unknown_experiment)
}

/// What an answer is made of, the experiment with this key or id in the key's tenant included: one instant.
pub async fn snapshot(
    store: &dyn Store,
    request: &Request,
    reference: &str,
    asked: &Asked,
) -> Result<Snapshot, Problem> {
    let found = store.snapshot(&request.principal().tenant, reference, asked).await.map_err(storage)?;
    found.ok_or_else(unknown_experiment)
}

pub fn unknown_experiment() -> Problem {
    Problem::not_found("unknown_experiment", "there is no such experiment")
}

/// The cause goes to the log.
pub fn storage(error: StoreError) -> Problem {
    let kind = error.kind();
    let error = causes(&error);
    match kind {
        ErrorKind::Transient => {
            tracing::warn!(error, "the database did not answer");
            Problem::unavailable("storage_unavailable", "the database did not answer: try again", 1)
        }
        ErrorKind::Data | ErrorKind::Fatal => {
            tracing::error!(error, "the database answered what we cannot use");
            Problem::internal().retryable(false)
        }
    }
}

/// For the audit log.
pub fn actor(request: &Request) -> Actor<'_> {
    Actor { name: &request.principal().name, request_id: request.id() }
}
