//! What production does not start with: one line that names the variable and the reason, no password, exit code 2; by
//! `--check-config` as by the start itself.

use queue::Queue;
use queue::redis::RedisQueue;
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Redis, TransactionPooler};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const KEY: &str = "q8vR2mZx7LdK0pWcY5tHbN3s";
const PARTITIONS: u16 = 2;
const TIERS: [&str; 4] = ["ingest-gateway", "ingest-worker", "analyzer", "abctl up"];
const WITH_DATABASE: [&str; 3] = ["ingest-worker", "analyzer", "abctl up"];
const WITH_KEYS: [&str; 3] = ["ingest-gateway", "analyzer", "abctl up"];
const WITH_SESSIONS: [&str; 2] = ["ingest-worker", "abctl up"];

type Env = BTreeMap<&'static str, String>;

/// These programs, with this instead of what is right (empty: unset), refuse with a line that begins so.
struct Case(&'static [&'static str], Vec<(&'static str, String)>, &'static str);

/// Everything a tier needs, in good order.
struct Servers {
    redis: Redis,
    database: String,
    _closed: std::net::TcpListener,
    nobody: u16,
}

impl Servers {
    async fn start() -> Servers {
        let postgres = testkit::postgres().await;
        let (database, redis) = (postgres.create_database().await.unwrap(), Redis::start().await.unwrap());
        let location = store::Location::Postgres { url: postgres.url_for(&database), pool_size: 1 };
        drop(store::open(&location, PARTITIONS, Duration::from_secs(30)).await.unwrap());
        let queue = RedisQueue::new(&redis.url(), PARTITIONS, 0).unwrap();
        let projection = queue.projection();
        let ticket = projection.begin().await.unwrap();
        projection.reconcile(ticket, Vec::new()).await.unwrap();
        // Bound and never listening: whoever connects is refused, and nobody else gets the port.
        let _closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let nobody = testkit::free_port().unwrap();
        Servers { redis, database, _closed, nobody }
    }

    fn env(&self, database: &str) -> Env {
        Env::from([
            ("AB_ENV", "production".into()),
            ("AB_API_TOKEN", KEY.into()),
            ("AB_DATABASE_URL", database.into()),
            ("AB_REDIS_URL", self.redis.url()),
            ("AB_PARTITIONS", PARTITIONS.to_string()),
            ("AB_PORT", "0".into()),
            ("AB_INTERNAL_ADDR", "127.0.0.1:0".into()),
            ("AB_STARTUP_TIMEOUT", "60s".into()),
            ("AB_LOG_LEVEL", "off".into()),
        ])
    }
}

/// With a password, which a server that trusts everybody does not ask for.
fn with_password(url: &str) -> String {
    url.replace("postgres://abstream@", "postgres://abstream:hidden@")
        .replace("redis://", "redis://default:hidden@")
}

async fn cases(servers: &Servers, others: &Others) -> Vec<Case> {
    let postgres = testkit::postgres().await;
    let url = |database: &str| with_password(&postgres.url_for(database));
    let key = |name, key: &str| vec![("AB_API_TOKEN", String::new()), (name, key.to_owned())];
    let one = |name, value: &str| vec![(name, value.to_owned())];
    // Waited for until the start has taken too long.
    let awaited = |name, value: String| vec![(name, value), ("AB_STARTUP_TIMEOUT", "1s".to_owned())];
    let mut cases = vec![
        Case(&WITH_KEYS, one("AB_API_TOKEN", ""), "AB_API_TOKEN: production needs an ingest key"),
        Case(&WITH_KEYS, key("AB_READONLY_API_TOKEN", KEY), "AB_API_TOKEN: production needs an ingest key"),
        Case(&WITH_KEYS, one("AB_API_TOKEN", "hidden-8vR2mZx7LdK0pW"), "AB_API_TOKEN: is too short"),
        Case(
            &WITH_KEYS,
            one("AB_API_TOKEN", "change-me-hidden-0123456789"),
            "AB_API_TOKEN: is a known example",
        ),
        Case(
            &WITH_KEYS,
            one("AB_API_TOKEN", "hiddenhiddenhiddenhiddenhidden"),
            "AB_API_TOKEN: is easily guessed",
        ),
        Case(&WITH_KEYS, one("AB_ADMIN_TOKEN", "hidden"), "AB_ADMIN_TOKEN: is too short"),
        Case(&WITH_KEYS, one("AB_API_KEYS", "hidden:shop:events"), "AB_API_KEYS: entry 1: is too short"),
        Case(
            &WITH_KEYS,
            one("AB_API_KEYS", "hidden"),
            "AB_API_KEYS: entry 1: must read key:tenant:scope,scope",
        ),
        Case(&TIERS, one("AB_HIDDEN", "hidden"), "AB_HIDDEN: is not a known setting"),
        Case(&TIERS, one("AB_PARTITIONS", "hidden"), "AB_PARTITIONS: must be a whole number"),
        Case(&TIERS, one("AB_REDIS_URL", ""), "AB_REDIS_URL: "),
        Case(&TIERS, one("AB_REDIS_URL", "http://u:hidden@h"), "AB_REDIS_URL: must begin with redis://"),
        Case(&WITH_DATABASE, one("AB_DATABASE_URL", ""), "AB_DATABASE_URL: "),
        Case(
            &WITH_DATABASE,
            one("AB_DATABASE_URL", "sqlite://u:hidden@/x"),
            "AB_DATABASE_URL: must begin with postgres://",
        ),
        Case(&["abctl up"], one("AB_DATA", "hidden"), "AB_DATA: production keeps neither"),
        Case(
            &WITH_DATABASE,
            awaited("AB_DATABASE_URL", format!("postgres://u:hidden@127.0.0.1:{}/db", servers.nobody)),
            "AB_DATABASE_URL: postgres://u:***@127.0.0.1:",
        ),
        Case(
            &TIERS,
            awaited("AB_REDIS_URL", format!("redis://u:hidden@127.0.0.1:{}/0", servers.nobody)),
            "AB_REDIS_URL: queue: ",
        ),
    ];
    let [read_only, newer] = [&others.read_only, &others.newer].map(|database| url(database));
    let pooled = postgres.url_at(others.pooler.addr(), &servers.database);
    cases.extend([
        Case(
            &WITH_DATABASE,
            awaited("AB_DATABASE_URL", read_only.clone()),
            "AB_DATABASE_URL: postgres://abstream:***@",
        ),
        Case(&WITH_DATABASE, one("AB_DATABASE_URL", &newer), "AB_DATABASE_URL: postgres://abstream:***@"),
        Case(
            &WITH_SESSIONS,
            one("AB_DATABASE_URL", &with_password(&pooled)),
            "AB_DATABASE_URL: postgres://abstream:***@",
        ),
        Case(&TIERS, one("AB_PARTITIONS", "8"), "AB_PARTITIONS: the "),
        Case(
            &TIERS,
            one("AB_REDIS_URL", &with_password(&others.evicting.url())),
            "AB_REDIS_URL: Redis has maxmemory-policy allkeys-lru, ",
        ),
        Case(
            &TIERS,
            one("AB_REDIS_URL", &with_password(&others.forgetful.url())),
            "AB_REDIS_URL: Redis has appendfsync everysec, ",
        ),
        Case(
            &TIERS,
            awaited("AB_REDIS_URL", with_password(&others.replica.url())),
            "AB_REDIS_URL: queue: find the servers: ",
        ),
    ]);
    cases
}

