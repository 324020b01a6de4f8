//! What the settings file may hold besides plain values, and what it shadows.

use crate::settings::{REDIS, TempFile, effective, gateway, load, refused};
use service::settings::{Rate, SdkValue, Settings, SettingsError, Source, Tier};

fn with(text: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let file = TempFile::new(text);
    gateway(&[env, &[("AB_CONFIG", file.path())]].concat(), &[])
}

#[test]
fn lists_and_mappings_are_real_ones() {
    let text = "\
cors_origins:
  - https://shop.example
  - https://${HOST}
trusted_proxies: [10.0.0.0/8, 192.168.0.1]
api_keys:
  - ${KEY}:shop:events
  - sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef:shop:ingest,read
rate_limit_events: 100
rate_limit_tenants:
  acme: {events: 5000, requests: 7}
  globex:
    events: unlimited
sla_timeouts:
  live-stats: 2s
  live-stats:acme/checkout: 250ms
  timeseries: ${SLOW}
sdk_values:
  acme: {purchase: total.amount, 'a=b': v, login: }
  globex: {'*': '${VALUE}'}
";
    let settings =
        with(text, &[("HOST", "m.example"), ("KEY", "k-1"), ("VALUE", "value"), ("SLOW", "1m")]).unwrap();
    let shown = |name| effective(&settings, name).shown.clone().unwrap();
    assert_eq!(shown("AB_CORS_ORIGINS"), "https://shop.example,https://m.example");
    assert_eq!(shown("AB_TRUSTED_PROXIES"), "10.0.0.0/8,192.168.0.1");
    let keys = settings.auth.api_keys.as_ref().unwrap().expose();
    assert!(keys.starts_with("k-1:shop:events;sha256:01") && keys.ends_with(":shop:ingest,read"), "{keys}");
    let rates = &settings.ingest.rates;
    assert_eq!(rates.of("acme"), Rate { events: Some(5000), requests: Some(7) });
    assert_eq!(rates.of("globex"), Rate { events: None, requests: None });
    assert_eq!(rates.of("other"), Rate { events: Some(100), requests: None });
    let budget = |class, experiment| {
        settings.http.budgets.of(class, "acme", Some(experiment)).map(|budget| budget.as_millis())
    };
    assert_eq!(budget("live-stats", "checkout"), Some(250));
    assert_eq!(budget("live-stats", "pricing"), Some(2_000));
    assert_eq!(budget("timeseries", "checkout"), Some(60_000));
    assert_eq!(budget("ingest", "checkout"), Some(5_000));
    let values = &settings.ingest.sdk_values;
    let property = |names: &[&str]| SdkValue::Property(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(values.find("acme", "purchase"), Some(&property(&["total", "amount"])));
    assert_eq!(values.find("acme", "a=b"), Some(&property(&["v"])));
    assert_eq!(values.find("acme", "login"), Some(&SdkValue::One));
    assert_eq!(values.find("globex", "anything"), Some(&property(&["value"])));
}

#[test]
fn the_text_of_the_variable_and_a_list_of_its_entries_will_do() {
    for text in [
        "rate_limit_tenants: acme:events=5,requests=6;globex:events=7\n",
        "rate_limit_tenants: ['acme:events=5,requests=6', 'globex:events=7']\n",
        "rate_limit_tenants: {acme: {events: 5, requests: 6}, globex: {events: 7}}\n",
    ] {
        let settings = with(text, &[]).unwrap();
        assert_eq!(settings.ingest.rates.of("acme"), Rate { events: Some(5), requests: Some(6) });
        assert_eq!(settings.ingest.rates.of("globex"), Rate { events: Some(7), requests: None });
    }
    for text in [
        "sla_timeouts: ingest=3s;live-stats:acme/a=2s\n",
        "sla_timeouts: [ingest=3s, 'live-stats:acme/a=2s']\n",
        "sla_timeouts: {ingest: 3s, 'live-stats:acme/a': 2s}\n",
    ] {
        let settings = with(text, &[]).unwrap();
        let shown = effective(&settings, "AB_SLA_TIMEOUTS").shown.clone().unwrap();
        assert_eq!(shown, "ingest=3s;live-stats:acme/a=2s", "{text}");
    }
    let settings = with("cors_origins: []\napi_keys:\n", &[]).unwrap();
    assert_eq!(
        effective(&settings, "AB_CORS_ORIGINS").shown,
        None,
        "an empty list is nothing, not the default"
    );
    assert_eq!(effective(&settings, "AB_API_KEYS").source, Source::File);
}

#[test]
fn a_value_never_becomes_two() {
    let stolen = [("V", "k:shop:events;other:victim:admin"), ("L", "k:shop:events\nother:victim:admin")];
    for (text, key) in [
        ("api_keys: ['${V}']\n", "api_keys"),
        ("api_keys: ['${L}']\n", "api_keys"),
        ("cors_origins: ['https://a.example,https://b.example']\n", "cors_origins"),
        ("rate_limit_tenants: {acme: {events: '5,requests=9'}}\n", "rate_limit_tenants"),
        ("rate_limit_tenants: {acme: {'events=5;b:events': 9}}\n", "rate_limit_tenants"),
        ("rate_limit_tenants: {'acme:events=5;b': {events: 9}}\n", "rate_limit_tenants"),
        ("sdk_values: {acme: {purchase: '${V}'}}\n", "sdk_values"),
        ("sla_timeouts: {ingest: '5s;timeseries=1h'}\n", "sla_timeouts"),
        ("sla_timeouts: {'ingest=5s;timeseries': 1h}\n", "sla_timeouts"),
    ] {
        let line = refused(with(text, &stolen));
        assert!(
            line.starts_with(&format!("{key}: an item of it holds a line end or one of ")),
            "{text}{line}"
        );
        assert!(!line.contains("victim"), "{line}");
    }
    let line = refused(with("rate_limit_tenants: {acme: {bytes: 9}}\n", &[]));
    assert_eq!(line, "AB_RATE_LIMIT_TENANTS: entry 1: limits are of events and of requests");
    let line = refused(with("sla_timeouts: {ingest: }\n", &[]));
    assert_eq!(line, "AB_SLA_TIMEOUTS: entry 1: a budget is 1ms to 1h, with its unit");
    let line = refused(with("cors_origins: ['${NOBODY}']\n", &[]));
    assert_eq!(line, "cors_origins: needs the variable NOBODY, which is not set");
}

#[test]
fn every_variable_the_file_shadows_is_named() {
    let key = TempFile::new("a-key-in-a-file");
    let text = "port: 7000\napi_token: k\npartitions: 4\nallow_weak_durability: true\nadmin_token_file: ";
    let text = format!("{text}{}\n", key.path());
    let env = [
        ("PORT", "1"),
        ("AB_API_TOKEN_FILE", "/nowhere"),
        ("AB_ADMIN_TOKEN", "x"),
        ("AB_PARTITIONS", "8"),
        ("AB_MAX_LOADED", "9"),
    ];
    // A file that shadows a variable is not read for it.
    let line = refused(with(&text, &env));
    assert!(line.starts_with("AB_API_TOKEN_FILE: cannot read /nowhere"), "{line}");
    let env = env.map(|(name, value)| (name, if value == "/nowhere" { key.path() } else { value }));
    let settings = with(&text, &env).unwrap();
    assert_eq!(settings.shadowed(), ["PORT", "AB_API_TOKEN_FILE", "AB_ADMIN_TOKEN", "AB_PARTITIONS"]);
    assert_eq!((settings.http.port, settings.queue.partitions), (7000, Some(4)));
    assert_eq!(settings.auth.api_token.as_ref().unwrap().expose(), "k");
    assert_eq!(effective(&settings, "AB_MAX_LOADED").source, Source::Environment);
}

#[test]
fn one_file_serves_all_tiers() {
    let file = TempFile::new(
        "redis_url: redis://h\ndatabase_url: postgres://h/db\nmax_loaded: 5\napply_max_events: 6\nurl: http://h\n",
    );
    for tier in [Tier::Gateway, Tier::Worker, Tier::Analyzer, Tier::OneProcess, Tier::Tool] {
        let settings = load(tier, &[("AB_CONFIG", file.path()), REDIS], &[]).unwrap();
        assert_eq!(settings.shadowed(), ["AB_REDIS_URL"]);
    }
}
