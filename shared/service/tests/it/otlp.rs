//! The settings of traces, with the feature `otlp` and without.

use service::settings::{Settings, SettingsError, Tier};

fn gateway(env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::for_testing(Tier::Gateway, &[env, &[("AB_REDIS_URL", "redis://localhost")]].concat())
}

#[cfg(not(feature = "otlp"))]
#[test]
fn without_the_feature_our_endpoint_is_refused_and_what_is_set_for_everybody_left_alone() {
    let refused = gateway(&[("AB_OTLP_ENDPOINT", "http://collector:4318")]).unwrap_err().to_string();
    assert_eq!(refused, "AB_OTLP_ENDPOINT: needs a program built with the feature otlp");
    let others = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://sampler"),
        ("OTEL_SERVICE_NAME", "checkout"),
    ];
    assert!(gateway(&others).unwrap().telemetry.otlp.is_none());
}

#[cfg(feature = "otlp")]
#[test]
fn standard_variables_count_where_ours_are_unset() {
    let standard = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YWI=, x-team=a+b"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_SERVICE_NAME", "checkout"),
    ];
    let settings = gateway(&standard).unwrap();
    let otlp = settings.telemetry.otlp.clone().unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.ratio), ("http://collector:4318", 0.25));
    let header =
        |name| otlp.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_str().unwrap());
    assert_eq!((header("authorization"), header("x-team")), (Some("Basic YWI="), Some("a+b")));
    assert!(!format!("{otlp:?}").contains("YWI"), "{otlp:?}");
    assert_eq!(otlp.service, "checkout");
    let shown: Vec<String> = settings.effective().iter().map(ToString::to_string).collect();
    assert!(shown.contains(&"AB_OTLP_HEADERS=*** (OTEL_EXPORTER_OTLP_HEADERS)".to_owned()), "{shown:?}");

    let ours = [("AB_OTLP_ENDPOINT", "https://other"), ("AB_OTLP_RATIO", "0")];
    let otlp = gateway(&[&standard[..], &ours].concat()).unwrap().telemetry.otlp.unwrap();
    assert_eq!((otlp.endpoint.as_str(), otlp.ratio), ("https://other", 0.0));
    let otlp = gateway(&ours).unwrap().telemetry.otlp.unwrap();
    assert_eq!(otlp.service, "ingest-gateway");
}

#[test]
fn headers_and_ratio_are_checked() {
    for (variable, value) in [
        ("AB_OTLP_HEADERS", "authorization"),
        ("AB_OTLP_HEADERS", "a b=c"),
        ("AB_OTLP_HEADERS", "a=%0a"),
        ("AB_OTLP_RATIO", "1.5"),
        ("AB_OTLP_RATIO", "-0.1"),
        ("AB_OTLP_RATIO", "NaN"),
        ("AB_OTLP_ENDPOINT", "collector:4317"),
    ] {
        let refused = gateway(&[(variable, value)]).unwrap_err().to_string();
        assert!(!refused.contains(value), "{refused}");
    }
}
