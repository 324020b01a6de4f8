//! A corpus of requests that are wrong: a case for each documented code of a client's mistake, and for each route every
//! class of damage to a body, from a seed. Only documented answers below 500; nothing of it is recorded or logged.

use crate::support::two_arms;
use e2e::run::settled;
use e2e::{ADMIN_TOKEN, Deployment, Setup, System};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use testkit::http::{Client, Response, raw};

const EVENTS_ONLY: &str = "events-only-token-0123456789";
const READ_ONLY: &str = "read-only-token-0123456789";
const CASES: &str = include_str!("../data/malformed.json");
const ERRORS: &str = include_str!("../../../../shared/service/src/openapi/errors.json");
const SEED: u64 = 7;
/// In every value of every body here, and in nothing else.
const MARK: &str = "hidden";
/// Codes of states, not of requests, each with a test that provokes it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("answer_timeout", "analyzer/tests/it/deadlines.rs"),
    ("body_timeout", "shared/service/tests/it/bodies.rs"),
    ("bundle_altered", "ops/abctl/tests/it/exporting.rs"),
    ("bundle_conflicts", "ops/abctl/tests/it/exporting.rs"),
    ("bundle_unsigned", "ops/abctl/tests/it/exporting.rs"),
    ("catalogue_unavailable", "ingest-gateway/tests/it/unavailable.rs"),
    ("deadline_exceeded", "ingest-gateway/tests/it/lookups.rs"),
    ("head_timeout", "shared/service/tests/it/ending.rs"),
    ("internal_error", "shared/service/tests/it/answers.rs"),
    ("invalid_retention", "analyzer/tests/it/purging.rs"),
    ("keys_unavailable", "analyzer/tests/it/keys.rs"),
    ("no_purge", "analyzer/tests/it/purging.rs"),
    ("queue_full", "ingest-gateway/tests/it/unavailable.rs"),
    ("queue_unavailable", "ingest-gateway/tests/it/unavailable.rs"),
    ("rate_limited", "ingest-gateway/tests/it/limiting.rs"),
    ("raw_rows_purged", "analyzer/tests/it/purging.rs"),
    ("scan_in_progress", "analyzer/tests/it/deadlines.rs"),
    ("storage_unavailable", "analyzer/tests/it/starting.rs"),
    ("too_many_bodies", "shared/service/tests/it/bodies.rs"),
    ("too_many_connections", "shared/service/tests/it/ending.rs"),
    ("too_many_keys", "analyzer/tests/it/keys.rs"),
    ("too_many_points", "analyzer/tests/it/shown.rs"),
    ("too_many_requests", "shared/service/tests/it/ending.rs"),
    ("too_many_streams", "analyzer/tests/it/stream.rs"),
    ("too_many_unknown_keys", "shared/service/tests/it/keys.rs"),
    ("too_many_webhooks", "analyzer/tests/it/webhooks/routes.rs"),
];
/// Ten changes of one experiment by others within one request: no test brings that about.
const NOT_PROVOKED: &[&str] = &["busy"];

struct Corpus {
    system: System,
    document: Value,
    /// Events of answers that took some.
    received: u64,
    answers: BTreeMap<u16, u64>,
    /// Statuses by documented operation.
    refused: BTreeMap<(String, String), BTreeSet<u16>>,
    wrong: Vec<String>,
}

