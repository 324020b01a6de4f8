//! A server with a small app on a port of its own, and a client that sends exactly the bytes it is given.

use serde_json::{Value, json};
use service::auth::{Keys, Scopes};
use service::health::Health;
use service::http::{
    Access, App, Drained, Found, ItemError, ItemErrors, KeyPlaces, Kit, Limits, Method, Problem, Request,
    Response, Route, StatusCode, Tls,
};
use service::metrics::Metrics;
use service::settings::{Settings, Tier};
use service::shutdown::Shutdown;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub const SENDER: &str = "sender-key";
pub const READER: &str = "reader-key";
pub const ADMIN: &str = "admin-key";
pub const BROWSER: &str = "browser-key";
const KEYS: &str = "browser-key:shop:events;other-key:other:ingest";

pub const ENV: &[(&str, &str)] = &[
    ("AB_REDIS_URL", "redis://127.0.0.1:1"),
    ("AB_API_TOKEN", SENDER),
    ("AB_READONLY_API_TOKEN", READER),
    ("AB_ADMIN_TOKEN", ADMIN),
    ("AB_API_KEYS", KEYS),
];

pub struct TestApp {
    /// Requests to `/held` that began.
    pub begun: Semaphore,
    /// Permits to end them.
    pub release: Semaphore,
    pub handled: AtomicUsize,
}

#[derive(Clone, Copy)]
pub enum Handler {
    Echo,
    Read,
    Held,
    Panic,
    Items,
    Sdk,
}

impl App for TestApp {
    type Handler = Handler;

    fn classes() -> Vec<&'static str> {
        vec!["echo", "other", "stats"]
    }

    fn find(&self, method: &Method, path: &str) -> Found<Handler> {
        let events = Access::Key { any_of: Scopes::EVENTS.union(Scopes::INGEST), beacon: true };
        let any_of = Scopes::EVENTS.union(Scopes::INGEST);
        let sdk = KeyPlaces { basic: true, query: Some("client_key"), body: Some("api_key") };
        let (handler, allow, class, access) = match path {
            "/sdk" => (Handler::Sdk, "POST", "echo", Access::Sdk { any_of, key: sdk }),
            "/echo" => (Handler::Echo, "POST", "echo", events),
            "/ingest" => {
                (Handler::Echo, "POST", "echo", Access::Key { any_of: Scopes::INGEST, beacon: false })
            }
            "/read" => (Handler::Read, "GET", "other", Access::Key { any_of: Scopes::READ, beacon: false }),
            "/held" => (Handler::Held, "GET", "other", Access::Public),
            "/late" => (Handler::Held, "GET", "stats", Access::Public),
            "/panic" => (Handler::Panic, "GET", "other", Access::Public),
            "/items" => (Handler::Items, "GET", "other", Access::Public),
            _ => return Found::NotFound,
        };
        match method.as_str() == allow {
            true => Found::Route(Route { handler, class, access }),
            false => Found::MethodNotAllowed(allow.into()),
        }
    }

    async fn handle(&self, handler: Handler, mut request: Request) -> Result<Response, Problem> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        match handler {
            Handler::Echo => {
                let payload = request.payload()?;
                let body = request.read_body().await?;
                service::http::check_depth(&body)?;
                let text = json!({"length": body.len(), "tenant": &*request.principal().tenant, "id": request.id(),
                    "payload": format!("{payload:?}"), "client": request.client(), "trace": request.traceparent()});
                Response::json(StatusCode::OK, &text)
            }
            Handler::Read => {
                let parameters: Vec<_> = request.query_params().collect();
                Response::json(
                    StatusCode::OK,
                    &json!({"parameters": parameters, "name": request.query_param("name")}),
                )
            }
            Handler::Held => {
                self.begun.add_permits(1);
                self.release.acquire().await.unwrap().forget();
                Ok(Response::empty(StatusCode::NO_CONTENT))
            }
            Handler::Sdk => {
                let (first, second) = (request.read_body().await?, request.read_body().await?);
                let lengths = [first.len(), second.len()];
                Response::json(StatusCode::OK, &json!([&*request.principal().tenant, lengths]))
            }
            Handler::Panic => panic!("a defect"),
            Handler::Items => {
                let mut errors = ItemErrors::new();
                for index in 0..150 {
                    let pointer = format!("/events/{index}/value");
                    errors.push(ItemError {
                        index,
                        pointer,
                        error_code: "out_of_range",
                        detail: "too large".into(),
                    });
                }
                Err(Problem::unprocessable("invalid_items", "items were refused").items(errors))
            }
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub app: Arc<TestApp>,
    pub keys: Arc<Keys>,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
    pub task: JoinHandle<Drained>,
}

pub fn limits(change: impl FnOnce(&mut Limits) + 'static) -> Box<dyn FnOnce(&mut Limits)> {
    Box::new(change)
}

pub async fn start() -> Server {
    start_with(ENV, limits(|_| {})).await
}

pub async fn start_with(env: &[(&str, &str)], change: Box<dyn FnOnce(&mut Limits)>) -> Server {
    start_on(env, change, None).await
}

pub async fn start_on(
    env: &[(&str, &str)],
    change: Box<dyn FnOnce(&mut Limits)>,
    tls: Option<Arc<Tls>>,
) -> Server {
    let settings = Settings::for_testing(Tier::Gateway, env).unwrap();
    let health = Arc::new(Health::new(&settings));
    let metrics = Metrics::new();
    let keys = Arc::new(Keys::new(&settings.auth, false).unwrap());
    let mut kit =
        Kit::new(&settings, Arc::clone(&keys), health, &metrics, "http", &TestApp::classes()).unwrap();
    change(&mut kit.limits);
    kit.tls = tls;
    let app = TestApp { begun: Semaphore::new(0), release: Semaphore::new(0), handled: AtomicUsize::new(0) };
    let (app, shutdown) = (Arc::new(app), Shutdown::manual());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (served, stages) = (Arc::clone(&app), shutdown.clone());
    let task =
        tokio::spawn(async move { service::http::serve(listener, served, Arc::new(kit), &stages).await });
    Server { address, app, keys, shutdown, metrics, task }
}

impl Server {
    pub async fn stop(self) -> Drained {
        self.shutdown.begin();
        self.task.await.unwrap()
    }

    /// Sends a request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses early may close before all was written; its answer is still to be read.
        let _ = connection.write_all(&request(method, path, headers, body)).await;
        read_answer(&mut connection).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }

    /// POST /echo as the sender.
    pub async fn echo(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("X-API-Key", SENDER), ("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.ask("POST", "/echo", &all, body).await
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts a problem document of this status and code, consistent with the answer's head.
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["error_code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["status_code"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(!self.header("x-request-id").is_empty());
        for text in ["type", "title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
        }
        assert!(problem["retryable"].is_boolean());
        problem
    }
}

pub async fn read_answer(connection: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // Behind an early answer the connection is reset if what was sent could not be taken off it in time.
    let _ = connection.read_to_end(&mut bytes).await;
    let end =
        bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    let (headers, body): (HashMap<_, _>, _) = (headers.collect(), bytes[end + 4..].to_vec());
    let whole = headers.get("content-length").is_none_or(|length| length.parse() == Ok(body.len()));
    assert!(whole || body.is_empty(), "an answer to HEAD, or a whole one: {head}");
    Answer { status, headers, body }
}
