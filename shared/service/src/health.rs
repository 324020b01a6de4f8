//! Liveness and readiness of a tier.
//!
//! Liveness touches no dependency: a process is restarted for its own sake only. Readiness runs the tier's checks, each
//! at most every two seconds however many probes come, and for two seconds at most.

use crate::http::{Method, Problem, Response, StatusCode, header};
use crate::settings::Settings;
use hyper::header::HeaderValue;
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How long an outcome is given again without a new run, unless [`Health::reuse_for`] says otherwise.
const FRESH: Duration = Duration::from_secs(2);
const CHECK_TIME: Duration = Duration::from_secs(2);

/// `Ok` and `Err` hold a detail for people, without secrets.
pub type Outcome = Result<String, String>;
type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;
type Alive = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The health of a tier.
pub struct Health {
    service: &'static str,
    environment: String,
    checks: Vec<Check>,
    fresh: Duration,
    alive: Option<Alive>,
    draining: Option<CancellationToken>,
}

struct Check {
    name: &'static str,
    run: Run,
    last: Mutex<Option<(Instant, Outcome)>>,
}

#[derive(Serialize)]
struct Live<'a> {
    status: &'a str,
    service: &'a str,
    version: &'a str,
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    checks: Vec<CheckAnswer>,
}

#[derive(Serialize)]
struct CheckAnswer {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Health {
    pub fn new(settings: &Settings) -> Self {
        let environment = settings.environment.clone();
        let checks = Vec::new();
        Self { service: settings.tier.name(), environment, checks, fresh: FRESH, alive: None, draining: None }
    }

    /// How long an outcome is given again without a new run.
    pub fn reuse_for(mut self, fresh: Duration) -> Self {
        self.fresh = fresh;
        self
    }

    /// Adds a readiness check.
    pub fn check<F, Fut>(mut self, name: &'static str, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let run: Run = Box::new(move || Box::pin(run()));
        self.checks.push(Check { name, run, last: Mutex::new(None) });
        self
    }

    /// Liveness beyond "the process answers", as a worker's progress. Touches no dependency.
    pub fn alive_when(mut self, alive: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.alive = Some(Box::new(alive));
        self
    }

    /// Not ready any more once `draining` is cancelled, so no new traffic is sent here.
    pub fn until(mut self, draining: CancellationToken) -> Self {
        self.draining = Some(draining);
        self
    }

    pub(crate) fn is_path(path: &str) -> bool {
        matches!(path, "/health" | "/livez" | "/readyz" | "/ready")
    }

    pub(crate) async fn answer(&self, method: &Method, path: &str) -> Result<Response, Problem> {
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/readyz" | "/ready") => self.ready().await,
            (&Method::GET | &Method::HEAD, _) => self.live(),
            _ => Err(Problem::method_not_allowed("GET".into())),
        }
    }

    fn live(&self) -> Result<Response, Problem> {
        let alive = self.alive.as_ref().map_or(Ok(()), |alive| alive());
        let (code, status) = match alive {
            Ok(()) => (StatusCode::OK, "ok"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stuck"),
        };
        let body = Live {
            status,
            service: self.service,
            version: env!("CARGO_PKG_VERSION"),
            environment: &self.environment,
            detail: alive.as_ref().err().map(String::as_str),
        };
        answer(code, &body)
    }

    async fn ready(&self) -> Result<Response, Problem> {
        let mut checks = Vec::with_capacity(self.checks.len() + 1);
        for check in &self.checks {
            checks.push(CheckAnswer::new(check.name, check.outcome(self.fresh).await));
        }
        if self.draining.as_ref().is_some_and(CancellationToken::is_cancelled) {
            checks.push(CheckAnswer::new("draining", Err("the process is ending".into())));
        }
        let (code, status) = match checks.iter().all(|check| check.ok) {
            true => (StatusCode::OK, "ready"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
        };
        answer(code, &Ready { status, checks })
    }
}

fn answer(code: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let response = Response::json(code, body)?;
    Ok(match code {
        StatusCode::SERVICE_UNAVAILABLE => response.with(header::RETRY_AFTER, HeaderValue::from_static("1")),
        _ => response,
    })
}

impl CheckAnswer {
    fn new(name: &'static str, outcome: Outcome) -> Self {
        let ok = outcome.is_ok();
        Self { name, ok, detail: outcome.unwrap_or_else(|detail| detail) }
    }
}

impl Check {
    /// One run at a time: probes that come meanwhile wait for it and share its outcome.
    async fn outcome(&self, fresh: Duration) -> Outcome {
        let mut last = self.last.lock().await;
        if let Some((_, outcome)) = last.as_ref().filter(|(at, _)| at.elapsed() < fresh) {
            return outcome.clone();
        }
        let outcome = match tokio::time::timeout(CHECK_TIME, (self.run)()).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer within 2 s".into()),
        };
        if let Err(detail) = &outcome {
            tracing::warn!(check = self.name, detail, "readiness check failed");
        }
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.checks.iter().map(|check| check.name).collect();
        f.debug_struct("Health")
            .field("service", &self.service)
            .field("checks", &names)
            .finish_non_exhaustive()
    }
}
