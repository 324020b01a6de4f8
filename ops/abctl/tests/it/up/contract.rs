//! The API document against a running server: every route is documented, every documented route is there, and what
//! is answered is what the document says.

use std::collections::{BTreeMap, BTreeSet};

use ingest_gateway::codes::Code;
use ingest_gateway::routes::{CLASSES, PATHS, find};
use serde_json::{Value, json};
use service::http::{Found, Method};
use testkit::http::{Client, Response};
use testkit::schema::Document;

use super::rig::{Up, command, definition};

const KEYS: &str =
    "read-read-read:default:read;events-events-1:default:events;operator-op-1:default:operator";
/// What takes a slow client, a flood or a fault; `shared/service` and the tiers test them where they arise.
const ELSEWHERE: [u16; 5] = [408, 429, 500, 503, 504];

/// What one process does not give, and where it is tested.
fn of_tiers(route: &str, status: u16) -> bool {
    match (route, status) {
        // It answers SDKs after the commit: ingest-gateway/tests.
        (sdk, 202) if !sdk.contains("/api/") => true,
        // The owner is in the same process and at hand.
        ("POST /api/v1/admin/users/erase", 202) => true,
        // Raw rows are purged days after an experiment was put away: analyzer/tests/it/purging.rs.
        (
            "GET /api/v1/experiments/{id}/timeseries"
            | "GET /api/v1/experiments/{id}/export"
            | "POST /api/v1/experiments/{id}/rebuild"
            | "POST /api/v1/experiments/{id}/restore",
            409,
        ) => true,
        // What it takes to make one: analyzer/tests/it/dead_letters.
        ("GET /api/v1/dead-letters/{letter}", 200 | 304) => true,
        // What it takes to have so many: analyzer/tests/it/keys.rs.
        ("POST /api/v1/keys", 409) => true,
        // It does not end: analyzer/tests/it/stream.rs.
        ("GET /api/v1/experiments/{id}/live-stats/stream", 200) => true,
        _ => false,
    }
}

struct Contract {
    _up: Up,
    document: Document,
    clients: BTreeMap<&'static str, Client>,
    seen: BTreeSet<(String, u16)>,
}

impl Contract {
    async fn start(name: &str) -> Contract {
        let (command, addr) = command(&testkit::temp_dir(name).unwrap());
        let data = testkit::temp_dir(name).unwrap();
        let up = Up::of(command.env("AB_API_KEYS", KEYS).env("AB_DATA", &data), addr, &data).await;
        let client = |key: &str| Client::at(addr).bearer(key);
        let clients = BTreeMap::from([
            ("nobody", Client::at(addr)),
            ("all", up.admin()),
            ("read", client("read-read-read")),
            ("events", client("events-events-1")),
            ("operator", client("operator-op-1")),
        ]);
        let document = clients["nobody"].get("/openapi.json").await.unwrap();
        assert_eq!(document.status, 200);
        let document = Document::read(&document.text()).unwrap();
        Contract { _up: up, document, clients, seen: BTreeSet::new() }
    }

    /// One exchange, held against the document.
    async fn call(&mut self, who: &str, call: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let (method, path) = call.split_once(' ').unwrap();
        let route = self.document.route_of(method, path).unwrap_or_else(|| panic!("{call}: no such route"));
        let answer = self.clients[who].request(method, path, headers, body.to_owned()).await.unwrap();
        if let Err(error) = self.document.check(&route, &answer) {
            panic!("{who}: {call} {body:.200}: {error:#}");
        }
        self.seen.insert((route, answer.status));
        answer
    }

    async fn json(&mut self, call: &str, body: &Value) -> Response {
        self.call("all", call, &[("content-type", "application/json")], &body.to_string()).await
    }

    async fn expect(&mut self, status: u16, call: &str, body: &Value) -> Response {
        let answer = self.json(call, body).await;
        assert_eq!(answer.status, status, "{call}: {}", answer.text());
        answer
    }
}

