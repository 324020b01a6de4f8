//! A running analyzer on a database and a Redis of the test's own, and a client for each kind of key.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::codec::encode_moments;
use domain::{Day, Moments};
use queue::Queue;
use queue::catalogue::Catalogue;
use queue::redis::RedisQueue;
use serde_json::Value;
use service::boot::{Boot, BootError, Listeners};
use service::settings::{Settings, Tier};
use store::{Experiment, Location, Store};
use testkit::Redis;
use testkit::http::{Client, Response};
use tokio::task::JoinHandle;

pub const PARTITIONS: u16 = 2;

pub struct Rig {
    pub addr: SocketAddr,
    pub internal: SocketAddr,
    pub redis: Redis,
    pub database: String,
    pub database_url: String,
    pub boot: Boot,
    pub serving: JoinHandle<Result<(), BootError>>,
    /// Tenant a, scopes admin and read.
    pub admin: Client,
}

pub async fn settings(database_url: &str, redis_url: &str, more: &[(&str, &str)]) -> Settings {
    let mut env = vec![
        ("AB_DATABASE_URL", database_url),
        ("AB_REDIS_URL", redis_url),
        ("AB_PARTITIONS", "2"),
        // What is told in time says nothing of how fast the machine is.
        ("AB_SLA_TIMEOUTS", "live-stats=1m"),
        (
            "AB_API_KEYS",
            "admin-a:a:admin,read;read-a:a:read;send-a:a:events;admin-b:b:admin,read;operator-a:a:read,operator",
        ),
    ];
    env.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    env.extend(more);
    Settings::for_testing(Tier::Analyzer, &env).unwrap()
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::start_with(&[]).await
    }

    pub async fn start_with(more: &[(&str, &str)]) -> Rig {
        let server = testkit::postgres().await;
        let database = server.create_database().await.unwrap();
        let url = server.url_for(&database);
        Rig::start_on(database, url, more).await
    }

    /// On a database that may be anywhere.
    pub async fn start_on(database: String, database_url: String, more: &[(&str, &str)]) -> Rig {
        let redis = Redis::start().await.unwrap();
        let settings = settings(&database_url, &redis.url(), more).await;
        let boot = Boot::embedded(settings).unwrap();
        let listeners = Listeners::loopback().await.unwrap();
        let (addr, internal) = (listeners.public_addr().unwrap(), listeners.internal_addr().unwrap());
        let serving = tokio::spawn(analyzer::serve(boot.clone(), listeners));
        let rig = Rig {
            addr,
            internal,
            redis,
            database,
            database_url,
            boot,
            serving,
            admin: client(addr, "admin-a"),
        };
        // Served only once the schema is there and the catalogue complete.
        assert_eq!(rig.admin.get("/health").await.unwrap().status, 200);
        rig
    }

    pub fn client(&self, key: &str) -> Client {
        client(self.addr, key)
    }

    pub async fn store(&self) -> Arc<dyn Store> {
        let url = self.database_url.clone();
        store::connect(&Location::Postgres { url, pool_size: 2 }).await.unwrap()
    }

    /// What a gateway sees.
    pub fn catalogue(&self) -> Box<dyn Catalogue> {
        queue(&self.redis.url()).catalogue(100)
    }

    pub async fn sql(&self, statements: &str) {
        testkit::postgres().await.execute(&self.database, statements).await.unwrap();
    }

    /// The only value of the only row.
    pub async fn sql_text(&self, query: &str) -> String {
        let client = testkit::postgres().await.connect(&self.database).await.unwrap();
        client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Creates and starts an experiment of tenant a.
    pub async fn running(&self, definition: &Value) -> Experiment {
        let created = self.admin.post_json("/api/v1/experiments", definition).await.unwrap();
        assert_eq!(created.status, 201, "{}", created.text());
        let key = definition["key"].as_str().unwrap();
        let started = self.post(&format!("/api/v1/experiments/{key}/start")).await;
        assert_eq!(started.status, 200, "{}", started.text());
        self.store().await.experiment("a", key).await.unwrap().unwrap()
    }

    pub async fn post(&self, path: &str) -> Response {
        self.admin.post(path, &[], "").await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.admin.get(path).await.unwrap()
    }

    pub async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json().unwrap()
    }

    /// A moments row, as the worker's transaction writes it.
    pub async fn moments(&self, e: &Experiment, partition: u16, variation: i16, day: Day, moments: &Moments) {
        self.arms(e, partition, day, &[(variation, moments)]).await;
    }

    /// Rows of several arms, all of which are there at once.
    pub async fn arms(&self, e: &Experiment, partition: u16, day: Day, arms: &[(i16, &Moments)]) {
        let (id, version) = (e.id, e.plan_version);
        let row = |(variation, moments): &(i16, &Moments)| {
            let vector: String = encode_moments(moments).iter().map(|b| format!("{b:02x}")).collect();
            format!(
                "INSERT INTO moments_keys (experiment, plan_version, partition, variation, stratum, phase)
                 VALUES ({id}, {version}, {partition}, {variation}, '', 0) ON CONFLICT DO NOTHING;
                 INSERT INTO moments (experiment, plan_version, partition, variation, stratum, phase, day, vector)
                 VALUES ({id}, {version}, {partition}, {variation}, '', 0, '{day}', '\\x{vector}')"
            )
        };
        // Sent together, they are one transaction.
        self.sql(&arms.iter().map(row).collect::<Vec<_>>().join(";")).await;
    }

    pub async fn counter(&self, experiment: i64, partition: u16, variation: i16, name: &str, n: i64) {
        self.sql(&format!(
            "INSERT INTO counters (tenant, experiment, partition, variation, day, name, n)
             VALUES ('a', {experiment}, {partition}, {variation}, '2026-03-01', '{name}', {n})"
        ))
        .await;
    }
}

pub fn queue(redis_url: &str) -> Arc<dyn Queue> {
    Arc::new(RedisQueue::new(redis_url, PARTITIONS, 0).unwrap())
}

pub fn client(addr: SocketAddr, key: &str) -> Client {
    Client::at(addr).bearer(key)
}

/// The problem document's code, and that it is complete.
pub fn code(answer: &Response) -> String {
    let problem = answer.json().unwrap();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["status"], answer.status);
    assert!(answer.header("x-request-id").is_some());
    problem["error_code"].as_str().unwrap().to_owned()
}

pub fn two_arms(key: &str) -> Value {
    serde_json::json!({
        "key": key,
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "purchase", "type": "proportion"}],
    })
}
