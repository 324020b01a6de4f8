//! Every route of the API document, on the tier that has it, with a key of each scope: whoever lacks the scope is
//! refused, whoever has one is not, and every answer carries the headers that all answers carry.

use e2e::{Deployment, Setup, System};
use serde::Deserialize;
use std::collections::BTreeMap;
use testkit::http::{Client, Response};

const OPERATIONS: &str = include_str!("../../../../shared/service/src/openapi/operations.json");
const SCOPES: [&str; 5] = ["events", "ingest", "read", "admin", "operator"];

#[derive(Deserialize)]
struct Operation {
    /// Of which a key needs one; none: no key is needed.
    scopes: Vec<String>,
    /// Of which it needs one with this in the query.
    #[serde(default)]
    scopes_with: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    beacon: bool,
}

impl Operation {
    fn scopes_by_query(&self) -> BTreeMap<&str, &[String]> {
        if self.scopes_with.is_empty() {
            return BTreeMap::from([("", &*self.scopes)]);
        }
        self.scopes_with.iter().map(|(query, scopes)| (query.as_str(), &**scopes)).collect()
    }
}

/// One key with each scope alone.
fn keys() -> String {
    SCOPES.map(|scope| format!("only-{scope}-key:default:{scope}")).join(";")
}

fn code(answer: &Response) -> String {
    let problem = answer.json().unwrap_or_default();
    problem["error_code"].as_str().unwrap_or_default().to_owned()
}

/// The path of a thing that nobody has.
fn path_of(route: &str) -> String {
    let mut path = String::new();
    for part in route.split('/').skip(1) {
        path.push('/');
        path.push_str(if part.starts_with('{') { "nothing" } else { part });
    }
    path
}

/// What every answer has, whatever it says.
fn assert_headers(answer: &Response, call: &str) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{call}");
    assert!(matches!(answer.header("cache-control"), Some("no-store" | "no-cache")), "{call}: {answer:?}");
    assert!(answer.header("x-request-id").is_some(), "{call}");
    for banner in ["server", "x-powered-by", "via"] {
        assert_eq!(answer.header(banner), None, "{call}");
    }
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; "), "{call}: {policy}");
        assert!(!policy.contains("unsafe"), "{call}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{call}: {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_one_of_its_scopes_and_takes_any_of_them() {
    let setup = Setup { worker: false, environment: vec![("AB_API_KEYS", keys())], ..Setup::default() };
    let system = System::start(setup).await.unwrap();
    let tiers = [system.gateway_addr(), system.analyzer_addr()];
    let operations: BTreeMap<String, Operation> = serde_json::from_str(OPERATIONS).unwrap();
    assert!(operations.len() > 50);
    let mut of_tier = [0, 0];
    for (route, operation) in &operations {
        let (method, template) = route.split_once(' ').unwrap();
        let path = path_of(template);
        let json = [("content-type", "application/json")];
        let ask = async |addr, headers: &[(&str, &str)], path: &str| {
            let answer = Client::at(addr).request(method, path, headers, "{}").await.unwrap();
            assert_headers(&answer, &format!("{method} {path}"));
            answer
        };
        let mut found = 0;
        for (tier, addr) in tiers.into_iter().enumerate() {
            let nobody = ask(addr, &json, &path).await;
            if nobody.status == 404 && code(&nobody) == "not_found" {
                continue;
            }
            (found, of_tier[tier]) = (found + 1, of_tier[tier] + 1);
            if operation.scopes.is_empty() {
                assert!(matches!(nobody.status, 200 | 503), "{route} without a key: {}", nobody.text());
                continue;
            }
            assert_eq!((nobody.status, code(&nobody).as_str()), (401, "missing_key"), "{route}");
            for scope in SCOPES {
                let key = format!("only-{scope}-key");
                let bearer = format!("Bearer {key}");
                for (query, scopes) in operation.scopes_by_query() {
                    let path = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
                    let answer = ask(addr, &[json[0], ("authorization", &bearer)], &path).await;
                    let lacks = (answer.status, code(&answer).as_str()) == (403, "missing_scope");
                    let may = scopes.iter().any(|one| one == scope);
                    assert_eq!(lacks, !may, "{route} with {query} and {scope}: {}", answer.text());
                    assert_ne!(answer.status, 401, "{route} with {scope}");
                }
                // In the address a key counts where pages send, and only if it can do nothing else.
                let in_address = format!("{path}{}key={key}", if path.contains('?') { '&' } else { '?' });
                let answer = ask(addr, &json, &in_address).await;
                if route.starts_with("POST /api/v1/") {
                    let wanted = match (operation.beacon, scope) {
                        (true, "events") => "",
                        (true, _) => "key_in_query",
                        (false, _) => "missing_key",
                    };
                    let refused = if answer.status == 401 { code(&answer) } else { String::new() };
                    assert_eq!(refused, wanted, "{route} with {scope} in the address: {}", answer.text());
                }
            }
        }
        // Health and the API document are everywhere.
        let wanted = if operation.scopes.is_empty() { 1..=2 } else { 1..=1 };
        assert!(wanted.contains(&found), "{route} is answered by {found} tiers");
    }
    assert!(of_tier[0] > 20 && of_tier[1] > 30, "{of_tier:?}");
    system.stop().await.unwrap();
}
