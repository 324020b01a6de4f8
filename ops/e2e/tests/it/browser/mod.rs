//! What a real browser sends: pages of other origins, with a key that pages may hold.

mod pages;

use std::time::Duration;

use e2e::{Deployment, Setup, System, run};
use pages::Pages;
use serde_json::{Value, json};
use testkit::Browser;
use testkit::http::Client;

use crate::support::{counted, eventually, two_arms};

const KEY: &str = "page-events-key";
const LIMIT: Duration = Duration::from_secs(60);
const EVENTS: &str = "/api/v1/events";

/// In every script: addresses, the key, and a request whose outcome is told, be it that nothing may be known of it.
const PRELUDE: &str = r#"
    const auth = { "Authorization": `Bearer ${KEY}` };
    const json = { ...auth, "Content-Type": "application/json" };
    const ask = async (url, options) => {
        try {
            const answer = await fetch(url, options);
            if (answer.status === 503) {
                // A server that stands still for a moment.
                await new Promise((resolve) => setTimeout(resolve, 100));
                return ask(url, options);
            }
            const text = answer.type === "opaque" ? "" : await answer.text();
            const body = text ? JSON.parse(text) : null;
            const headers = Object.fromEntries(answer.headers);
            return { type: answer.type, status: answer.status, code: body?.error_code, body, headers };
        } catch (error) {
            return { failed: error.name };
        }
    };
    const seen = (user) => ({ type: "exposure", experiment: "checkout", user_id: user, variation: "control" });
    const did = (user) => ({ type: "conversion", user_id: user, metric: "purchase", idempotency_key: `of-${user}` });
    // An exposure and a conversion of each user, filled up to so many bytes by what is not stored.
    const weighing = (bytes, users) => {
        const events = users.flatMap((user) => [seen(user), did(user)]);
        for (const event of events) event.properties = { filler: "" };
        const missing = () => bytes - JSON.stringify({ events }).length;
        for (const event of events) event.properties.filler = "x".repeat(Math.min(8000, missing()));
        return JSON.stringify({ events });
    };
"#;

struct Shop {
    system: System,
    browser: Browser,
    /// Listed in `AB_CORS_ORIGINS`.
    allowed: Pages,
    other: Pages,
}

impl Shop {
    async fn start() -> Shop {
        let (allowed, other) = (Pages::start().await, Pages::start().await);
        let environment = vec![
            ("AB_API_KEYS", format!("{KEY}:default:events")),
            ("AB_CORS_ORIGINS", format!("https://shop.example,{}", allowed.origin())),
        ];
        let system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
        system.experiment(two_arms("checkout", &["purchase"])).await.unwrap();
        let browser = Browser::start(1200, 900, false).await.unwrap();
        Shop { system, browser, allowed, other }
    }

    async fn open(&self, page: &Pages) {
        self.browser.open(&page.origin()).await.unwrap();
        let ready = async || self.browser.run("return document.title").await.unwrap() == "ready";
        eventually("the page has its client library", LIMIT, ready).await;
    }

    /// What an async function's body returns, in the page that is open.
    async fn told(&self, gateway: &str, body: &str) -> Value {
        let places = json!([gateway, self.system.analyzer_url(), KEY]);
        let script = format!("const [GATEWAY, ANALYZER, KEY] = {places};\n{PRELUDE}\n{body}");
        self.browser.run_async(&script).await.unwrap()
    }

    async fn on_gateway(&self, body: &str) -> Value {
        self.told(&self.system.gateway_url(), body).await
    }

    /// Waits until `users` have come, each with one exposure and one conversion; nothing came twice.
    async fn arrived(&self, users: i64) {
        let all = async || self.system.books().await.is_ok_and(|books| books.total.recorded >= 2 * users);
        eventually("everything arrives", LIMIT, all).await;
        let total = run::settled(&self.system).await.unwrap().total;
        assert_eq!((total.recorded, total.deduplicated, total.dead_lettered), (2 * users, 0, 0), "{total}");
        assert_eq!(counted(&self.system, "checkout", 0).await, (users, users, users));
    }