impl Corpus {
    async fn start() -> Corpus {
        let keys = format!("{EVENTS_ONLY}:default:events;{READ_ONLY}:default:read");
        let environment = vec![
            ("AB_API_KEYS", keys),
            ("AB_MAX_BATCH_EVENTS", "100".to_owned()),
            ("AB_MAX_EVENT_AGE", "30d".to_owned()),
            ("AB_LOG_LEVEL", "debug".to_owned()),
        ];
        let system = System::start(Setup { environment, partitions: 2, ..Setup::default() }).await.unwrap();
        let document = system.admin().get("/openapi.json").await.unwrap().json().unwrap();
        let (answers, refused, wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let corpus = Corpus { system, document, received: 0, answers, refused, wrong };
        let admin = corpus.system.admin();
        for key in ["exp", "old", "gone"] {
            corpus.system.experiment(two_arms(key, &["purchase"])).await.unwrap();
        }
        let draft = two_arms("draft", &["purchase"]);
        assert_eq!(admin.post_json("/api/v1/experiments", &draft).await.unwrap().status, 201);
        for path in ["old/stop", "old/archive", "gone/stop"] {
            let path = format!("/api/v1/experiments/{path}");
            assert_eq!(admin.post(&path, &[], "").await.unwrap().status, 200, "{path}");
        }
        let deleted = admin.request("DELETE", "/api/v1/experiments/gone", &[], Vec::new()).await.unwrap();
        assert_eq!(deleted.status, 204);
        corpus
    }

    /// Who answers this path.
    fn tier(&self, template: &str) -> SocketAddr {
        let tags = self.document["paths"][template].to_string();
        match tags.contains("\"tags\":[\"Ingest\"]") || tags.contains("\"tags\":[\"SDKs\"]") {
            true => self.system.gateway_addr(),
            false => self.system.analyzer_addr(),
        }
    }

    /// The documented path that this one is of.
    fn template(&self, path: &str) -> Option<String> {
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
        };
        paths.get(path).map(|_| path.to_owned()).or_else(|| paths.keys().find(|t| fits(t)).cloned())
    }