/// The routes that the programs look paths up in.
fn routes() -> BTreeSet<String> {
    let health = ["/health", "/livez", "/ready", "/readyz"].map(|path| format!("GET {path}"));
    let analyzer = analyzer::routes().map(|(method, path)| format!("{method} {path}"));
    let gateway = PATHS.iter().map(|path| format!("POST {path}"));
    health.into_iter().chain(analyzer).chain(gateway).collect()
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_is_there() {
    let mut contract = Contract::start("contract-routes").await;
    let documented: BTreeSet<String> = contract.document.routes().into_iter().collect();
    assert_eq!(documented, routes());
    for route in &documented {
        let path = route.replace(['{', '}'], "");
        let answer = contract.call("nobody", &path, &[], "").await;
        let wanted = if contract.document.statuses(route).contains(&401) { 401 } else { 200 };
        assert_eq!(answer.status, wanted, "{route}");
    }
}

/// The gateway takes paths apart by hand: its list of them is what it finds.
#[test]
fn the_gateways_paths_are_those_it_finds() {
    let class = |path: &&str| match find(&Method::POST, &path.replace("{id}", "one")) {
        Found::Route(route) => route.class,
        Found::MethodNotAllowed(_) | Found::NotFound => panic!("{path}"),
    };
    let found: BTreeSet<&str> = PATHS.iter().map(class).chain(["page"]).collect();
    assert_eq!(found, CLASSES.iter().copied().collect());
}

#[tokio::test]
async fn the_gateways_codes_are_in_the_document() {
    let c = Contract::start("contract-codes").await;
    let document = c.clients["nobody"].get("/openapi.json").await.unwrap().json().unwrap();
    for code in Code::ALL {
        let wanted = json!({"status": code.status(), "meaning": code.meaning()});
        assert_eq!(document["x-error-codes"][code.as_str()], wanted, "{}", code.as_str());
    }
}

#[tokio::test]
async fn every_documented_answer_is_given_and_no_other() {
    let mut c = Contract::start("contract-answers").await;
    let mut e = definition("one");
    e["metrics"] = json!([{"key": "purchase", "type": "proportion"}, {"key": "load", "type": "mean", "role": "guardrail"}]);
    c.expect(201, "POST /api/v1/experiments", &e).await;
    c.expect(200, "POST /api/v1/experiments", &e).await;
    c.expect(
        409,
        "POST /api/v1/experiments",
        &json!({"key": "one", "variations": [{"key": "x"}, {"key": "y"}], "metrics": e["metrics"]}),
    )
    .await;
    c.expect(201, "POST /api/v1/experiments", &definition("draft")).await;
    c.expect(
        409,
        "POST /api/v1/experiments/draft/exposures",
        &json!({"exposures": [{"user_id": "u", "variation_index": 0}]}),
    )
    .await;
    c.expect(409, "POST /api/v1/experiments/draft/stop", &json!({})).await;
    let one = "/api/v1/experiments/one";
    c.expect(200, &format!("POST {one}/start"), &json!({})).await;
    c.expect(409, &format!("POST {one}/archive"), &json!({})).await;
    e["name"] = json!("renamed");
    c.expect(200, &format!("PUT {one}"), &e).await;
    c.expect(200, &format!("PATCH {one}"), &json!({"labels": ["l"]})).await;
    c.expect(409, &format!("PUT {one}"), &definition("other")).await;
    c.expect(409, &format!("PATCH {one}"), &json!({"key": "other"})).await;
    for (method, action) in [
        ("PUT", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("POST", "/archive"),
        ("POST", "/rebuild"),
    ] {
        let headers = [("content-type", "application/json"), ("if-match", "\"stale\"")];
        let body = if method == "PUT" { e.to_string() } else { "{}".to_owned() };
        let answer = c.call("all", &format!("{method} {one}{action}"), &headers, &body).await;
        assert_eq!(answer.status, 412, "{method} {action}");
    }
    events(&mut c, one).await;
    c.expect(202, &format!("POST {one}/rebuild"), &json!({})).await;
    // On a machine that does much else it is not done at once, and asking again tells when it is.
    let erase = json!({"user_id": "user-9"});
    for _ in 0..10 {
        if c.json("POST /api/v1/admin/users/erase", &erase).await.status != 202 {
            break;
        }
    }
    c.expect(200, "POST /api/v1/admin/users/erase", &erase).await;
    c.expect(404, "GET /api/v1/admin/retention/purge", &json!({})).await;
    c.expect(202, "POST /api/v1/admin/retention/purge", &json!({"audit_days": 30})).await;
    c.expect(200, "GET /api/v1/admin/retention/purge", &json!({})).await;
    answers(&mut c, one).await;
    webhooks(&mut c).await;
    c.expect(200, &format!("POST {one}/stop"), &json!({})).await;
    c.expect(200, &format!("POST {one}/archive"), &json!({})).await;
    c.expect(409, &format!("POST {one}/start"), &json!({})).await;
    archived(&mut c, one).await;
    c.expect(200, &format!("POST {one}/restore"), &json!({})).await;
    assert_eq!(c.call("all", "DELETE /api/v1/experiments/one", &[], "").await.status, 204);
    c.expect(200, &format!("POST {one}/restore"), &json!({})).await;
    refusals(&mut c).await;

    let all = c.document.routes().into_iter();
    let missing: Vec<(String, u16)> = all
        .flat_map(|route| c.document.statuses(&route).into_iter().map(move |status| (route.clone(), status)))
        .filter(|documented| !c.seen.contains(documented) && !ELSEWHERE.contains(&documented.1))
        .filter(|(route, status)| !of_tiers(route, *status))
        .collect();
    assert_eq!(missing, Vec::<(String, u16)>::new(), "documented, and not produced");
}

async fn events(c: &mut Contract, one: &str) {
    let user = |n: u32| format!("user-{n}");
    for (path, list, item) in [
        ("exposures", "exposures", json!({"user_id": user(1), "variation_index": 1})),
        ("conversions", "conversions", json!({"user_id": user(1), "metric": "purchase"})),
        ("pre-period", "pre_period_values", json!({"user_id": user(1), "value": 3})),
        ("strata", "strata", json!({"user_id": user(1), "stratum": "s"})),
        ("exclusions", "exclusions", json!({"user_id": user(2)})),
        ("holdout", "holdout", json!({"user_id": user(3)})),
    ] {
        let body = json!({list: [item]});
        c.expect(200, &format!("POST {one}/{path}"), &body).await;
        let later = [("content-type", "application/json"), ("prefer", "respond-async")];
        let answer = c.call("all", &format!("POST {one}/{path}"), &later, &body.to_string()).await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text());
    }
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "conversion", "data": {"user_id": "u", "metric": "purchase"}});
    let bodies = [
        ("/api/v1/events", json!({"events": [{"type": "conversion", "user_id": "u", "metric": "purchase"}]})),
        ("/api/v1/conversions", json!({"conversions": [{"user_id": "u", "metric": "purchase"}]})),
        ("/api/v1/cloudevents", cloud),
    ];
    for (path, body) in bodies {
        for (prefer, status) in [("wait=5", 200), ("respond-async", 202)] {
            let kind = if path.ends_with("cloudevents") {
                "application/cloudevents+json"
            } else {
                "application/json"
            };
            let headers = [("content-type", kind), ("prefer", prefer)];
            let answer = c.call("all", &format!("POST {path}"), &headers, &body.to_string()).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
    }
    let posthog = json!({"batch": [{"event": "purchase", "distinct_id": "u", "uuid": "01a1ff0c-2581-7547-84a2-8088a8447ee4"}]});
    let segment = json!({"type": "track", "messageId": "m", "userId": "u", "event": "purchase"});
    for (path, body) in [
        ("/batch", posthog.clone()),
        ("/i/v1/analytics/events", posthog),
        ("/track", json!([{"event_name": "purchase", "properties_json": {}, "user_id": "u"}])),
        ("/v1/batch", json!({"batch": [segment]})),
        ("/v1/track", segment),
    ] {
        c.expect(200, &format!("POST {path}"), &body).await;
    }
    for call in ["identify", "page", "screen", "group", "alias"] {
        c.expect(200, &format!("POST /v1/{call}"), &json!({"messageId": "m", "userId": "u"})).await;
    }
    let body = json!({"exposures": [{"user_id": "v", "variation_index": 0}, {"user_id": ""}]}).to_string();
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let sent = c.call("all", &format!("POST {one}/exposures?partial=true"), &headers, &body).await;
    let place = sent.header("location").unwrap().to_owned();
    for (known, status) in [("\"\"", 200), ("*", 304)] {
        let told = c.call("all", &format!("GET {place}"), &[("if-none-match", known)], "").await;
        assert_eq!(told.status, status, "{place}");
    }
}

