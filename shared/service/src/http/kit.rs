use super::body::{BodyLimits, RequestBody};
use super::capacity::Capacity;
use super::ident::{RequestId, X_REQUEST_ID, traceparent};
use super::key::{self, KeyPlaces};
use super::problem::allow_header;
use super::response::Body;
use super::stats::{HEALTH, HttpStats, PREFLIGHT, UNMATCHED};
use super::{Access, App, CorsOrigins, Found, Networks, Problem, Request, Response, Route};
use crate::auth::{Keys, Principal, Throttle};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::settings::{Budgets, Settings};
use crate::traces::{RequestSpan, Traces};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Version};
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

const MAX_OPEN: usize = 4_096;
const BODY_MEMORY: usize = 256 << 20;

/// Limits of a listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes on the wire.
    pub max_wire_body: usize,
    /// Bytes after decompression.
    pub max_decoded_body: usize,
    /// For a request head to arrive, from its first awaited byte, and for a TLS handshake; also how long a connection
    /// may be idle.
    pub header_time: Duration,
    /// For a body to arrive.
    pub body_time: Duration,
    /// Connections served at once; a few more are told 503, the rest are closed.
    pub max_connections: usize,
    /// Requests handled at once, over all connections.
    pub open: Arc<Capacity>,
    /// Bytes of request bodies held at once, over all connections.
    pub bodies: Arc<Capacity>,
    /// For open requests to end when the process does.
    pub drain_time: Duration,
}

impl Limits {
    pub fn of(settings: &Settings) -> Self {
        Self {
            max_wire_body: settings.http.max_wire_body,
            max_decoded_body: settings.http.max_decoded_body,
            header_time: settings.http.idle_timeout,
            body_time: Duration::from_secs(30),
            max_connections: settings.http.max_connections,
            open: Capacity::new(MAX_OPEN),
            bodies: Capacity::new(BODY_MEMORY),
            drain_time: settings.lifecycle.drain_timeout,
        }
    }
}

/// Everything a listener does around an [`App`].
#[derive(Debug)]
pub struct Kit {
    pub limits: Limits,
    /// `None`: nothing is encrypted.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<super::Tls>>,
    pub traces: Traces,
    keys: Arc<Keys>,
    throttle: Throttle,
    cors: CorsOrigins,
    proxies: Networks,
    budgets: Budgets,
    health: Arc<Health>,
    nobody: Arc<Principal>,
    pub(super) stats: HttpStats,
}

/// What is known about an exchange beside its answer.
struct Seen {
    class: &'static str,
    principal: Arc<Principal>,
    /// The client is an SDK that is not ours.
    sdk: bool,
    span: RequestSpan,
}