    async fn send(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Response> {
        let template = self.template(path);
        let addr = template.as_ref().map_or(self.system.gateway_addr(), |t| self.tier(t));
        let client = match token {
            Some(token) => Client::at(addr).bearer(token),
            None => Client::at(addr),
        };
        // A server may answer and close before it has read everything; then the client sees only the close.
        let answer = client.request(method, path, headers, body).await.ok()?;
        *self.answers.entry(answer.status).or_default() += 1;
        if let Some(template) = &template {
            let operation = (template.clone(), method.to_lowercase());
            self.refused.entry(operation).or_default().insert(answer.status);
        }
        let documented = template.is_none_or(|template| {
            let operation = &self.document["paths"][&template][method.to_lowercase()];
            operation.is_null() || !operation["responses"][answer.status.to_string()].is_null()
        });
        if answer.status >= 500 || !documented {
            self.wrong.push(format!("{method} {path} ({what}): {} {}", answer.status, answer.text()));
        }
        if (200..300).contains(&answer.status) && addr == self.system.gateway_addr() {
            self.received += answer.json().ok().and_then(|a| a["received"].as_u64()).unwrap_or(0);
        }
        Some(answer)
    }

    /// Whoever needs a key was refused without one, and whoever takes a body because of it.
    fn every_route_has_refused(&mut self) {
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let seen = self.refused.get(&(path.clone(), method.clone()));
                let any = |of: &[u16]| seen.is_some_and(|seen| of.iter().any(|status| seen.contains(status)));
                let open = operation["security"].as_array().unwrap().is_empty();
                let bodiless = operation["requestBody"].is_null();
                if seen.is_none() || !(open || any(&[401])) || !(bodiless || any(&[400, 415, 422])) {
                    self.wrong.push(format!("{method} {path} has answered {seen:?} only"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_gets_its_documented_answer_and_leaves_no_trace() {
    let mut corpus = Corpus::start().await;
    every_code_has_its_case(&mut corpus).await;
    every_route_bears_every_damage(&mut corpus).await;
    corpus.every_route_has_refused();
    assert!(corpus.wrong.is_empty(), "{}", corpus.wrong.join("\n"));
    println!("malformed requests by status: {:?}", corpus.answers);
    assert!(corpus.answers.keys().any(|status| *status == 400) && corpus.answers[&422] > 50);

    let Corpus { system, received, .. } = corpus;
    let total = settled(&system).await.unwrap().total;
    assert_eq!(u64::try_from(total.received).unwrap(), received, "recorded, and refused");
    let worker = system.worker.as_ref().unwrap();
    for log in [&system.gateway, &system.analyzer, worker].map(|tier| tier.stdout() + &tier.stderr()) {
        let told: Vec<&str> = log.lines().filter(|line| line.contains(MARK)).take(5).collect();
        assert!(told.is_empty(), "payload in the log: {told:?}");
        assert!(!log.contains("panic"), "{log}");
    }
    system.stop().await.unwrap();
}

async fn every_code_has_its_case(corpus: &mut Corpus) {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        let (code, request) = (text("code"), text("request"));
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.replace("KEY", ADMIN_TOKEN).replace("GONE", "gone");
        let token = match case.get("key") {
            None => Some(ADMIN_TOKEN),
            Some(Value::Null) => None,
            Some(key) => Some(match key.as_str().unwrap() {
                "read" => READ_ONLY,
                "events" => EVENTS_ONLY,
                _ => "hidden-and-unknown-0123456789",
            }),
        };
        let mut headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            headers.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = match &case["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let answer = corpus.send(&code, method, &path, token, &headers, body).await.unwrap();
        if answer.text().contains(&format!("\"{code}\"")) {
            seen.insert(code);
        } else {
            corpus.wrong.push(format!("{request}: wanted {code}: {} {}", answer.status, answer.text()));
        }
    }
    seen.extend(bytes_and_sizes(corpus).await);
    corpus.wrong.extend(without_case(&seen));
}

/// Documented codes that nothing shows, and exceptions that are none.
fn without_case(seen: &BTreeSet<String>) -> Vec<String> {
    let documented: BTreeMap<String, Value> = serde_json::from_str(ERRORS).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tested = |(code, file): &(&str, &str)| {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        text.contains(&format!("\"{code}\""))
    };
    let shown = |code: &str| {
        let elsewhere = ELSEWHERE.iter().any(|(known, _)| *known == code);
        seen.contains(code) || elsewhere || NOT_PROVOKED.contains(&code)
    };
    let untested = ELSEWHERE.iter().filter(|exception| !tested(exception)).map(|(code, _)| *code);
    let gone = ELSEWHERE.iter().map(|(code, _)| *code).chain(NOT_PROVOKED.iter().copied());
    let gone = gone.filter(|code| !documented.contains_key(*code) || seen.contains(*code));
    let bare = documented.keys().map(String::as_str).filter(|code| !shown(code));
    let untested = untested.map(|code| format!("{code} is not in the test that is said to have it"));
    let gone = gone.map(|code| format!("{code} is no exception"));
    let bare = bare.map(|code| format!("{code} has no case: add one to tests/data/malformed.json"));
    untested.chain(gone).chain(bare).collect()
}

/// What cannot be written in a file of JSON.
async fn bytes_and_sizes(corpus: &mut Corpus) -> Vec<String> {
    let path = "/api/v1/conversions";
    let large = vec![b' '; (1 << 20) + 1];
    let bomb = zstd::encode_all(vec![b' '; 9 << 20].as_slice(), 1).unwrap();
    let not_utf8 = b"{\"conversions\":[{\"user_id\":\"\xff\xfe\",\"metric\":\"m\"}]}".to_vec();
    let mut seen = Vec::new();
    for (code, encoding, body) in [
        ("body_too_large", None, large),
        ("decoded_body_too_large", Some("zstd"), bomb),
        ("invalid_utf8", None, not_utf8),
    ] {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = corpus.send(code, "POST", path, Some(ADMIN_TOKEN), &headers, body).await;
        if answer.is_none_or(|answer| answer.text().contains(&format!("\"{code}\""))) {
            seen.push(code.to_owned());
        }
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: 999\r\n\r\n{{\"conversions\":[\"hidden"
    );
    let addr = corpus.system.gateway_addr();
    let answer = raw(addr, head.as_bytes(), true, std::time::Duration::from_secs(30)).await.unwrap();
    // Whoever closes has no right to an answer; if there is one, it is this.
    let answer = String::from_utf8_lossy(&answer);
    if answer.is_empty() || answer.contains("\"body_incomplete\"") {
        seen.push("body_incomplete".to_owned());
    }
    seen
}

async fn every_route_bears_every_damage(corpus: &mut Corpus) {
    let mut random = Random(SEED);
    let paths: Vec<(String, Value)> =
        corpus.document["paths"].as_object().unwrap().iter().map(|(p, o)| (p.clone(), o.clone())).collect();
    for (template, operations) in paths {
        let mut path = template.clone();
        for (name, value) in
            [("{id}", "exp"), ("{user}", "nobody"), ("{batch}", "nothing"), ("{letter}", "x"), ("{key}", "x")]
        {
            path = path.replace(name, value);
        }
        let path = path.replace("{webhook}", "x");
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let json = [("content-type", "application/json")];
            corpus.send("no key", &method, &path, None, &json, b"{\"hidden\":1}".to_vec()).await;
            if operation["requestBody"].is_null() {
                let headers = [("if-none-match", "\"hidden"), ("accept-encoding", "hidden")];
                for query in ["?hidden%ff=%00", "?limit=99999999999999999999", "?cursor=%%%", "?as_of=hidden"]
                {
                    let path = format!("{path}{query}");
                    if !template.ends_with("/stream") {
                        corpus.send("query", &method, &path, Some(ADMIN_TOKEN), &headers, Vec::new()).await;
                    }
                }
                continue;
            }
            for (damage, headers, body) in damages(&mut random) {
                corpus.send(damage, &method, &path, Some(ADMIN_TOKEN), &headers, body).await;
            }
        }
    }
}

type Damaged = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>);

/// No event in it: each is wrong whatever the route wants.
fn damages(random: &mut Random) -> Vec<Damaged> {
    let json = vec![("content-type", "application/json")];
    let encoded = |encoding| vec![("content-type", "application/json"), ("content-encoding", encoding)];
    let good =
        json!({"hidden-a": [{"hidden-b": "hidden", "n": 1.5}], "hidden-c": {"d": null, "e": [true, "x"]}})
            .to_string()
            .into_bytes();
    let cut = good[..1 + random.below(good.len() - 1)].to_vec();
    let mut flipped = good.clone();
    for _ in 0..4 {
        let at = random.below(flipped.len());
        flipped[at] ^= 1 << random.below(8);
    }
    let mut spliced = good.clone();
    let (from, to) = (random.below(good.len()), random.below(good.len()));
    spliced.extend_from_slice(&good[from.min(to)..]);
    let noise: Vec<u8> = (0..200).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let zstd_cut = {
        let whole = zstd::encode_all(good.as_slice(), 1).unwrap();
        whole[..whole.len() - 3].to_vec()
    };
    let lines = [good.as_slice(), b"\n\n{\"hidden\":", good.as_slice(), b"\n"].concat();
    let mut after = zstd::encode_all(good.as_slice(), 1).unwrap();
    after.extend_from_slice(b"hidden");
    vec![
        ("nothing", json.clone(), Vec::new()),
        ("cut off", json.clone(), cut),
        ("bits flipped", json.clone(), flipped),
        ("spliced", json.clone(), spliced),
        ("noise", json.clone(), noise.clone()),
        ("null bytes", json.clone(), b"{\"hidden\":\"\0\0\"}".to_vec()),
        ("not UTF-8", json.clone(), b"{\"hidden\":\"\xc3\x28\"}".to_vec()),
        ("lone surrogate", json.clone(), b"{\"hidden\":\"\\ud800\"}".to_vec()),
        ("number too large", json.clone(), b"{\"hidden\":1e999999}".to_vec()),
        ("digits without end", json.clone(), format!("{{\"hidden\":{}}}", "9".repeat(5000)).into_bytes()),
        ("too deep", json.clone(), [b"[".repeat(5000), b"]".repeat(5000)].concat()),
        ("deep objects", json.clone(), b"{\"hidden\":".repeat(2000)),
        ("a field twice", json.clone(), b"{\"hidden\":1,\"hidden\":2}".to_vec()),
        ("another type", json.clone(), b"\"hidden\"".to_vec()),
        ("a list", json.clone(), b"[[],{},\"hidden\"]".to_vec()),
        ("byte order mark", json.clone(), b"\xef\xbb\xbf{\"hidden\":1}".to_vec()),
        ("lines", vec![("content-type", "application/x-ndjson")], lines),
        ("form", vec![("content-type", "multipart/form-data; boundary=hidden")], good.clone()),
        ("not gzip", encoded("gzip"), good.clone()),
        ("not deflate", encoded("deflate"), noise),
        ("cut off zstd", encoded("zstd"), zstd_cut),
        ("more behind zstd", encoded("zstd"), after),
        ("two encodings", encoded("gzip, zstd"), good.clone()),
        ("odd headers", [json, vec![("prefer", "wait=-1"), ("x-sent-at", "hidden")]].concat(), good),
    ]
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}
