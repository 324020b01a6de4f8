use std::time::Duration;

use queue::redis::RedisQueue;
use queue::{Queue, QueueError, Weakness};
use testkit::Redis;

use crate::support::config;

async fn weaknesses(url: &str) -> Result<Vec<Weakness>, QueueError> {
    RedisQueue::with(config(url))?.weaknesses(Duration::ZERO).await
}

#[tokio::test]
async fn a_server_fit_for_production_has_no_weakness() {
    let redis = Redis::start().await.unwrap();
    assert_eq!(weaknesses(&redis.url()).await.unwrap(), []);
}

#[tokio::test]
async fn every_weak_setting_is_named_with_what_was_found() {
    let redis = Redis::start_with(&[
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "allkeys-lru"),
    ])
    .await
    .unwrap();
    let weakness =
        |setting, found: &str, wanted| Weakness { server: None, setting, found: found.to_owned(), wanted };
    assert_eq!(
        weaknesses(&redis.url()).await.unwrap(),
        [
            weakness("maxmemory-policy", "allkeys-lru", "noeviction"),
            weakness("maxmemory", "0", "a limit"),
            weakness("appendonly", "no", "yes"),
            weakness("appendfsync", "everysec", "always"),
            weakness("no-appendfsync-on-rewrite", "yes", "no"),
        ]
    );
}

#[tokio::test]
async fn a_server_that_does_not_tell_is_not_trusted() {
    let redis = Redis::start().await.unwrap();
    let acl = ["ACL", "SETUSER", "default", "on", "nopass", "~*", "&*", "+@all", "-config"];
    redis.command(&acl).await.unwrap();
    let weak = weaknesses(&redis.url()).await.unwrap();
    assert_eq!(weak.len(), 5);
    assert!(weak.iter().all(|weakness| weakness.found.is_empty()));
}

#[tokio::test]
async fn nobody_there_is_transient_and_a_wrong_url_or_password_is_not() {
    let port = testkit::free_port().unwrap();
    assert!(weaknesses(&format!("redis://127.0.0.1:{port}")).await.unwrap_err().is_transient());
    assert!(!weaknesses("no url").await.unwrap_err().is_transient());
    let redis = Redis::start().await.unwrap();
    let addr = redis.addr();
    let wrong = weaknesses(&format!("redis://somebody:wrong@{addr}")).await.unwrap_err();
    assert!(!wrong.is_transient());
    assert!(!format!("{wrong:?}").contains("wrong@"));
}
