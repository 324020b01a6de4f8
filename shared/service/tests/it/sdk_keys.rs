//! Routes of SDKs that are not ours: the key where they put it, refusals as they read them.

use crate::kit::{ADMIN, BROWSER, ENV, READER, SENDER, Server, limits, start, start_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io::Write;

type Headers<'a> = Vec<(&'a str, &'a str)>;

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_and_password))
}

async fn post(server: &Server, query: &str, headers: &[(&str, &str)], body: &str) -> crate::kit::Answer {
    server.ask("POST", &format!("/sdk{query}"), headers, body.as_bytes()).await
}

#[tokio::test]
async fn the_key_is_found_in_every_place_and_the_first_one_counts() {
    let server = start().await;
    let (write_key, admin) = (basic(&format!("{SENDER}:")), basic(&format!("{ADMIN}:ignored")));
    let in_body = json!({"batch": [[1]], "api_key": BROWSER, "api_key ": SENDER}).to_string();
    let query = format!("?client_key={BROWSER}&x=1");
    let bearer = format!("Bearer {SENDER}");
    let cases: [(&str, Headers, &str, &str); 6] = [
        ("", vec![("Authorization", &write_key)], "{}", "default"),
        ("", vec![("authorization", &admin)], "not JSON", "default"),
        ("", vec![("Authorization", &bearer)], &in_body, "default"),
        ("", vec![("X-API-Key", SENDER)], &in_body, "default"),
        (&query, vec![], "[]", "shop"),
        ("", vec![("Content-Type", "text/plain")], &in_body, "shop"),
    ];
    for (query, headers, body, tenant) in cases {
        let answer = post(&server, query, &headers, body).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json(), json!([tenant, [body.len(), 0]]), "read once, whoever looked first");
    }
    // The key of a compressed body.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(in_body.as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    let answer = server.ask("POST", "/sdk", &[("Content-Encoding", "gzip")], &body).await;
    assert_eq!(answer.json(), json!(["shop", [in_body.len(), 0]]));
    server.stop().await;
}

#[tokio::test]
async fn refusals_say_code_and_message() {
    let server = start().await;
    let unknown = basic("nobody:");
    let reader = basic(&format!("{READER}:"));
    let query = format!("?client_key={SENDER}");
    let cases: [(&str, Headers, &str, u16, &str); 10] = [
        ("", vec![], "{}", 401, "missing_key"),
        ("", vec![], "", 401, "missing_key"),
        ("", vec![], "[{\"api_key\":1}]", 401, "missing_key"),
        ("", vec![], "{\"api_key\":7}", 401, "missing_key"),
        ("", vec![("Authorization", "Basic !!")], "{}", 401, "missing_key"),
        ("", vec![("Authorization", &unknown)], "{}", 401, "unknown_key"),
        ("", vec![], "{\"api_key\":\"nobody\"}", 401, "unknown_key"),
        ("?client_key=nobody", vec![], "{}", 401, "unknown_key"),
        (&query, vec![], "{}", 401, "key_in_query"),
        ("", vec![("Authorization", &reader)], "{}", 403, "missing_scope"),
    ];
    for (query, headers, body, status, code) in cases {
        let problem = post(&server, query, &headers, body).await.is_problem(status, code);
        assert_eq!((&problem["code"], &problem["message"]), (&json!(code), &problem["detail"]));
    }
    // Routes of our own do without: one name for one thing.
    let own = server.ask("POST", "/echo", &[], b"{}").await.is_problem(401, "missing_key");
    assert!(own.get("code").is_none() && own.get("message").is_none(), "{own}");
    // Basic is no way in elsewhere.
    let key = basic(&format!("{SENDER}:"));
    let answer = server.ask("POST", "/echo", &[("Authorization", &key)], b"{}").await;
    answer.is_problem(401, "missing_key");
    server.stop().await;
}

#[tokio::test]
async fn a_body_is_limited_also_before_its_key_is_known() {
    let server = start_with(ENV, limits(|limits| limits.max_wire_body = 100)).await;
    let body = json!({"api_key": BROWSER, "filler": "x".repeat(100)}).to_string();
    post(&server, "", &[], &body).await.is_problem(413, "body_too_large");
    let deep = format!("{{\"a\":{}{},\"api_key\":\"{BROWSER}\"}}", "[".repeat(20), "]".repeat(20));
    assert_eq!(post(&server, "", &[], &deep).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_wherever_the_key_is() {
    let server = start().await;
    for guess in 0..20 {
        let body = json!({"api_key": format!("guess-{guess}")}).to_string();
        post(&server, "", &[], &body).await.is_problem(401, "unknown_key");
    }
    let problem = post(&server, "", &[("Authorization", &basic("guess:"))], "{}").await;
    problem.is_problem(429, "too_many_unknown_keys");
    let body = json!({"api_key": BROWSER}).to_string();
    assert_eq!(post(&server, "", &[], &body).await.status, 200, "a valid key is never slowed down");
    server.stop().await;
}

#[tokio::test]
async fn pages_of_any_origin_may_send_with_a_key_for_events_only() {
    let env = [ENV, &[("AB_CORS_ORIGINS", "*")]].concat();
    let server = start_with(&env, limits(|_| {})).await;
    let origin = [("Origin", "https://shop.example")];
    let preflight = [origin[0], ("Access-Control-Request-Method", "POST")];
    let answer = server.ask("OPTIONS", "/sdk", &preflight, b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let browser = json!({"api_key": BROWSER}).to_string();
    assert_eq!(post(&server, "", &origin, &browser).await.header("access-control-allow-origin"), "*");
    let sender = json!({"api_key": SENDER}).to_string();
    assert_eq!(post(&server, "", &origin, &sender).await.header("access-control-allow-origin"), "");
    server.stop().await;
}