impl Kit {
    /// `port` prefixes the metrics: `http` for the public listener. `classes` are those of the app.
    pub fn new(
        settings: &Settings,
        keys: Arc<Keys>,
        health: Arc<Health>,
        metrics: &Metrics,
        port: &str,
        classes: &[&'static str],
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            limits: Limits::of(settings),
            #[cfg(feature = "tls")]
            tls: None,
            traces: Traces::default(),
            budgets: settings.http.budgets.clone(),
            keys,
            throttle: Throttle::default(),
            cors: settings.http.cors.clone(),
            proxies: settings.http.trusted_proxies.clone(),
            health,
            nobody: Arc::new(Principal::anonymous()),
            stats: HttpStats::new(metrics, port, classes)?,
        })
    }

    /// Answers one request; never fails, never panics.
    pub(super) async fn answer<A: App>(
        &self,
        app: &A,
        peer: SocketAddr,
        overloaded: bool,
        request: hyper::Request<Incoming>,
    ) -> hyper::Response<Body> {
        let started = Instant::now();
        let (head, incoming) = request.into_parts();
        let id = RequestId::of(&head.headers);
        // Not read again unless it is logged: the headers go on with the request.
        let trace = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| traceparent(&head.headers).map(str::to_owned))
            .flatten();
        let origin = head.headers.get(header::ORIGIN).cloned();
        let preflight = head.method == Method::OPTIONS;
        let discard = head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT);
        let body = RequestBody::new(incoming, discard);
        let principal = Arc::clone(&self.nobody);
        let mut seen = Seen { class: UNMATCHED, principal, sdk: false, span: RequestSpan::default() };
        let outcome = match overloaded {
            true => {
                Err(Problem::unavailable("too_many_connections", "the service has too many connections", 1))
            }
            false => self.admit(app, peer, head, body, &id, &mut seen).await,
        };
        let (status, mut headers, body) = match outcome {
            Ok(Response { status, headers, body }) => (status, headers, body),
            Err(problem) => {
                let mut headers = HeaderMap::with_capacity(8);
                let body = problem.render(&id, seen.sdk, &mut headers);
                log_refusal(&problem, &id, seen.class);
                (problem.status(), headers, Body::whole(body))
            }
        };
        if !preflight {
            self.cors.allow(origin.as_ref(), &seen.principal, &mut headers);
        }
        headers.insert(X_REQUEST_ID, id.header());
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.stats.answered(seen.class, status, started.elapsed());
        seen.span.answered(status);
        let (request_id, traceparent, route) = (id.as_str(), trace.as_deref(), seen.class);
        tracing::debug!(status = status.as_u16(), request_id, traceparent, route, "request answered");
        let mut response = hyper::Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The list every request walks: preflight, health, route, key, scope, handler.
    async fn admit<A: App>(
        &self,
        app: &A,
        peer: SocketAddr,
        mut head: Parts,
        mut body: RequestBody,
        id: &RequestId,
        seen: &mut Seen,
    ) -> Result<Response, Problem> {
        let path = head.uri.path();
        if head.method == Method::OPTIONS {
            seen.class = PREFLIGHT;
            return self.preflight(app, &head);
        }
        if Health::is_path(path) {
            seen.class = HEALTH;
            return self.health.answer(&head.method, path).await;
        }
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let route = match app.find(method, path) {
            Found::Route(route) => route,
            Found::MethodNotAllowed(allow) => return Err(Problem::method_not_allowed(allow)),
            Found::NotFound => return Err(nothing_here()),
        };
        seen.class = route.class;
        seen.span = self.traces.request(method, route.class, id, &mut head.headers);
        seen.sdk = matches!(route.access, Access::Sdk { .. });
        let client = self.proxies.client_of(peer.ip(), &head.headers);
        let beacon = matches!(route.access, Access::Key { beacon: true, .. });
        let limits = BodyLimits {
            wire: self.limits.max_wire_body,
            decoded: self.limits.max_decoded_body,
            time: self.limits.body_time,
            memory: Arc::clone(&self.limits.bodies),
        };
        if let Some((any_of, places)) = route.access.key() {
            seen.principal = self.authenticate(&head, &mut body, &limits, places, client).await?;
            if !seen.principal.scopes.intersects(any_of) {
                return Err(Problem::forbidden("missing_scope", "the key lacks the scope this route needs"));
            }
        }
        let Some(_open) = self.limits.open.take(1) else {
            return Err(Problem::unavailable(
                "too_many_requests",
                "the service has too many open requests",
                1,
            ));
        };
        let principal = Arc::clone(&seen.principal);
        let experiment = app.experiment(&route.handler);
        let budget = self.budgets.of(route.class, &principal.tenant, experiment);
        let request = Request { head, body, limits, id: id.clone(), client, principal, beacon };
        let answered = self.guarded(app.handle(route.handler, request));
        match budget {
            None => answered.await,
            Some(budget) => tokio::time::timeout(budget, answered).await.unwrap_or_else(|_| Err(too_late())),
        }
    }

    /// A handler that panics costs its own request only.
    async fn guarded(
        &self,
        handler: impl Future<Output = Result<Response, Problem>>,
    ) -> Result<Response, Problem> {
        let mut handler = pin!(handler);
        let caught =
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
                Ok(poll) => poll.map(Some),
                Err(_) => Poll::Ready(None),
            });
        caught.await.unwrap_or_else(|| {
            self.stats.panics.inc();
            Err(Problem::internal())
        })
    }

    fn preflight<A: App>(&self, app: &A, head: &Parts) -> Result<Response, Problem> {
        let path = head.uri.path();
        let allow = match app.find(&Method::OPTIONS, path) {
            _ if Health::is_path(path) => allow_header("GET"),
            Found::NotFound => return Err(nothing_here()),
            Found::MethodNotAllowed(allow) => allow_header(&allow),
            Found::Route(_) => HeaderValue::from_static("OPTIONS"),
        };
        let mut response = Response::empty(StatusCode::NO_CONTENT).with(header::ALLOW, allow.clone());
        if let Some(origin) = head.headers.get(header::ORIGIN) {
            let wanted = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD);
            let wanted = wanted.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
            let access = wanted.and_then(|method| match app.find(&method, path) {
                Found::Route(Route { access, .. }) => Some(access),
                _ => None,
            });
            self.cors.preflight(origin, access, allow, &mut response.headers);
        }
        Ok(response)
    }

    async fn authenticate(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        limits: &BodyLimits,
        places: KeyPlaces,
        client: std::net::IpAddr,
    ) -> Result<Arc<Principal>, Problem> {
        if let Some(key) = places.in_headers(&head.headers) {
            return self.speaker(&key, client).await;
        }
        if let Some(key) = places.in_query(head.uri.query()) {
            let principal = self.speaker(&key, client).await?;
            return match principal.only_events() {
                true => Ok(principal),
                false => Err(unauthorized(
                    "key_in_query",
                    "only a key with no other scope than events may come in the address",
                )),
            };
        }
        if let Some(name) = places.body {
            let body = body.read_ahead(&head.headers, limits).await?;
            if let Some(key) = key::member(body, name) {
                return self.speaker(&key, client).await;
            }
        }
        Err(unauthorized("missing_key", places.hint()))
    }

    /// A key that is known is never throttled; who guesses too often makes no work.
    async fn speaker(&self, key: &str, client: std::net::IpAddr) -> Result<Arc<Principal>, Problem> {
        if let Some(principal) = self.keys.find(key) {
            return Ok(principal);
        }
        self.throttle.check(client, Instant::now()).map_err(|wait| self.throttled(wait))?;
        match self.keys.find_anew(key).await {
            Ok(Some(principal)) => Ok(principal),
            Ok(None) => {
                let counted = self.throttle.unknown_key(client, Instant::now());
                counted.map_err(|wait| self.throttled(wait))?;
                self.stats.unknown_keys.inc();
                Err(unauthorized("unknown_key", "the key is not known"))
            }
            Err(error) => {
                tracing::debug!(%error, "issued keys unavailable");
                let detail = "whether the key is known cannot be said at the moment";
                Err(Problem::unavailable("keys_unavailable", detail, 1))
            }
        }
    }

    fn throttled(&self, wait: Duration) -> Problem {
        self.stats.unknown_keys.inc();
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = "too many unknown keys from this address";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_unknown_keys", detail).retry_after(seconds)
    }
}

fn nothing_here() -> Problem {
    Problem::not_found("not_found", "there is nothing at this path")
}

fn too_late() -> Problem {
    let detail = "the answer was not ready in the time that the route has";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "answer_timeout", detail).retry_after(1)
}

fn unauthorized(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
}

/// Refusals are the client's to read, also those of an overload, which the tier logs as a state; a 500 is ours.
fn log_refusal(problem: &Problem, id: &RequestId, class: &'static str) {
    let (status, error_code, request_id) = (problem.status().as_u16(), problem.code(), id.as_str());
    match problem.status() {
        StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::warn!(status, error_code, request_id, route = class, "request failed");
        }
        _ => tracing::debug!(status, error_code, request_id, route = class, "request refused"),
    }
}
