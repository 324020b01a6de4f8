//! No secret and no payload in anything that a running deployment writes or answers, whatever goes wrong, and nothing
//! in what programs print of their settings.

mod encrypted;
mod given;
mod programs;

use crate::support::{eventually, two_arms};
use given::{Given, as_files};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::http::{Client, Response};
use testkit::{Process, Redis};

/// In every secret, and in every value that a client sends.
const MARK: &str = "hidden";
const INGEST: &str = "hidden-ingest-0123456789";
const READ: &str = "hidden-readonly-0123456789";
const ADMIN: &str = "hidden-admin-0123456789-abc";
const LISTED: &str = "hidden-listed-0123456789";
const REDIS: &str = "hidden-redis-password";
const SIGNING: &str = "hidden-signing-0123456789";
/// A request that waits for its commit may do so for half a minute.
const LIMIT: Duration = Duration::from_secs(120);
const JSON: (&str, &str) = ("content-type", "application/json");

struct Tier {
    name: &'static str,
    process: Process,
    public: SocketAddr,
    internal: SocketAddr,
}

fn settings(redis: &Redis, database: &str) -> Given {
    let postgres = database.replace("postgres://abstream@", "postgres://abstream:hidden-database@");
    [
        ("AB_REDIS_URL", format!("redis://app:{REDIS}@{}/0", redis.addr())),
        ("AB_DATABASE_URL", format!("{postgres}?application_name=test")),
        ("AB_API_TOKEN", INGEST.into()),
        ("AB_READONLY_API_TOKEN", READ.into()),
        ("AB_ADMIN_TOKEN", ADMIN.into()),
        ("AB_API_KEYS", format!("{LISTED}:acme:events,ingest,read,admin")),
        ("AB_WORKSPACE_SIGNING_KEY", SIGNING.into()),
        ("AB_OTLP_HEADERS", "authorization=hidden-collector".into()),
        ("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8".into()),
        ("AB_LOG_LEVEL", "debug".into()),
        ("AB_PARTITIONS", "2".into()),
        ("AB_STARTUP_TIMEOUT", "30s".into()),
    ]
    .map(|(name, value): (&str, String)| (name.to_owned(), value))
    .into()
}

async fn start(name: &'static str, settings: &Given) -> Tier {
    let [public, internal] =
        [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], testkit::free_port().unwrap())));
    let mut process = Process::of(name).unwrap().env("AB_PORT", public.port().to_string());
    for (variable, value) in settings {
        process = process.env(variable, value);
    }
    let mut process = process.env("AB_INTERNAL_ADDR", internal.to_string()).spawn().unwrap();
    process.wait_ready(public, "/readyz", LIMIT).await.unwrap();
    Tier { name, process, public, internal }
}

/// What the deployment said, with where.
#[derive(Default)]
struct Said(Vec<(String, String)>);

/// Secrets that were made by chance: without the mark.
#[derive(Default)]
struct Chance(Vec<String>);

impl Said {
    fn answer(&mut self, what: &str, answer: &Response) {
        let headers = format!("{:?}", answer.headers);
        self.0.push((format!("answer to {what}"), format!("{} {headers} {}", answer.status, answer.text())));
    }

    async fn post(&mut self, client: &Client, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let answer = client.post(path, headers, body.to_owned()).await.unwrap();
        self.answer(path.split('?').next().unwrap(), &answer);
        answer.status
    }

    async fn get(&mut self, client: &Client, path: &str) -> u16 {
        let answer = client.get(path).await.unwrap();
        self.answer(path.split('?').next().unwrap(), &answer);
        answer.status
    }

    /// Nothing of it holds a secret.
    fn assert_harmless(&self, chance: &Chance) {
        let secret = |line: &str| {
            line.to_lowercase().contains(MARK) || chance.0.iter().any(|secret| line.contains(secret.as_str()))
        };
        let lines = self.0.iter().flat_map(|(place, text)| text.lines().map(move |line| (place, line)));
        let told: Vec<String> =
            lines.filter(|(_, line)| secret(line)).map(|(place, line)| format!("{place}: {line}")).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }
}