    async fn preflights(&self) -> f64 {
        let text = Client::at(self.system.internal[0]).get("/metrics").await.unwrap().text();
        let of_preflights = |line: &&str| {
            line.starts_with("abstream_http_requests_total{") && line.contains("route=\"preflight\"")
        };
        let values = text.lines().filter(of_preflights);
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_sends_everything_once_and_sees_nothing() {
    let shop = Shop::start().await;
    shop.open(&shop.allowed).await;
    fetches(&shop).await;
    beacons(&shop).await;
    keeps_alive(&shop).await;
    outlives_the_page(&shop).await;
    hides(&shop).await;
    may_only_send(&shop).await;
    // Nothing of it came later.
    shop.arrived(USERS).await;
    shop.system.stop().await.unwrap();
}

/// What the functions below send in the end.
const USERS: i64 = 1 + 2 + 5 + 5 + 60;

/// JSON with the key in a header: the browser asks first whether it may.
async fn fetches(shop: &Shop) {
    let before = shop.preflights().await;
    let headers = r#"{ ...json, "Idempotency-Key": "once", "Prefer": "wait=30", "X-Request-ID": "page-1" }"#;
    let script = format!(
        r#"return ask(GATEWAY + "{EVENTS}", {{ method: "POST", headers: {headers},
            body: JSON.stringify({{ sent_at: Date.now(), events: [seen("fetched"), did("fetched")] }}) }})"#
    );
    let answer = shop.on_gateway(&script).await;
    assert_eq!((&answer["status"], &answer["body"]["recorded"]), (&json!(200), &json!(2)), "{answer}");
    // These a page may read although they are of another origin.
    assert_eq!(answer["headers"]["preference-applied"], "wait=30", "{answer}");
    assert_eq!(answer["headers"]["x-request-id"], "page-1", "{answer}");
    assert!(shop.preflights().await > before, "the browser has not asked");
    shop.arrived(1).await;
}

/// Both things that pages give to `sendBeacon`: text, and a blob of text.
async fn beacons(shop: &Shop) {
    let before = shop.preflights().await;
    let script = format!(
        r#"const url = `${{GATEWAY}}{EVENTS}?key=${{KEY}}`;
        const body = (user) => JSON.stringify({{ events: [seen(user), did(user)] }});
        return [navigator.sendBeacon(url, body("beacon-text")),
            navigator.sendBeacon(url, new Blob([body("beacon-blob")], {{ type: "text/plain" }}))];"#
    );
    assert_eq!(shop.on_gateway(&script).await, json!([true, true]));
    shop.arrived(1 + 2).await;
    assert!((shop.preflights().await - before).abs() < 0.5, "beacons are sent without asking");
}

/// As large as a browser lets a request be that may outlive its page.
async fn keeps_alive(shop: &Shop) {
    let script = format!(
        r#"const body = weighing(60 * 1024, [1, 2, 3, 4, 5].map((n) => `kept-${{n}}`));
        const answer = await ask(GATEWAY + "{EVENTS}", {{ method: "POST", keepalive: true, headers: json, body }});
        return {{ ...answer, bytes: body.length }};"#
    );
    let answer = shop.on_gateway(&script).await;
    assert_eq!((&answer["bytes"], &answer["status"]), (&json!(60 * 1024), &json!(202)), "{answer}");
    shop.arrived(1 + 2 + 5).await;
}

/// The same, sent by a page that is being left, with the key in the address.
async fn outlives_the_page(shop: &Shop) {
    let script = format!(
        r#"const body = weighing(60 * 1024, [1, 2, 3, 4, 5].map((n) => `left-${{n}}`));
        addEventListener("pagehide", () => fetch(`${{GATEWAY}}{EVENTS}?key=${{KEY}}`,
            {{ method: "POST", keepalive: true, headers: {{ "Content-Type": "text/plain" }}, body }}));
        return body.length;"#
    );
    assert_eq!(shop.on_gateway(&script).await, 60 * 1024);
    shop.browser.open("about:blank").await.unwrap();
    shop.arrived(1 + 2 + 5 + 5).await;
}

/// Our own library: what waits when the page is left goes out by beacons, all of it, once.
async fn hides(shop: &Shop) {
    shop.open(&shop.allowed).await;
    let script = r#"
        // In the window, or nothing would hold it.
        window.client = new Client(GATEWAY, KEY, { interval: 3_600_000 });
        const took = [];
        for (let n = 0; n < 60; n++) {
            took.push(client.exposure("checkout", `hidden-${n}`, "control"));
            took.push(client.conversion(`hidden-${n}`, "purchase"));
        }
        return took.filter((one) => one).length;"#;
    assert_eq!(shop.on_gateway(script).await, 120);
    shop.browser.open("about:blank").await.unwrap();
    shop.arrived(USERS).await;
}

