use crate::kit::{Answer, BROWSER, ENV, SENDER, Server, limits, start, start_with};

const SHOP: (&str, &str) = ("Origin", "https://shop.example");

async fn with_origins(origins: &str) -> Server {
    let env = [ENV, &[("AB_CORS_ORIGINS", origins)]].concat();
    start_with(&env, limits(|_| {})).await
}

fn allowed(answer: &Answer) -> &str {
    answer.header("access-control-allow-origin")
}

async fn preflight(server: &Server, origin: &str, path: &str, method: &str) -> Answer {
    let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
    server.ask("OPTIONS", path, &headers, b"").await
}

#[tokio::test]
async fn preflight_needs_no_key() {
    let server = with_origins("https://shop.example").await;
    let answer = preflight(&server, SHOP.1, "/echo", "POST").await;
    assert_eq!((answer.status, allowed(&answer)), (204, SHOP.1));
    assert_eq!(answer.header("access-control-allow-methods"), "POST, OPTIONS");
    assert!(answer.header("access-control-allow-headers").contains("Idempotency-Key"));
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(allowed(&preflight(&server, "https://evil.example", "/echo", "POST").await), "");
    preflight(&server, SHOP.1, "/nowhere", "POST").await.is_problem(404, "not_found");
    assert_eq!(preflight(&server, SHOP.1, "/health", "GET").await.header("allow"), "GET, HEAD, OPTIONS");
    server.stop().await;
}

#[tokio::test]
async fn listed_origins_may_read_every_answer() {
    let server = with_origins("https://shop.example").await;
    let refused = server.ask("POST", "/echo", &[SHOP], b"{}").await;
    refused.is_problem(401, "missing_key");
    assert_eq!(allowed(&refused), SHOP.1);
    let answer = server.echo(&[SHOP], b"{}").await;
    assert_eq!((answer.status, allowed(&answer)), (200, SHOP.1));
    let exposed = "Retry-After, Location, X-Request-ID, Preference-Applied";
    assert_eq!(answer.header("access-control-expose-headers"), exposed);
    let other = server.echo(&[("Origin", "https://evil.example")], b"{}").await;
    assert_eq!((other.status, allowed(&other)), (200, ""));
    server.stop().await;
}

#[tokio::test]
async fn star_is_for_keys_with_only_events() {
    let server = with_origins("*").await;
    let browser = server.echo(&[SHOP], b"{}").await;
    assert_eq!(allowed(&browser), "", "a key with more scopes");
    let browser = server.ask("POST", &format!("/echo?key={BROWSER}"), &[SHOP], b"{}").await;
    assert_eq!((browser.status, allowed(&browser)), (200, "*"));
    assert_eq!(allowed(&preflight(&server, SHOP.1, "/echo", "POST").await), "*");
    assert_eq!(allowed(&preflight(&server, SHOP.1, "/ingest", "POST").await), "");
    assert_eq!(allowed(&preflight(&server, SHOP.1, "/read", "GET").await), "");
    server.stop().await;
}

#[tokio::test]
async fn development_origins_by_default_and_any_port_pattern() {
    let server = start().await;
    for origin in ["http://localhost:5173", "http://127.0.0.1:8009"] {
        assert_eq!(allowed(&server.ask("POST", "/echo", &[("Origin", origin)], b"").await), origin);
    }
    let headers = [("X-API-Key", SENDER)];
    for origin in ["http://localhost:5173.evil.example", "http://localhost:", "http://evil.example", "null"] {
        let answer = server.ask("POST", "/echo", &[headers[0], ("Origin", origin)], b"{}").await;
        assert_eq!((answer.status, allowed(&answer)), (200, ""), "{origin}");
    }
    server.stop().await;
}
