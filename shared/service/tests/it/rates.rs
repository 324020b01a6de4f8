use service::settings::{Rate, Rates, Settings, Tier};

const REDIS: (&str, &str) = ("AB_REDIS_URL", "redis://h");

fn rates(env: &[(&str, &str)]) -> Result<Rates, String> {
    let settings = Settings::for_testing(Tier::Gateway, &[&[REDIS], env].concat());
    settings.map(|settings| settings.ingest.rates.clone()).map_err(|refusal| refusal.to_string())
}

#[test]
fn nobody_is_limited_unless_it_is_said() {
    assert_eq!(rates(&[]).unwrap().of("acme"), Rate { events: None, requests: None });
}

#[test]
fn a_tenant_has_the_limits_said_of_it_and_for_the_rest_those_of_everybody() {
    let said = "# bulk imports\nacme: events=5000\n globex:events=unlimited , requests=7;";
    let env =
        [("AB_RATE_LIMIT_EVENTS", "100"), ("AB_RATE_LIMIT_REQUESTS", "10"), ("AB_RATE_LIMIT_TENANTS", said)];
    let rates = rates(&env).unwrap();
    assert_eq!(rates.of("other"), Rate { events: Some(100), requests: Some(10) });
    assert_eq!(rates.of("acme"), Rate { events: Some(5_000), requests: Some(10) });
    assert_eq!(rates.of("globex"), Rate { events: None, requests: Some(7) });
}

#[test]
fn what_cannot_be_read_is_refused_by_number() {
    for (said, reason) in [
        ("acme", "entry 1: must read"),
        ("acme:events", "entry 1: must read"),
        ("acme:events=1;globex:events=0", "entry 2: a limit is 1 or more"),
        ("acme:events=-1", "entry 1: a limit is 1 or more"),
        ("acme:bytes=1", "entry 1: limits are of events and of requests"),
        ("a b:events=1", "entry 1: a tenant is"),
        ("acme:events=1;acme:events=2", "entry 2: the tenant has an entry already"),
    ] {
        let refusal = rates(&[("AB_RATE_LIMIT_TENANTS", said)]).unwrap_err();
        assert!(refusal.starts_with(&format!("AB_RATE_LIMIT_TENANTS: {reason}")), "{refusal}");
    }
    assert!(rates(&[("AB_RATE_LIMIT_EVENTS", "0")]).is_err());
}
