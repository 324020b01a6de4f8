//! A deployment as commands talk to it: an address, a key, and refusals as lines a person can act on.

use crate::client::{Answer, Client, Download, HttpError};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service::settings::{Refusal, Settings};
use std::fmt;
use std::time::Duration;

/// Where `abctl up` listens.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8008";

/// Our longest answer takes seconds; a service that needs longer is not well.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Item errors of a refusal told in its line.
const SHOWN: usize = 5;

pub struct Api {
    client: Client,
    /// The variable the key comes from.
    key: Option<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0}")]
    Refused(Box<Refused>),
    #[error(
        "{authority} answered {status} and nothing abctl understands: is AB_URL the address of abstream?"
    )]
    Foreign { authority: String, status: u16 },
    #[error("the answer of {authority} is not what this abctl expects: is it of the same version?")]
    Unreadable { authority: String, source: serde_json::Error },
}

/// A refusal of the service, with what to do about it where that is known.
#[derive(Debug)]
pub struct Refused {
    problem: Problem,
    hint: Option<String>,
}

/// `application/problem+json`.
#[derive(Debug, Deserialize)]
struct Problem {
    title: String,
    status: u16,
    detail: String,
    error_code: String,
    request_id: String,
    #[serde(default)]
    errors: Vec<ItemError>,
    errors_total: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct ItemError {
    pointer: String,
    detail: String,
}

impl Api {
    /// Of `AB_URL`, with the strongest key there is: in a deployment of three tiers `AB_API_TOKEN` cannot write.
    pub fn of(settings: &Settings) -> Result<Api, Refusal> {
        let auth = &settings.auth;
        let keys = [
            ("AB_ADMIN_TOKEN", &auth.admin_token),
            ("AB_API_TOKEN", &auth.api_token),
            ("AB_READONLY_API_TOKEN", &auth.readonly_api_token),
        ];
        let key = keys.into_iter().find_map(|(name, key)| Some((name, key.as_ref()?.expose())));
        let url = settings.client.url.as_deref().unwrap_or(DEFAULT_URL);
        Api::at(url, key).map_err(|error| match error {
            HttpError::Base(reason) => Refusal::new("AB_URL", reason.to_string()),
            other => Refusal::new(key.map_or("AB_URL", |(name, _)| name), other.to_string()),
        })
    }

    /// `key`: the variable it comes from, and itself.
    pub fn at(url: &str, key: Option<(&'static str, &str)>) -> Result<Api, HttpError> {
        let client = Client::new(url, key.map(|(_, key)| key))?.timeout(TIMEOUT);
        Ok(Api { client, key: key.map(|(name, _)| name) })
    }

    /// The answer when it is a success.
    pub async fn get(&mut self, path: &str) -> Result<Answer, ApiError> {
        let answer = self.client.get(path).await?;
        self.success(answer)
    }

    /// The answer when it is a success. Every call of ours can be made again.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer, ApiError> {
        let answer = self.client.post(path, &[], body).await?;
        self.success(answer)
    }

    /// The answer when it is a success.
    pub async fn delete(&mut self, path: &str) -> Result<Answer, ApiError> {
        let answer = self.client.delete(path).await?;
        self.success(answer)
    }

    /// The same with a body that is gzip.
    pub async fn post_packed(&mut self, path: &str, body: impl Into<Bytes>) -> Result<Answer, ApiError> {
        let answer = self.client.post(path, &[("content-encoding", "gzip")], body).await?;
        self.success(answer)
    }

    /// The answer as it comes.
    pub async fn download(&mut self, path: &str) -> Result<Download, ApiError> {
        match self.client.download(path).await? {
            Ok(download) => Ok(download),
            Err(answer) => Err(self.failure(answer)),
        }
    }

    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ApiError> {
        self.parse(&answer.body)
    }

    /// An answer or a part of one.
    pub fn parse<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, ApiError> {
        let authority = || self.client.authority().to_owned();
        serde_json::from_slice(json).map_err(|source| ApiError::Unreadable { authority: authority(), source })
    }

    fn success(&self, answer: Answer) -> Result<Answer, ApiError> {
        if matches!(answer.status, 200 | 201 | 202 | 204) {
            return Ok(answer);
        }
        Err(self.failure(answer))
    }

    fn failure(&self, answer: Answer) -> ApiError {
        match answer.json::<Problem>() {
            Ok(problem) => {
                let hint = self.hint(&problem, answer.retry_after);
                ApiError::Refused(Box::new(Refused { problem, hint }))
            }
            Err(_) => {
                let authority = self.client.authority().to_owned();
                ApiError::Foreign { authority, status: answer.status }
            }
        }
    }

    fn hint(&self, problem: &Problem, retry_after: Option<Duration>) -> Option<String> {
        let key = self.key.unwrap_or("AB_API_TOKEN");
        match problem.error_code.as_str() {
            "missing_key" => Some("set AB_ADMIN_TOKEN or AB_API_TOKEN".into()),
            "unknown_key" => Some(format!("look at {key}, and whether AB_URL is the right deployment")),
            "missing_scope" if self.key == Some("AB_ADMIN_TOKEN") => {
                Some("the key in AB_ADMIN_TOKEN is not an admin's".into())
            }
            "missing_scope" => Some(format!("{key} is not enough for this, set AB_ADMIN_TOKEN")),
            "unknown_experiment" => Some("`abctl experiments list` shows what there is".into()),
            "unknown_key_id" => Some("`abctl keys list` shows what there is".into()),
            "unknown_dead_letter" => Some("`abctl dead-letters list` shows what there is".into()),
            "unknown_webhook" => Some("`abctl webhooks list` shows what there is".into()),
            "not_found" => {
                Some("of three tiers the analyzer answers this: is AB_URL the address of the gateway?".into())
            }
            _ => retry_after.map(|wait| format!("try again in {} s", wait.as_secs())),
        }
    }
}

impl Refused {
    pub fn error_code(&self) -> &str {
        &self.problem.error_code
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, status, detail, error_code, request_id, errors, errors_total } = &self.problem;
        write!(f, "{detail}")?;
        for error in errors.iter().take(SHOWN) {
            write!(f, "; {}: {}", error.pointer, error.detail)?;
        }
        let more = errors_total.unwrap_or(errors.len()).saturating_sub(errors.len().min(SHOWN));
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, " ({status} {title}, {error_code}, request {request_id})")
    }
}
