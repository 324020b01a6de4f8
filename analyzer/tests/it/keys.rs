//! Keys that admins issue: shown once, good everywhere at once, refused everywhere once revoked.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::http::Response;
use tokio::time::{sleep, timeout};

use crate::rig::{Rig, client, code, settings, two_arms};
use service::boot::{Boot, Listeners};

const KEYS: &str = "/api/v1/keys";
const LIST: &str = "/api/v1/experiments";
const LIMIT: Duration = Duration::from_secs(60);

/// What the analyzer says of a key there: 200, 401, ..
async fn status(addr: SocketAddr, key: &str) -> u16 {
    client(addr, key).get(LIST).await.unwrap().status
}

async fn eventually(addr: SocketAddr, key: &str, wanted: u16) {
    let asking = async {
        while status(addr, key).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| panic!("never {wanted}"));
}

impl Rig {
    /// Another analyzer on the same servers.
    async fn another(&self) -> SocketAddr {
        let database = testkit::postgres().await.url_for(&self.database);
        let boot = Boot::embedded(settings(&database, &self.redis.url(), &[]).await).unwrap();
        let listeners = Listeners::loopback().await.unwrap();
        let addr = listeners.public_addr().unwrap();
        tokio::spawn(analyzer::serve(boot, listeners));
        assert_eq!(client(addr, "admin-a").get("/health").await.unwrap().status, 200);
        addr
    }