async fn answers(c: &mut Contract, one: &str) {
    let ready = ["/health", "/livez", "/ready", "/readyz"];
    for path in ready {
        c.expect(200, &format!("GET {path}"), &json!({})).await;
    }
    c.expect(404, "GET /api/v1/dead-letters?experiment=nothing", &json!({})).await;
    let paths = [
        "/",
        "/docs",
        "/openapi.json",
        "/api/v1/experiments",
        "/api/v1/accounting",
        "/api/v1/dead-letters",
        "/api/v1/workspace/export",
        "/api/v1/keys",
        "/api/v1/audit",
        one,
        &format!("{one}/history"),
        &format!("{one}/live-stats"),
        &format!("{one}/decision"),
        &format!("{one}/timeseries"),
        &format!("{one}/timeseries?day_basis=occurred"),
        &format!("{one}/ingestion"),
        &format!("{one}/users/user-1"),
        &format!("{one}/live-stats?as_of=2026-01-01"),
    ]
    .map(str::to_owned);
    for path in paths {
        assert_eq!(c.call("all", &format!("GET {path}"), &[], "").await.status, 200, "{path}");
        let known = c.call("all", &format!("GET {path}"), &[("if-none-match", "*")], "").await;
        assert_eq!(known.status, 304, "{path}");
    }
    let bundle = c.call("all", "GET /api/v1/workspace/export", &[], "").await.json().unwrap();
    for what in ["validate", "import"] {
        c.expect(200, &format!("POST /api/v1/workspace/{what}"), &bundle).await;
    }
    c.expect(409, "POST /api/v1/workspace/import", &conflicting()).await;
    for kind in ["units", "conversions", "results"] {
        let call = format!("GET {one}/export?kind={kind}");
        assert_eq!(c.call("all", &call, &[], "").await.status, 200, "{call}");
    }
    c.expect(200, "GET /api/v1/diagnostics", &json!({})).await;
    c.expect(200, &format!("POST {one}/assign"), &json!({"user_id": "user-1"})).await;
    c.expect(200, "POST /api/v1/stats/power", &json!({"type": "proportion", "baseline": 0.1, "mde": 0.05}))
        .await;
    c.expect(200, "POST /api/v1/stats/srm", &json!({"observed": [10, 12], "weights": [1, 1]})).await;
    c.expect(200, "POST /api/v1/stats/multiple-testing", &json!({"p_values": [0.01, null]})).await;
    let issued = c.expect(201, "POST /api/v1/keys", &json!({"name": "n", "scopes": ["read"]})).await;
    let revoke = format!("DELETE /api/v1/keys/{}", issued.json().unwrap()["id"]);
    assert_eq!(c.call("all", &revoke, &[], "").await.status, 204);
    for action in ["redrive", "drop"] {
        c.expect(200, &format!("POST /api/v1/dead-letters/{action}"), &json!({"ids": [1]})).await;
    }
}