/// The answer that shows a new secret, which nothing else may show.
async fn made(client: &Client, path: &str, body: &Value, member: &str, chance: &mut Chance) -> Value {
    let answer = client.post_json(path, body).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = answer.json().unwrap();
    chance.0.push(answer[member].as_str().unwrap().to_owned());
    answer
}

/// Keys that are issued, webhooks whose address is a secret as well, signed definitions.
async fn admins_work(said: &mut Said, chance: &mut Chance, mine: &Client, gateway: SocketAddr) {
    let key = made(mine, "/api/v1/keys", &json!({"name": "page", "scopes": ["events"]}), "key", chance).await;
    let (id, key) = (&key["id"], key["key"].as_str().unwrap());
    let event = json!({"events": [{"type": "conversion", "user_id": "hidden", "metric": "m"}]}).to_string();
    assert_eq!(said.post(&Client::at(gateway).bearer(key), "/api/v1/events", &[JSON], &event).await, 202);
    let path = format!("/api/v1/events?key={key}");
    assert_eq!(said.post(&Client::at(gateway), &path, &[JSON], &event).await, 202);
    assert_eq!(said.get(mine, "/api/v1/keys").await, 200);
    let revoked = mine.request("DELETE", &format!("/api/v1/keys/{id}"), &[], "").await.unwrap();
    said.answer("revoking", &revoked);
    eventually("the key is refused", LIMIT, async || {
        said.post(&Client::at(gateway).bearer(key), "/api/v1/events", &[JSON], &event).await == 401
    })
    .await;

    assert_eq!(said.get(mine, "/api/v1/audit").await, 200);

    // Nobody listens there. Lists and the audit log show the address, to admins of the tenant only.
    let port = testkit::free_port().unwrap();
    let hook = json!({"url": format!("http://127.0.0.1:{port}/services/hidden-hook")});
    let hook = made(mine, "/api/v1/webhooks", &hook, "secret", chance).await;
    let path = format!("/api/v1/webhooks/{}", hook["id"]);
    assert_eq!(said.post(mine, &format!("{path}/test"), &[JSON], "{}").await, 202);
    eventually("a delivery failed", LIMIT, async || {
        let answer = mine.get(&format!("{path}/deliveries")).await.unwrap();
        said.answer("deliveries", &answer);
        !answer.json().unwrap()["items"][0]["error"].is_null()
    })
    .await;
    assert_eq!(said.get(mine, "/api/v1/workspace/export").await, 200);
    for path in ["validate", "import"] {
        let path = format!("/api/v1/workspace/{path}");
        said.post(mine, &path, &[JSON], &json!({"experiments": [], "signature": "hidden"}).to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_said() {
    let postgres = testkit::postgres().await;
    let (name, redis) = (postgres.create_database().await.unwrap(), Redis::start().await.unwrap());
    set_password(&redis, REDIS).await;
    let directory = testkit::temp_dir("secrets").unwrap();
    let settings = settings(&redis, &postgres.url_for(&name));
    let files = as_files(&directory, &settings);
    let mut tiers = Vec::new();
    for (tier, settings) in [("analyzer", &files), ("ingest-worker", &files), ("ingest-gateway", &settings)] {
        tiers.push(start(tier, settings).await);
    }
    let (of_analyzer, of_gateway) = (tiers[0].public, tiers[2].public);
    let (analyzer, gateway) = (|| Client::at(of_analyzer), || Client::at(of_gateway));
    let (mut said, mut chance) = (Said::default(), Chance::default());

    // What goes well.
    let (mine, theirs) = (analyzer().bearer(ADMIN), analyzer().bearer(LISTED));
    assert_eq!(
        said.post(&mine, "/api/v1/experiments", &[JSON], &two_arms("exp", &["m"]).to_string()).await,
        201
    );
    assert_eq!(said.post(&mine, "/api/v1/experiments/exp/start", &[JSON], "{}").await, 200);
    let exposed = json!({"exposures": [{"user_id": "hidden-user", "variation_index": 0}]}).to_string();
    let path = "/api/v1/experiments/exp/exposures";
    let wait = [JSON, ("prefer", "wait=30")];
    assert_eq!(said.post(&gateway().bearer(INGEST), path, &wait, &exposed).await, 200);
    assert_eq!(said.post(&gateway().header("x-api-key", INGEST), path, &wait, &exposed).await, 200);
    admins_work(&mut said, &mut chance, &mine, of_gateway).await;
    programs::look(&mut said, &directory, &settings);
    // Another tenant's experiment, a weaker key, keys nobody knows.
    assert_eq!(said.post(&gateway().bearer(LISTED), path, &[JSON], &exposed).await, 404);
    assert_eq!(said.post(&gateway().bearer(READ), path, &[JSON], &exposed).await, 403);
    for unknown in ["hidden-nobody-knows-me", "hidden;and:odd", "hidden"] {
        assert_eq!(said.post(&gateway().bearer(unknown), path, &[JSON], &exposed).await, 401);
        assert_eq!(said.post(&analyzer().bearer(unknown), "/api/v1/experiments", &[JSON], "{}").await, 401);
    }
    said.post(&gateway(), &format!("/api/v1/events?key={LISTED}"), &[JSON], "{\"events\":[\"hidden\"]}")
        .await;
    said.post(&gateway(), "/batch", &[JSON], &json!({"api_key": LISTED, "batch": ["hidden"]}).to_string())
        .await;
    // Bodies that are wrong in many ways.
    for body in [
        "{\"exposures\":[{\"user_id\":\"hidden",
        "{\"exposures\":[{\"user_id\":{\"hidden\":1},\"variation_index\":0}]}",
        "{\"exposures\":[{\"user_id\":\"hidden\",\"variation_index\":77}]}",
        "\"hidden\"",
    ] {
        let status = gateway().bearer(INGEST).post(path, &[JSON], body).await.unwrap().status;
        assert!((400..500).contains(&status), "{body}: {status}");
    }
    let status = theirs.post("/api/v1/experiments", &[JSON], "{\"key\":\"hidden").await.unwrap().status;
    assert_eq!(status, 400);

    // Stores that refuse: the password is no longer right, the database takes nobody.
    set_password(&redis, "another").await;
    redis.command(&["CLIENT", "KILL", "USER", "app"]).await.unwrap();
    let refused = format!(
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    postgres.execute("postgres", &refused).await.unwrap();
    eventually("the gateway cannot write", LIMIT, async || {
        said.post(&gateway().bearer(INGEST), path, &[JSON], &exposed).await == 503
    })
    .await;
    eventually("the analyzer cannot read", LIMIT, async || {
        let answer = mine.get("/api/v1/experiments/exp/live-stats").await.unwrap();
        said.answer("live-stats", &answer);
        answer.status == 503
    })
    .await;
    programs::are_refused(&mut said, &settings);
    for tier in &tiers {
        for path in ["/readyz", "/metrics", "/health"] {
            let answer = Client::at(tier.internal).get(path).await.unwrap();
            said.0.push((format!("{path} of {}", tier.name), answer.text()));
        }
        let answer = Client::at(tier.public).bearer(ADMIN).get("/api/v1/diagnostics").await.unwrap();
        said.answer(&format!("diagnostics of {}", tier.name), &answer);
    }
    set_password(&redis, REDIS).await;
    postgres.execute("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    eventually("everything works again", LIMIT, async || {
        said.post(&gateway().bearer(INGEST), path, &wait, &exposed).await == 200
    })
    .await;
    for tier in &tiers {
        let answer = Client::at(tier.public).bearer(ADMIN).get("/api/v1/diagnostics").await.unwrap();
        said.answer(&format!("diagnostics of {}", tier.name), &answer);
    }

    programs::refuse(&mut said, &settings);
    encrypted::serve(&mut said, &mut chance, &settings).await;
    for mut tier in tiers {
        assert!(tier.process.terminate(LIMIT).await.unwrap().success(), "{}", tier.name);
        let log = tier.process.stderr();
        assert!(log.lines().any(|line| line.contains("\"DEBUG\"")), "{}: nothing was said: {log}", tier.name);
        said.0.push((format!("log of {}", tier.name), log));
        said.0.push((format!("standard output of {}", tier.name), tier.process.stdout()));
    }
    said.assert_harmless(&chance);
    std::fs::remove_dir_all(directory).unwrap();
}

async fn set_password(redis: &Redis, password: &str) {
    let user = ["ACL", "SETUSER", "app", "on", "resetpass", &format!(">{password}"), "~*", "&*", "+@all"];
    redis.command(&user).await.unwrap();
}