/// The key of a page opens nothing but the way in, and whoever reads it from the page can do no more.
async fn may_only_send(shop: &Shop) {
    shop.open(&shop.allowed).await;
    let script = r#"
        const exclusions = JSON.stringify({ exclusions: [{ user_id: "fetched" }] });
        const post = (url) => ask(url, { method: "POST", headers: json, body: exclusions });
        const of = `/api/v1/experiments/checkout`;
        const outcomes = {};
        for (const path of [`${of}/live-stats`, `${of}/users/fetched`, `${of}/export?kind=units`, "/api/v1/experiments",
            "/api/v1/accounting", "/api/v1/keys", "/api/v1/diagnostics"]) {
            outcomes[path] = await ask(ANALYZER + path, { headers: auth });
        }
        outcomes.exclude = await post(`${GATEWAY}${of}/exclusions`);
        outcomes.issue = await post(`${ANALYZER}/api/v1/keys`);
        outcomes.erase = await post(`${ANALYZER}/api/v1/admin/users/erase`);
        return outcomes;"#;
    let outcomes = shop.on_gateway(script).await;
    for (what, outcome) in outcomes.as_object().unwrap() {
        let told = (&outcome["status"], &outcome["code"]);
        assert_eq!(told, (&json!(403), &json!("missing_scope")), "{what}: {outcome}");
    }
    assert_eq!(outcomes.as_object().unwrap().len(), 10);
    // In the address it does not even count as a key there.
    let script = r#"
        const url = `${GATEWAY}/api/v1/experiments/checkout/exclusions?key=${KEY}`;
        const body = JSON.stringify({ exclusions: [{ user_id: "fetched" }] });
        return [await ask(url, { method: "POST", headers: { "Content-Type": "application/json" }, body }),
            await ask(`${ANALYZER}/api/v1/experiments?key=${KEY}`)];"#;
    for outcome in shop.on_gateway(script).await.as_array().unwrap() {
        let told = (&outcome["status"], &outcome["code"]);
        assert_eq!(told, (&json!(401), &json!("missing_key")), "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_origin_is_not_allowed_is_told_nothing() {
    let mut shop = Shop::start().await;
    let nothing = json!({"failed": "TypeError"});
    let post = format!(
        r#"return [await ask(GATEWAY + "{EVENTS}", {{ method: "POST", headers: json,
                body: JSON.stringify({{ events: [seen("stranger"), did("stranger")] }}) }}),
            await ask(GATEWAY + "{EVENTS}", {{ method: "POST", keepalive: true, headers: json,
                body: weighing(60 * 1024, ["stranger-2", "stranger-3", "stranger-4", "stranger-5"]) }}),
            await ask(ANALYZER + "/api/v1/experiments", {{ headers: auth }}),
            await ask(ANALYZER + "/api/v1/experiments")]"#
    );
    shop.open(&shop.other).await;
    assert_eq!(shop.on_gateway(&post).await, json!([nothing, nothing, nothing, nothing]));
    // A request without a question beforehand is the key's to allow; its answer is not this page's to read.
    let simple = format!(
        r#"const options = {{ method: "POST", headers: {{ "Content-Type": "text/plain" }},
            body: JSON.stringify({{ events: [seen("simple"), did("simple")] }}) }};
        return ask(`${{GATEWAY}}{EVENTS}?key=${{KEY}}`, options)"#
    );
    assert_eq!(shop.on_gateway(&simple).await, nothing);
    shop.arrived(1).await;

    // A gateway that is open to every page is so to keys of pages, and on their routes only.
    let open = ("AB_CORS_ORIGINS", "*".to_owned());
    shop.system.setup.environment.retain(|(name, _)| *name != open.0);
    shop.system.setup.environment.push(open);
    let mut gateway = shop.system.another("ingest-gateway").unwrap();
    gateway.ready().await.unwrap();
    let url = format!("http://{}", gateway.addr);
    let both = format!(
        r#"const sent = await ask(GATEWAY + "{EVENTS}", {{ method: "POST", headers: json,
            body: JSON.stringify({{ events: [seen("welcome"), did("welcome")] }}) }});
        const excluded = await ask(GATEWAY + "/api/v1/experiments/checkout/exclusions", {{ method: "POST", headers: json,
            body: "{{}}" }});
        const stronger = await ask(GATEWAY + "{EVENTS}", {{ method: "POST", body: "{{}}",
            headers: {{ ...json, "Authorization": "Bearer {token}" }} }});
        return [sent.status, excluded, stronger];"#,
        token = e2e::API_TOKEN,
    );
    assert_eq!(shop.told(&url, &both).await, json!([202, nothing, nothing]));
    shop.arrived(2).await;
    shop.system.stop().await.unwrap();
}