async fn webhooks(c: &mut Contract) {
    let new = json!({"url": "http://example.com/"});
    for _ in 0..store::WEBHOOKS_MAX {
        c.expect(201, "POST /api/v1/webhooks", &new).await;
    }
    c.expect(409, "POST /api/v1/webhooks", &new).await;
    c.expect(202, "POST /api/v1/webhooks/1/test", &json!({})).await;
    for path in ["/api/v1/webhooks", "/api/v1/webhooks/1/deliveries"] {
        assert_eq!(c.call("all", &format!("GET {path}"), &[], "").await.status, 200, "{path}");
        let known = c.call("all", &format!("GET {path}"), &[("if-none-match", "*")], "").await;
        assert_eq!(known.status, 304, "{path}");
    }
    assert_eq!(c.call("all", "DELETE /api/v1/webhooks/1", &[], "").await.status, 204);
}

/// A bundle whose experiment has the key of another one.
fn conflicting() -> Value {
    let mut other = definition("one");
    other["name"] = json!("another");
    let other = serde_json::from_value(other).unwrap();
    serde_json::from_str(&analyzer::workspace::bundle::write(vec![&other], None).unwrap()).unwrap()
}

async fn archived(c: &mut Contract, one: &str) {
    for (path, list, item) in [
        ("exposures", "exposures", json!({"user_id": "u", "variation_index": 1})),
        ("conversions", "conversions", json!({"user_id": "u", "metric": "purchase"})),
        ("pre-period", "pre_period_values", json!({"user_id": "u", "value": 3})),
        ("strata", "strata", json!({"user_id": "u", "stratum": "s"})),
        ("exclusions", "exclusions", json!({"user_id": "u"})),
        ("holdout", "holdout", json!({"user_id": "u"})),
    ] {
        c.expect(409, &format!("POST {one}/{path}"), &json!({list: [item]})).await;
    }
}

