//! The doctor, at servers that are made ill one way at a time.

use crate::deployment::abctl;
use abctl::doctor::check::State;
use abctl::doctor::clock::Clocks;
use domain::Timestamp;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use testkit::{Postgres, Redis};

const PASSWORD: &str = "hunter2-never-to-be-shown";

/// What it says: exit code, and each check's name, state and whole text.
struct Said {
    code: i32,
    checks: Vec<(String, String, String)>,
}

impl Said {
    fn of(database: &str, redis: &str, more: &[(&str, &str)]) -> Said {
        let env = [&[("AB_DATABASE_URL", database), ("AB_REDIS_URL", redis)], more].concat();
        let ran = abctl(&["doctor", "--json"], &env, None);
        assert_eq!(ran.error, "", "{}", ran.out);
        assert!(!ran.out.contains(PASSWORD), "{}", ran.out);
        let json: Value = serde_json::from_str(&ran.out).unwrap();
        let text = |check: &Value, of: &str| check[of].as_str().unwrap_or_default().to_owned();
        let checks = json["checks"].as_array().unwrap().iter();
        let checks: Vec<_> = checks
            .map(|c| (text(c, "name"), text(c, "state"), text(c, "found") + " / " + &text(c, "advice")))
            .collect();
        assert_eq!(json["healthy"], checks.iter().all(|(_, state, _)| state != "fail"));
        // Whoever has something to do is told what.
        assert!(checks.iter().all(|(_, state, said)| (state == "ok") == said.ends_with(" / ")));
        Said { code: ran.code, checks }
    }

    /// Names of the checks that are in this state. Disks are those of the machine.
    fn are(&self, state: &str) -> Vec<&str> {
        let is = |(name, is, _): &&(String, String, String)| is == state && !name.contains("disk");
        self.checks.iter().filter(is).map(|(name, ..)| name.as_str()).collect()
    }

    fn says(&self, name: &str) -> &str {
        &self.checks.iter().find(|(of, ..)| of == name).unwrap().2
    }

    /// Nothing else fails.
    fn fails_only(&self, name: &str, wanted: &str) {
        assert_eq!(self.are("fail"), [name], "{:?}", self.checks);
        assert_eq!(self.code, 1);
        assert!(self.says(name).contains(wanted), "{}", self.says(name));
    }
}

/// A database that is ready to be used.
async fn ready(postgres: &Postgres) -> String {
    let url = postgres.url_for(&postgres.create_database().await.unwrap());
    abctl(&["migrate", "up"], &[("AB_DATABASE_URL", &url)], None).ok();
    url
}

/// The same, used by a deployment of 16 partitions.
async fn used(postgres: &Postgres) -> (String, String) {
    let url = ready(postgres).await;
    let database = url.rsplit('/').next().unwrap().to_owned();
    let settings =
        "INSERT INTO settings VALUES ('partitions', '16'); INSERT INTO partitions (partition) VALUES (0)";
    postgres.execute(&database, settings).await.unwrap();
    (url, database)
}

