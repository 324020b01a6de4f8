use super::error::Refusal;
use hyper::header::{HeaderName, HeaderValue};

/// Where traces go, and of which requests. Only the feature `otlp` sends any.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// `/v1/traces` comes behind it.
    pub endpoint: String,
    /// Their values never show.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Of the requests without a `traceparent`, 0 to 1.
    pub ratio: f64,
    pub service: String,
}

impl Otlp {
    /// `None` without an endpoint.
    pub fn parse(
        endpoint: Option<&str>,
        headers: Option<&str>,
        ratio: Option<&str>,
        service: Option<&str>,
    ) -> Result<Option<Self>, Refusal> {
        let refused = |reason: &str| Err(Refusal::new("AB_OTLP_ENDPOINT", reason));
        let Some(endpoint) = endpoint else { return Ok(None) };
        if !cfg!(feature = "otlp") {
            return refused("needs a program built with the feature otlp");
        }
        if endpoint.starts_with("https://") && !cfg!(feature = "tls") {
            return refused("needs a program built with the feature tls");
        }
        Ok(Some(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            headers: parse_headers(headers.unwrap_or_default()).flatten().collect(),
            ratio: ratio.and_then(|text| text.parse().ok()).unwrap_or(1.0),
            service: service.unwrap_or_default().to_owned(),
        }))
    }
}

/// Syntax of `AB_OTLP_HEADERS`, which is that of `OTEL_EXPORTER_OTLP_HEADERS`.
pub fn check_headers(text: &str) -> Result<(), String> {
    let wrong = parse_headers(text).any(|pair| pair.is_none());
    if wrong { Err("must read name=value,name=value (values percent-encoded)".into()) } else { Ok(()) }
}

/// `None`: not such a pair.
fn parse_headers(text: &str) -> impl Iterator<Item = Option<(HeaderName, HeaderValue)>> {
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
    })
}

/// Syntax of `AB_OTLP_RATIO`.
pub fn check_ratio(text: &str) -> Result<(), String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
        _ => Err("must be a number from 0 to 1 (OTEL_TRACES_SAMPLER_ARG counts as it)".into()),
    }
}