/// Servers that production refuses.
struct Others {
    read_only: String,
    newer: String,
    pooler: TransactionPooler,
    evicting: Redis,
    forgetful: Redis,
    replica: Redis,
}

impl Others {
    async fn start(servers: &Servers) -> Others {
        let postgres = testkit::postgres().await;
        let copy = async || postgres.create_database_from(&servers.database).await.unwrap();
        let (read_only, newer) = (copy().await, copy().await);
        let sql = format!("ALTER DATABASE {read_only} SET default_transaction_read_only = on");
        postgres.execute("postgres", &sql).await.unwrap();
        let sql = "INSERT INTO refinery_schema_history SELECT 9999, name, applied_on, checksum \
                   FROM refinery_schema_history WHERE version = 1";
        postgres.execute(&newer, sql).await.unwrap();
        let replica = Redis::start().await.unwrap();
        let primary = servers.redis.addr();
        replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await.unwrap();
        Others {
            read_only,
            newer,
            pooler: TransactionPooler::start(postgres.addr()).await.unwrap(),
            evicting: Redis::start_with(&[("maxmemory-policy", "allkeys-lru")]).await.unwrap(),
            forgetful: Redis::start_with(&[("appendfsync", "everysec")]).await.unwrap(),
            replica,
        }
    }
}

/// Runs it to its end. Standard error has no log, only the program's own last word.
fn run(program: &str, env: &Env, check: bool) -> Output {
    let (binary, command) = program.split_once(' ').map_or((program, None), |(b, c)| (b, Some(c)));
    let mut process = Command::new(testkit::bin(binary).unwrap());
    process.env_clear().envs(env).args(command).stdin(Stdio::null());
    process.args(check.then_some("--check-config")).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn production_refuses_by_one_line_and_code_2() {
    let servers = Servers::start().await;
    let others = Others::start(&servers).await;
    let good = servers.env(&testkit::postgres().await.url_for(&servers.database));
    for program in TIERS {
        let (env, checked) = (good.clone(), move |env: &Env| run(program, env, true));
        let output = tokio::task::spawn_blocking(move || checked(&env)).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{program}: {output:?}");
    }
    // As many at once as slow machines bear.
    let (permits, mut running) = (Arc::new(Semaphore::new(4)), JoinSet::new());
    for Case(programs, changes, wanted) in cases(&servers, &others).await {
        let mut env = good.clone();
        for (name, value) in changes {
            match value.is_empty() {
                true => env.remove(name),
                false => env.insert(name, value),
            };
        }
        for (program, check) in programs.iter().flat_map(|program| [(*program, true), (*program, false)]) {
            let (env, permits) = (env.clone(), Arc::clone(&permits));
            running.spawn(async move {
                let _permit = permits.acquire_owned().await.unwrap();
                let output = tokio::task::spawn_blocking(move || run(program, &env, check)).await.unwrap();
                (program, check, wanted, output)
            });
        }
    }
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        let (program, check, wanted, output) = ended.unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let told = error.lines().count() == 1 && error.starts_with(&format!("{program}: {wanted}"));
        if output.status.code() != Some(2) || !told || format!("{out}{error}").contains("hidden") {
            wrong.push(format!("{program} (check: {check}), {}, wanted {wanted}\n{error}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_changes_nothing() {
    let servers = Servers::start().await;
    let postgres = testkit::postgres().await;
    let empty = postgres.create_database().await.unwrap();
    let env = servers.env(&postgres.url_for(&empty));
    for program in WITH_DATABASE {
        let env = env.clone();
        let output = tokio::task::spawn_blocking(move || run(program, &env, true)).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{program}: {output:?}");
    }
    let client = postgres.connect(&empty).await.unwrap();
    let tables = client.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", &[]).await.unwrap();
    assert_eq!(tables.len(), 0, "it waits for the start");
}