fn redis_cli(redis: &Redis) -> redis::Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_well_is_called_well() {
    let (postgres, redis) = (Postgres::start().await.unwrap(), Redis::start().await.unwrap());
    let (url, _) = used(&postgres).await;
    let said = Said::of(&url, &redis.url(), &[]);
    assert_eq!((said.are("fail"), said.are("warn")), (vec![], vec!["owners"]), "{:?}", said.checks);
    for name in
        ["postgres", "redis", "schema", "partitions", "permissions", "backlog", "books", "clock of redis"]
    {
        assert!(said.are("ok").contains(&name), "{name}: {:?}", said.checks);
    }
    let env = [("AB_DATABASE_URL", url.as_str()), ("AB_REDIS_URL", &redis.url())];
    let table = abctl(&["doctor"], &env, None);
    assert!(table.out.contains("ok    redis durability"), "{}", table.out);
    assert!(table.out.lines().last().unwrap().starts_with("doctor: "), "{}", table.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_forget_are_told() {
    let redis = Redis::start().await.unwrap();
    for (setting, name) in [
        ("fsync", "postgres fsync"),
        ("full_page_writes", "postgres full_page_writes"),
        ("synchronous_commit", "postgres synchronous_commit"),
    ] {
        let postgres = Postgres::start_with(&[(setting, "off")]).await.unwrap();
        Said::of(&ready(&postgres).await, &redis.url(), &[]).fails_only(name, "off / set it to on");
    }
    let postgres = testkit::postgres().await;
    let url = ready(postgres).await;
    for (setting, value) in [
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory", "0"),
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
    ] {
        let redis = Redis::start_with(&[(setting, value)]).await.unwrap();
        let said = Said::of(&url, &redis.url(), &[]);
        let of_redis: Vec<_> =
            said.are("fail").into_iter().filter(|name| name.starts_with("redis")).collect();
        assert_eq!(of_redis, ["redis durability"], "{setting}: {:?}", said.checks);
        assert!(said.says("redis durability").contains(setting), "{:?}", said.checks);
        let allowed = Said::of(&url, &redis.url(), &[("AB_ALLOW_WEAK_DURABILITY", "true")]);
        assert!(allowed.are("warn").contains(&"redis durability"), "{:?}", allowed.checks);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_answer_or_only_follow_are_told() {
    let (postgres, redis) = (Postgres::start().await.unwrap(), Redis::start().await.unwrap());
    let (url, database) = used(&postgres).await;
    let nobody = testkit::free_port().unwrap();
    let gone = format!("postgres://ab:{PASSWORD}@127.0.0.1:{nobody}/x");
    Said::of(&gone, &redis.url(), &[]).fails_only("postgres", "is it running");
    let gone = format!("redis://:{PASSWORD}@127.0.0.1:{nobody}");
    Said::of(&url, &gone, &[]).fails_only("redis", "is it running");

    let standby = postgres.standby(postgres.addr()).await.unwrap();
    let followed = || async {
        let client = standby.connect(&database).await?;
        Ok::<_, anyhow::Error>(
            client.query("SELECT 1 FROM partitions", &[]).await.is_ok_and(|rows| rows.len() == 1),
        )
    };
    testkit::eventually("the standby follows", std::time::Duration::from_secs(60), || async {
        followed().await.unwrap_or(false)
    })
    .await
    .unwrap();
    let said = Said::of(&standby.url_for(&database), &redis.url(), &[]);
    assert_eq!(said.are("fail"), ["postgres role", "permissions"], "{:?}", said.checks);
    assert!(said.says("postgres role").contains("standby"));

    let replica = Redis::start().await.unwrap();
    let port = redis.addr().port().to_string();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut redis_cli(&replica)).unwrap();
    Said::of(&url, &replica.url(), &[]).fails_only("redis role", "a replica");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_deployment_lacks_is_told() {
    let (postgres, redis) = (Postgres::start().await.unwrap(), Redis::start().await.unwrap());
    let empty = postgres.url_for(&postgres.create_database().await.unwrap());
    Said::of(&empty, &redis.url(), &[]).fails_only("schema", "abctl migrate up");
    let (url, database) = used(&postgres).await;
    let eight = [("AB_PARTITIONS", "8")];
    Said::of(&url, &redis.url(), &eight).fails_only("partitions", "16 recorded, AB_PARTITIONS says 8");

    let role = format!(
        "CREATE ROLE looker LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker"
    );
    postgres.execute(&database, &role).await.unwrap();
    let looker = format!("postgres://looker:{PASSWORD}@{}/{database}", postgres.addr());
    Said::of(&looker, &redis.url(), &[]).fails_only("permissions", "permission denied");

    let silent = "INSERT INTO workers VALUES (gen_random_uuid(), now() - interval '1 hour', '{}', '{}')";
    postgres.execute(&database, silent).await.unwrap();
    let said = Said::of(&url, &redis.url(), &[]);
    assert!(said.says("owners").contains("0 workers live, 1 are silent"), "{:?}", said.checks);
    // One that is silent and holds a partition.
    let holder = postgres.connect(&database).await.unwrap();
    holder
        .batch_execute(
            "SELECT pg_advisory_lock(1633841249, 3); UPDATE workers SET pids = ARRAY[pg_backend_pid()]",
        )
        .await
        .unwrap();
    Said::of(&url, &redis.url(), &[]).fails_only("owners", "1 of them by silent workers");
    drop(holder);
    postgres.execute(&database, "DELETE FROM workers").await.unwrap();

    // An entry of long ago, which nobody has applied.
    redis::cmd("XADD")
        .arg("ab:{events:00}")
        .arg("1000-1")
        .arg("w")
        .arg("x")
        .exec(&mut redis_cli(&redis))
        .unwrap();
    Said::of(&url, &redis.url(), &[]).fails_only("backlog", "the oldest waits");

    let later = "INSERT INTO refinery_schema_history VALUES (999, 'later', '2026-01-01T00:00:00Z', '1')";
    postgres.execute(&database, later).await.unwrap();
    Said::of(&url, &redis.url(), &[]).fails_only("schema", "a later release was here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_of_transactions_is_found_out() {
    let (postgres, redis) = (testkit::postgres().await, Redis::start().await.unwrap());
    let url = ready(postgres).await;
    let database = url.rsplit('/').next().unwrap();
    let pooler = pooler(postgres.addr(), database);
    let pooled = format!("postgres://abstream@{pooler}/{database}");
    let said = Said::of(&pooled, &redis.url(), &[]);
    assert!(said.are("fail").contains(&"postgres sessions"), "{:?}", said.checks);
    assert!(Said::of(&url, &redis.url(), &[]).are("ok").contains(&"postgres sessions"));
}

#[test]
fn clocks_that_are_apart_are_told() {
    let now = || abctl::simulate::now_ms().unwrap();
    // Asked so long ago, in seconds: whatever was the time since then may be what was meant.
    for (ago, seconds, wanted) in [
        (0, 0, State::Ok),
        (0, 30, State::Warn),
        (0, -30, State::Warn),
        (0, 3_600, State::Fail),
        (100, -99, State::Ok),
        (100, -103, State::Warn),
        (100, -170, State::Fail),
    ] {
        let (mut clocks, mut checks) = (Clocks::default(), Vec::new());
        let now = now();
        let said = Timestamp((now + seconds * 1_000) * 1_000);
        clocks.read("clock of x", now - ago * 1_000, said).unwrap();
        clocks.compare(&mut checks).unwrap();
        assert_eq!(checks[0].state, wanted, "{:?}", checks[0]);
    }
}

/// One session of the server, lent to its clients a transaction at a time, as PgBouncer does. It ends with the test.
fn pooler(server: SocketAddr, database: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut session = TcpStream::connect(server).unwrap();
    let mut startup = 196_608_u32.to_be_bytes().to_vec();
    startup.extend(format!("user\0abstream\0database\0{database}\0\0").as_bytes());
    session.write_all(&u32::try_from(startup.len() + 4).unwrap().to_be_bytes()).unwrap();
    session.write_all(&startup).unwrap();
    let mut greeting = Vec::new();
    relay(&mut session, &mut greeting);
    let session = Arc::new(Mutex::new(session));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (session, greeting) = (session.clone(), greeting.clone());
            std::thread::spawn(move || serve(client.unwrap(), &session, &greeting));
        }
    });
    addr
}

/// `None` at the end of the connection. A startup message has no tag.
fn message(from: &mut TcpStream, tagged: bool) -> Option<Vec<u8>> {
    let mut message = vec![0; if tagged { 5 } else { 4 }];
    from.read_exact(&mut message).ok()?;
    let length = u32::from_be_bytes(message[message.len() - 4..].try_into().unwrap());
    let head = message.len();
    message.resize(head + length as usize - 4, 0);
    from.read_exact(&mut message[head..]).ok()?;
    Some(message)
}

/// Everything up to where the server is ready for the next.
fn relay(session: &mut TcpStream, client: &mut impl Write) {
    while let Some(message) = message(session, true) {
        client.write_all(&message).unwrap();
        if message[0] == b'Z' {
            return;
        }
    }
}

fn serve(mut client: TcpStream, session: &Mutex<TcpStream>, greeting: &[u8]) {
    if message(&mut client, false).is_none() {
        return;
    }
    client.write_all(greeting).unwrap();
    let mut asked = Vec::new();
    while let Some(message) = message(&mut client, true) {
        match message[0] {
            b'X' => return,
            b'Q' | b'S' => {
                asked.extend(message);
                let mut session = session.lock().unwrap();
                session.write_all(&asked).unwrap();
                asked.clear();
                relay(&mut session, &mut client);
            }
            _ => asked.extend(message),
        }
    }
}
