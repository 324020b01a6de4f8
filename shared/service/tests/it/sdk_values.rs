use service::settings::{SdkValue, SdkValues, Settings, Tier};

fn property(path: &str) -> SdkValue {
    SdkValue::Property(path.split('.').map(str::to_owned).collect())
}

#[test]
fn values_are_found_by_tenant_and_event() {
    let text = "
        # what the shop's events are worth
        shop:Order Completed = cart.total; shop:a=b=net
        shop:Signed Up=
        acme:*=amount";
    let values = SdkValues::parse(text).unwrap();
    let cases = [
        ("shop", "Order Completed", Some(property("cart.total"))),
        ("shop", "a=b", Some(property("net"))),
        ("shop", "Signed Up", Some(SdkValue::One)),
        ("shop", "order completed", None),
        ("acme", "Order Completed", Some(property("amount"))),
        ("acme", "*", Some(property("amount"))),
        ("default", "Order Completed", None),
    ];
    for (tenant, event, expected) in cases {
        assert_eq!(values.find(tenant, event), expected.as_ref(), "{tenant} {event}");
    }
    assert_eq!(SdkValues::parse(" \n;; # nothing\n").unwrap(), SdkValues::default());
}

#[test]
fn the_example_in_the_documentation_is_one() {
    let page = include_str!("../../../../ops/docs/sdks/README.md");
    let example = page.split("```yaml\nsdk_values: |\n").nth(1).unwrap().split("```").next().unwrap();
    let values = SdkValues::parse(example).unwrap();
    assert_eq!(values.find("default", "Order Completed"), Some(&property("cart.total")));
    assert_eq!(values.find("default", "Newsletter Joined"), Some(&SdkValue::One));
    assert_eq!(values.find("acme", "anything"), Some(&property("amount")));
}

#[test]
fn mistakes_name_the_entry() {
    let long = format!("shop:{}=x", "e".repeat(101));
    let cases = [
        ("shop:a=b;nonsense", "entry 2: must read tenant:event=property"),
        ("shop=b", "entry 1: must read"),
        ("shop:event", "entry 1: must read"),
        ("the shop:a=b", "entry 1: a tenant is"),
        (":a=b", "entry 1: a tenant is"),
        ("shop:=b", "entry 1: an event has"),
        (long.as_str(), "entry 1: an event has"),
        ("shop:a=b..c", "entry 1: a property is"),
        ("shop:a=.b", "entry 1: a property is"),
        ("shop:a=b\nshop:a=c", "entry 2: the event has an entry already"),
    ];
    for (text, reason) in cases {
        let error = SdkValues::parse(text).unwrap_err();
        assert!(error.starts_with(reason), "{text}: {error}");
    }
}

#[test]
fn a_settings_file_may_hold_them_as_a_block() {
    let file = std::env::temp_dir().join(format!("abstream-sdk-values-{}.yaml", uuid::Uuid::new_v4()));
    std::fs::write(&file, "redis_url: redis://h\nsdk_values: |\n  # one a line\n  shop:a=b.c\n  shop:*=d\n")
        .unwrap();
    let settings = Settings::for_testing(Tier::Gateway, &[("AB_CONFIG", file.to_str().unwrap())]);
    std::fs::remove_file(&file).unwrap();
    let values = settings.unwrap().ingest.sdk_values;
    assert_eq!(values.find("shop", "a"), Some(&property("b.c")));
    assert_eq!(values.find("shop", "else"), Some(&property("d")));

    let env = [("AB_REDIS_URL", "redis://h"), ("AB_SDK_VALUES", "shop:a")];
    let refusal = Settings::for_testing(Tier::Gateway, &env).unwrap_err().to_string();
    assert_eq!(refusal, "AB_SDK_VALUES: entry 1: must read tenant:event=property");
}