/// What every route refuses, from what the document says of it.
async fn refusals(c: &mut Contract) {
    c.expect(201, "POST /api/v1/experiments", &definition("two")).await;
    c.expect(200, "POST /api/v1/experiments/two/start", &json!({})).await;
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    for route in c.document.routes() {
        let statuses = c.document.statuses(&route);
        let call = route
            .replace("{id}", "nothing")
            .replace("{letter}", "0")
            .replace("{webhook}", "0")
            .replace("{key}", "0")
            .replace("{user}", "u")
            .replace("{batch}", "0");
        let json_type = [("content-type", "application/json")];
        for (who, headers, body, status) in [
            ("nobody", &json_type[..], "{}", 401),
            ("read", &json_type[..], "{}", 403),
            ("events", &json_type[..], "{}", 403),
            ("operator", &json_type[..], "{}", 403),
            ("all", &json_type[..], "not json", 400),
            ("all", &[("content-type", "application/json"), ("content-encoding", "br")][..], "{}", 415),
            ("all", &json_type[..], large.as_str(), 413),
            ("all", &json_type[..], "[]", 422),
            ("all", &json_type[..], "{\"nonsense\": 1}", 422),
        ] {
            if statuses.contains(&status) && !c.seen.contains(&(route.clone(), status)) {
                let call = if status == 400 { call.replace("nothing", "two") } else { call.clone() };
                c.call(who, &call, headers, body).await;
            }
        }
        if statuses.contains(&404) {
            let body = if statuses.contains(&415) { found(&route) } else { String::new() };
            c.call("all", &call, &json_type, &body).await;
        }
        if statuses.contains(&422) && !c.seen.contains(&(route.clone(), 422)) {
            c.call("all", &format!("{call}?nonsense=1"), &json_type, "").await;
        }
    }
}

/// A body that a route would take.
fn found(route: &str) -> String {
    let body = match route.rsplit('/').next().unwrap_or_default() {
        "{id}" if route.starts_with("PUT") => definition("nothing"),
        "exposures" => json!({"exposures": [{"user_id": "u", "variation_index": 0}]}),
        "conversions" => json!({"conversions": [{"user_id": "u", "metric": "m"}]}),
        "pre-period" => json!({"pre_period_values": [{"user_id": "u", "value": 1}]}),
        "strata" => json!({"strata": [{"user_id": "u", "stratum": "s"}]}),
        "exclusions" => json!({"exclusions": [{"user_id": "u"}]}),
        "holdout" => json!({"holdout": [{"user_id": "u"}]}),
        "assign" => json!({"user_id": "u"}),
        _ => json!({}),
    };
    body.to_string()
}
