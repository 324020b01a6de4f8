use crate::kit::{ADMIN, ENV, READER, SENDER, start};
use prometheus::IntGauge;
use service::auth::{Keys, KeysFile, Look, Scopes, Throttle};
use service::settings::{Refusal, Settings, SettingsError, Tier};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn keys(api_keys: &str) -> Result<Keys, Refusal> {
    let env = [("AB_REDIS_URL", "redis://h"), ("AB_API_KEYS", api_keys)];
    match Settings::for_testing(Tier::Gateway, &env) {
        Ok(settings) => Keys::new(&settings.auth, false),
        Err(SettingsError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn tokens_and_api_keys_give_tenant_and_scopes() {
    let settings = Settings::for_testing(Tier::Gateway, ENV).unwrap();
    let keys = Keys::new(&settings.auth, false).unwrap();
    let expected = [
        (SENDER, "default", Scopes::INGEST.union(Scopes::EVENTS).union(Scopes::READ)),
        (READER, "default", Scopes::READ),
        (ADMIN, "default", Scopes::ALL),
        ("browser-key", "shop", Scopes::EVENTS),
        ("other-key", "other", Scopes::INGEST),
    ];
    for (key, tenant, scopes) in expected {
        let principal = keys.find(key).unwrap();
        assert_eq!((&*principal.tenant, principal.scopes), (tenant, scopes), "{key}");
    }
    for unknown in ["", "sender", "sender-key ", "default"] {
        assert!(keys.find(unknown).is_none(), "{unknown:?}");
    }
    assert!(!format!("{keys:?} {settings:?}").contains("sender-key"));
}

#[test]
fn a_key_may_be_given_by_its_digest() {
    // SHA-256 of "abc" (FIPS 180-2, example B.1).
    let abc = "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD:shop:read,admin";
    let principal = keys(abc).unwrap().find("abc").unwrap();
    assert_eq!((&*principal.tenant, principal.scopes), ("shop", Scopes::READ.union(Scopes::ADMIN)));
}

#[test]
fn bad_entries_are_refused_without_showing_the_key() {
    let bad = [
        "topkey",
        "topkey:shop",
        "topkey:shop:fly",
        "topkey:shop:",
        "topkey::read",
        "topkey:a b:read",
        "top key:shop:read",
        "sha256:topkey:shop:read",
        ":shop:read",
        "topkey:shop:read;topkey:other:read",
    ];
    for text in bad {
        let refusal = keys(text).unwrap_err();
        assert_eq!(refusal.variable, "AB_API_KEYS", "{text}");
        assert!(!refusal.to_string().contains("topkey"), "{refusal}");
    }
    let env = [("AB_REDIS_URL", "redis://h"), ("AB_API_TOKEN", "same"), ("AB_ADMIN_TOKEN", "same")];
    let error = Settings::for_testing(Tier::Gateway, &env).unwrap_err().to_string();
    assert!(error.starts_with("AB_ADMIN_TOKEN: holds a key that is configured twice"), "{error}");
}

#[tokio::test]
async fn missing_unknown_and_insufficient_keys() {
    let server = start().await;
    let missing = server.ask("POST", "/ingest", &[], b"{}").await;
    missing.is_problem(401, "missing_key");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    server
        .ask("POST", "/ingest", &[("Authorization", "Basic c2VuZGVyLWtleTo=")], b"")
        .await
        .is_problem(401, "missing_key");
    server.ask("POST", "/ingest", &[("X-API-Key", "guess")], b"{}").await.is_problem(401, "unknown_key");
    for lacking in [READER, "browser-key"] {
        server
            .ask("POST", "/ingest", &[("X-API-Key", lacking)], b"{}")
            .await
            .is_problem(403, "missing_scope");
    }
    assert_eq!(server.app.handled.load(std::sync::atomic::Ordering::SeqCst), 0);
    for header in [
        ("Authorization", "Bearer sender-key"),
        ("authorization", "bearer sender-key"),
        ("X-API-Key", SENDER),
    ] {
        let answer =
            server.ask("POST", "/ingest", &[header, ("Content-Type", "application/json")], b"{}").await;
        assert_eq!((answer.status, &answer.json()["tenant"]), (200, &"default".into()));
    }
    server.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_valid_keys_are_not() {
    let server = start().await;
    for _ in 0..20 {
        server.ask("POST", "/ingest", &[("X-API-Key", "guess")], b"").await.is_problem(401, "unknown_key");
    }
    let answer = server.ask("POST", "/ingest", &[("X-API-Key", "guess")], b"").await;
    answer.is_problem(429, "too_many_unknown_keys");
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    assert_eq!(server.echo(&[], b"{}").await.status, 200);
    server.stop().await;
}

#[test]
fn throttle_counts_by_address_and_minute() {
    let throttle = Throttle::default();
    let (one, two): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let start = Instant::now();
    assert!((0..20).all(|_| throttle.unknown_key(one, start).is_ok()));
    assert_eq!(throttle.unknown_key(one, start + Duration::from_secs(20)), Err(Duration::from_secs(40)));
    assert!(throttle.unknown_key(two, start).is_ok());
    assert!(throttle.unknown_key(one, start + Duration::from_secs(60)).is_ok());
    // Addresses of one IPv6 customer count together, and a mapped IPv4 address as itself.
    let (six, neighbour) = ("2001:db8::1".parse().unwrap(), "2001:db8::2:3:4:5".parse().unwrap());
    assert!((0..20).all(|_| throttle.unknown_key(six, start).is_ok()));
    assert!(throttle.unknown_key(neighbour, start).is_err());
    assert!((0..19).all(|_| throttle.unknown_key("::ffff:10.0.0.2".parse().unwrap(), start).is_ok()));
    assert!(throttle.unknown_key(two, start).is_err());
}

#[test]
fn throttle_is_bounded_and_addresses_past_it_share_a_count() {
    let throttle = Throttle::with_capacity(2);
    let address = |last: u8| IpAddr::from([10, 0, 0, last]);
    let start = Instant::now();
    for known in [1, 2] {
        assert!(throttle.unknown_key(address(known), start).is_ok());
    }
    assert!((3..23).all(|last| throttle.unknown_key(address(last), start).is_ok()));
    assert!(throttle.unknown_key(address(99), start).is_err());
    assert!(throttle.unknown_key(address(1), start).is_ok());
    assert!(
        throttle.unknown_key(address(99), start + Duration::from_secs(61)).is_ok(),
        "old addresses make room"
    );
}

#[tokio::test]
async fn a_kept_file_has_the_last_word_on_its_keys() {
    let path = std::env::temp_dir().join(format!("abstream-kept-{}", uuid::Uuid::new_v4()));
    let env = [("AB_API_TOKEN", "printed"), ("AB_API_KEYS", "printed-too:shop:read;other:shop:read")];
    let settings = Settings::for_testing(Tier::OneProcess, &env).unwrap();
    let keys = Arc::new(Keys::new(&settings.auth, false).unwrap());
    assert!(keys.files().is_empty());
    keys.keep(&path, "printed:default:read,admin\nprinted-too:default:events\n").unwrap();
    assert_eq!(keys.files(), std::slice::from_ref(&path));
    assert_eq!(keys.find("printed").unwrap().scopes, Scopes::READ.union(Scopes::ADMIN));
    assert_eq!(&*keys.find("printed-too").unwrap().tenant, "default");
    assert!(keys.find("other").is_some());

    let refused = IntGauge::new("refused", "of the test").unwrap();
    let mut file = KeysFile::new(Arc::clone(&keys), path.clone(), refused);
    std::fs::write(&path, "third:default:read\n").unwrap();
    assert_eq!((file.look().await, file.look().await), (Look::Fresh, Look::Taken));
    assert!(keys.find("third").is_some() && keys.find("other").is_some());
    let token = keys.find("printed").unwrap().scopes;
    assert!(token.has(Scopes::INGEST), "what the file no longer says is as configured");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_kept_file_with_a_mistake_is_named_without_its_keys() {
    let settings = Settings::for_testing(Tier::OneProcess, &[]).unwrap();
    let keys = Keys::new(&settings.auth, false).unwrap();
    let path = std::path::Path::new("/data/keys");
    for text in ["topkey", "topkey:shop:fly", "topkey:a:read\ntopkey:b:read"] {
        let line = keys.keep(path, text).unwrap_err().to_string();
        assert!(line.starts_with("AB_DATA: /data/keys: entry ") && !line.contains("topkey"), "{line}");
        assert!(keys.is_empty() && keys.files().is_empty());
    }
}
