//! Traces as a collector gets them, built with the feature `otlp` (`make otlp`).

use crate::support::two_arms;
use e2e::{Deployment, Setup, System};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::Client;
use tokio::net::TcpListener;

const JSON: (&str, &str) = ("content-type", "application/json");
const WAIT: (&str, &str) = ("prefer", "wait=30");
const FOLLOWED: &str = "0af7651916cd43dd8448eb211c80319c";
const NOT_FOLLOWED: &str = "1af7651916cd43dd8448eb211c80319c";
const OF_CLIENT: &str = "b7ad6b7169203331";

/// Spans with the name of the service they are of.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// Takes what is sent with its header, and nothing else.
async fn collector() -> (SocketAddr, Spans) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, spans) = (listener.local_addr().unwrap(), Spans::default());
    let taken = spans.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let taken = taken.clone();
            let take = service_fn(move |request| take(request, taken.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), take));
        }
    });
    (addr, spans)
}

async fn take(request: Request<Incoming>, taken: Spans) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() != "/v1/traces" || head.headers.get("x-team").is_none_or(|team| team != "a b") {
        return Ok(Response::builder().status(400).body(Empty::new()).unwrap());
    }
    #[allow(clippy::disallowed_methods)] // limited
    let body = Limited::new(body, 8 << 20).collect().await.unwrap().to_bytes();
    for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        let service = text(&resource.resource.unwrap().attributes, "service.name");
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
    }
    Ok(Response::new(Empty::new()))
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Any {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()) {
        Some(AnyValue { value: Some(value) }) => value,
        _ => panic!("no {key} in {attributes:?}"),
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Any::StringValue(text) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match value(&span.attributes, key) {
        Any::IntValue(number) => *number,
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn convert(client: &Client, key: &str) {
    let body = json!({"conversions": [{"user_id": "u", "metric": "purchase", "idempotency_key": key}]});
    let answer = client.post("/api/v1/conversions", &[JSON, WAIT], body.to_string()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_over_three_tiers() {
    let (addr, spans) = collector().await;
    // Far beyond the test: all that arrives is what is delivered when the programs are told to end.
    let delay = Duration::from_secs(3_600).as_millis().to_string();
    let environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{addr}")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a%20b".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", delay),
    ];
    let system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    for (trace, flags) in [(NOT_FOLLOWED, "00"), (FOLLOWED, "01")] {
        let traceparent = format!("00-{trace}-{OF_CLIENT}-{flags}");
        let named = |client: Client| client.header("traceparent", &traceparent).header("x-request-id", trace);
        convert(&named(system.ingest()), trace).await;
        let path = "/api/v1/experiments/exp/live-stats";
        assert_eq!(named(system.admin()).get(path).await.unwrap().status, 200);
    }
    convert(&system.ingest(), "nobody's").await;
    system.stop().await.unwrap();

    let spans = spans.lock().unwrap();
    let of_trace = |trace: &str| {
        let mut found: Vec<_> = spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace).collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    };
    assert_eq!(of_trace(NOT_FOLLOWED), Vec::<&(String, Span)>::new());
    let followed = of_trace(FOLLOWED);
    let [(_, analyzer), (_, gateway), (_, worker)] = followed[..] else { panic!("{followed:?}") };
    let services: Vec<&str> = followed.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(services, ["analyzer", "ingest-gateway", "ingest-worker"]);
    let names = [&analyzer.name, &gateway.name, &worker.name];
    assert_eq!(names, ["GET live-stats", "POST conversions", "apply"]);
    let kinds = [analyzer.kind(), gateway.kind(), worker.kind()];
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Server, SpanKind::Consumer]);
    assert_eq!(hex(&analyzer.parent_span_id), OF_CLIENT);
    assert_eq!(hex(&gateway.parent_span_id), OF_CLIENT);
    assert_eq!(worker.parent_span_id, gateway.span_id);
    for span in [analyzer, gateway, worker] {
        assert_eq!(text(&span.attributes, "request_id"), FOLLOWED);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    assert_eq!(number(gateway, "http.response.status_code"), 200);
    assert_eq!((number(worker, "recorded"), number(worker, "deduplicated")), (1, 0));

    // A request that brings no trace begins one.
    let own = |(_, span): &&(String, Span)| span.name == "POST conversions" && span.parent_span_id.is_empty();
    let begun: Vec<_> = spans.iter().filter(own).collect();
    let [(_, begun)] = begun[..] else { panic!("{begun:?}") };
    let applied = |(_, span): &&(String, Span)| span.trace_id == begun.trace_id && span.name == "apply";
    let applied: Vec<_> = spans.iter().filter(applied).collect();
    let [(_, applied)] = applied[..] else { panic!("{applied:?}") };
    assert_eq!(applied.parent_span_id, begun.span_id);
}

/// Nobody waits for it, and it is spoken of once.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_costs_one_line() {
    let nobody = format!("http://127.0.0.1:{}", testkit::free_port().unwrap());
    let environment = vec![("AB_OTLP_ENDPOINT", nobody), ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned())];
    let mut system = System::start(Setup { environment, ..Setup::default() }).await.unwrap();
    system.experiment(two_arms("exp", &["purchase"])).await.unwrap();
    let told = |log: &str| log.matches("the collector does not take traces").count();
    convert(&system.ingest(), "first").await;
    let limit = Duration::from_secs(60);
    crate::support::eventually("it is told", limit, async || told(&system.gateway.stderr()) > 0).await;
    for key in ["second", "third"] {
        convert(&system.ingest(), key).await;
    }
    let status = system.gateway.terminate(limit).await.unwrap();
    let log = system.gateway.stderr();
    assert!(status.success(), "{log}");
    assert_eq!(told(&log), 1, "{log}");
}