    async fn issue(&self, name: &str, scopes: &[&str]) -> Value {
        let answer = self.try_issue(&json!({"name": name, "scopes": scopes})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json().unwrap()
    }

    async fn try_issue(&self, body: &Value) -> Response {
        self.admin.post_json(KEYS, body).await.unwrap()
    }

    async fn revoke(&self, id: &Value) -> Response {
        self.admin.request("DELETE", &format!("{KEYS}/{id}"), &[], "").await.unwrap()
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_counts_everywhere_at_once_until_it_is_revoked() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    rig.admin.post_json(LIST, &two_arms("checkout")).await.unwrap();
    let issued = rig.issue("nightly \"report\"", &["read"]).await;
    let key = issued["key"].as_str().unwrap();
    assert!(key.starts_with("abk_") && key.ends_with(issued["last_digits"].as_str().unwrap()), "{issued}");
    assert_eq!(issued["last_digits"].as_str().unwrap().len(), 4);
    assert_eq!((&issued["scopes"], &issued["revoked_at"]), (&json!(["read"]), &Value::Null));
    // Without waiting: an analyzer that has not heard of it yet looks.
    for addr in [other, rig.addr] {
        let seen = client(addr, key).get(LIST).await.unwrap();
        assert_eq!((seen.status, seen.json().unwrap()["items"][0]["key"].clone()), (200, json!("checkout")));
        let answer = client(addr, key).post_json(LIST, &two_arms("mine")).await.unwrap();
        assert_eq!((answer.status, code(&answer)), (403, "missing_scope".into()));
    }

    let listed = rig.ok(KEYS).await;
    let mut shown = issued.clone();
    shown.as_object_mut().unwrap().remove("key");
    assert_eq!(listed, json!({"items": [shown], "next_cursor": null}));
    let everything =
        rig.sql_text("SELECT string_agg(k::text || a::text, ' ') FROM api_keys k, audit_log a").await;
    assert!(everything.contains("nightly") && !everything.contains(key), "only the digest is kept");

    for _ in 0..2 {
        assert_eq!(rig.revoke(&issued["id"]).await.status, 204);
    }
    assert_eq!(status(rig.addr, key).await, 401, "where it was revoked at once");
    eventually(other, key, 401).await;
    let listed = rig.ok(KEYS).await;
    assert!(listed["items"][0]["revoked_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn what_is_no_key_is_refused_by_name() {
    let rig = Rig::start().await;
    let long = "n".repeat(101);
    for (body, wanted) in [
        (json!({"name": "", "scopes": ["read"]}), "invalid_key_name"),
        (json!({"name": long, "scopes": ["read"]}), "invalid_key_name"),
        (json!({"name": "a\u{7}b", "scopes": ["read"]}), "invalid_key_name"),
        (json!({"name": "n", "scopes": []}), "invalid_scopes"),
        (json!({"name": "n", "scopes": ["read", "fly"]}), "invalid_scopes"),
        (json!({"name": "n", "scopes": ["operator"]}), "invalid_scopes"),
        (json!({"name": "n", "scopes": "read"}), "invalid_body"),
        (json!({"name": "n"}), "invalid_body"),
        (json!({"name": "n", "scopes": ["read"], "tenant": "b"}), "unknown_field"),
    ] {
        let answer = rig.try_issue(&body).await;
        assert_eq!((answer.status, code(&answer)), (422, wanted.into()), "{body}");
    }
    let theirs =
        rig.client("admin-b").post_json(KEYS, &json!({"name": "n", "scopes": ["read"]})).await.unwrap();
    let theirs = theirs.json().unwrap()["id"].clone();
    for id in [theirs, json!(999), json!(-1), json!("x")] {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let answer = rig.admin.request("DELETE", &format!("{KEYS}/{id}"), &[], "").await.unwrap();
        assert_eq!((answer.status, code(&answer)), (404, "unknown_key_id".into()), "{id}");
    }
    assert_eq!(rig.ok(KEYS).await["items"], json!([]));
    // An issued key may issue others, if it may administer.
    let issued = rig.issue("robot", &["admin", "events"]).await;
    let robot = rig.client(issued["key"].as_str().unwrap());
    assert_eq!(robot.post_json(KEYS, &json!({"name": "n", "scopes": ["read"]})).await.unwrap().status, 201);
    let log = rig.ok("/api/v1/audit?action=key.").await;
    let robot = format!("key {} (robot)", issued["id"]);
    let actor = |n: usize| log["items"][n]["actor"].as_str().unwrap();
    assert_eq!(actor(0), robot);
    assert!(actor(1).starts_with("sha256:"), "{log}");
}

#[tokio::test]
async fn without_redis_known_keys_count_and_a_revoked_one_does_not_where_it_was_revoked() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    let (kept, lost) = (rig.issue("kept", &["read"]).await, rig.issue("lost", &["read"]).await);
    let (kept_key, lost_key) = (kept["key"].as_str().unwrap(), lost["key"].as_str().unwrap());
    let unknown = format!("abk_{}", "x".repeat(43));
    for addr in [rig.addr, other] {
        assert_eq!(
            [status(addr, kept_key).await, status(addr, lost_key).await, status(addr, &unknown).await],
            [200, 200, 401]
        );
    }
    rig.redis.kill().await.unwrap();
    for addr in [rig.addr, other] {
        assert_eq!([status(addr, kept_key).await, status(addr, lost_key).await], [200, 200]);
        // Whether it was issued a moment ago nobody can say.
        let answer = client(addr, &unknown).get(LIST).await.unwrap();
        assert_eq!((answer.status, code(&answer)), (503, "keys_unavailable".into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(status(addr, "no-issued-key").await, 401, "that one can be said of");
    }
    let answer = rig.try_issue(&json!({"name": "never shown", "scopes": ["read"]})).await;
    assert_eq!((answer.status, code(&answer)), (503, "keys_unavailable".into()));
    let answer = rig.revoke(&lost["id"]).await;
    assert_eq!((answer.status, code(&answer)), (503, "keys_unavailable".into()));
    // It stands, and this analyzer acts on it; the other is told when Redis is back.
    assert_eq!([status(rig.addr, kept_key).await, status(rig.addr, lost_key).await], [200, 503]);
    let listed = rig.ok(KEYS).await;
    let in_force: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().filter(|key| key["revoked_at"].is_null()).collect();
    assert_eq!(in_force.iter().map(|key| &key["name"]).collect::<Vec<_>>(), ["kept"]);

    rig.redis.restart().await.unwrap();
    for addr in [rig.addr, other] {
        eventually(addr, lost_key, 401).await;
        assert_eq!(status(addr, kept_key).await, 200);
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_keys_and_no_more() {
    let rig = Rig::start().await;
    rig.sql(
        "INSERT INTO api_keys (tenant, digest, name, scopes, last_digits)
         SELECT 'a', sha256(n::text::bytea), 'n', 'events', 'wxyz' FROM generate_series(1, 1000) AS n",
    )
    .await;
    let body = json!({"name": "one too many", "scopes": ["read"]});
    let answer = rig.try_issue(&body).await;
    assert_eq!((answer.status, code(&answer)), (409, "too_many_keys".into()));
    assert_eq!(rig.client("admin-b").post_json(KEYS, &body).await.unwrap().status, 201);
    rig.revoke(&rig.ok(KEYS).await["items"][0]["id"]).await;
    rig.issue("room again", &["read"]).await;
}

#[tokio::test]
async fn keys_survive_an_emptied_redis() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    let issued = rig.issue("kept", &["read"]).await;
    let key = issued["key"].as_str().unwrap();
    assert_eq!(status(other, key).await, 200);
    rig.redis.command(&["FLUSHALL"]).await.unwrap();
    assert_eq!([status(rig.addr, key).await, status(other, key).await], [200, 200]);
    // A new process finds the key again only when it is written anew.
    let third = rig.another().await;
    eventually(third, key, 200).await;
}

#[tokio::test]
async fn without_the_database_nothing_is_issued_and_what_is_issued_counts() {
    let rig = Rig::start().await;
    let issued = rig.issue("kept", &["admin"]).await;
    let robot = rig.client(issued["key"].as_str().unwrap());
    rig.sql("ALTER TABLE api_keys RENAME TO gone").await;
    let answer = robot.post_json(KEYS, &json!({"name": "n", "scopes": ["read"]})).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(rig.revoke(&issued["id"]).await.status, 503);
    assert_eq!(robot.get(LIST).await.unwrap().status, 200);
    rig.sql("ALTER TABLE gone RENAME TO api_keys").await;
    assert_eq!(robot.post_json(KEYS, &json!({"name": "n", "scopes": ["read"]})).await.unwrap().status, 201);
}
