use super::AppliedRequest;
use super::collector::Collector;
use crate::http::ident::{RequestId, traceparent};
use crate::settings::{Otlp, Refusal, Settings};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use std::time::Duration;
use tokio::runtime::Handle;

/// For one batch of spans to be delivered, tries again included.
const EXPORT_LIMIT: Duration = Duration::from_secs(10);
/// For the last spans, inside the drain.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Where spans go; by default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Exported>);

#[derive(Debug, Clone)]
struct Exported {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request being answered.
#[derive(Debug, Default)]
pub struct RequestSpan(Option<Span>);

impl Traces {
    pub(crate) fn start(settings: &Settings, runtime: &Handle) -> Result<Self, Refusal> {
        let Some(otlp) = &settings.telemetry.otlp else { return Ok(Self::default()) };
        let exporter = exporter(otlp, runtime)
            .map_err(|error| Refusal::new("AB_OTLP_ENDPOINT", crate::logs::causes(&error)))?;
        let resource = Resource::builder()
            .with_service_name(otlp.service.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("deployment.environment.name", settings.environment.clone()),
            ])
            .build();
        let begin = Sampler::TraceIdRatioBased(otlp.ratio);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(begin)))
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("abstream");
        Ok(Self(Some(Exported { provider, tracer })))
    }

    /// From here on `headers` name the new span.
    pub(crate) fn request(
        &self,
        method: &Method,
        route: &'static str,
        id: &RequestId,
        headers: &mut HeaderMap,
    ) -> RequestSpan {
        let Some(Exported { tracer, .. }) = &self.0 else { return RequestSpan::default() };
        let parent = traceparent(headers).and_then(context).unwrap_or_default();
        let builder = SpanBuilder::from_name(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("route", route),
                KeyValue::new("request_id", id.as_str().to_owned()),
            ]);
        let span = tracer.build_with_context(builder, &parent);
        if let Some(own) = header(span.span_context()) {
            headers.insert("traceparent", own);
        }
        RequestSpan(Some(span))
    }

    /// Tells of a transaction that took so long and has just been committed.
    pub fn applied(&self, requests: &[AppliedRequest], took: Duration) {
        let Some(Exported { tracer, .. }) = &self.0 else { return };
        let end = opentelemetry::time::now();
        let start = end.checked_sub(took).unwrap_or(end);
        for request in requests {
            let Some(parent) = context(&request.traceparent) else { continue };
            let builder = SpanBuilder::from_name("apply")
                .with_kind(SpanKind::Consumer)
                .with_start_time(start)
                .with_attributes([
                    KeyValue::new("partition", i64::from(request.partition)),
                    KeyValue::new("request_id", request.request_id.clone()),
                    KeyValue::new("recorded", i64::from(request.recorded)),
                    KeyValue::new("deduplicated", i64::from(request.deduplicated)),
                    KeyValue::new("dead_lettered", i64::from(request.dead_lettered)),
                ]);
            tracer.build_with_context(builder, &parent).end_with_timestamp(end);
        }
    }

    /// Delivers what is left, if that can be done in time. Not for a thread of the runtime, which has to send it.
    pub(crate) fn end(&self, within: Duration) {
        let Some(Exported { provider, .. }) = &self.0 else { return };
        if provider.shutdown_with_timeout(within.min(END_LIMIT)).is_err() {
            tracing::warn!("the last traces were not delivered in time");
        }
    }
}

impl RequestSpan {
    pub(crate) fn answered(self, status: StatusCode) {
        let Some(mut span) = self.0 else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

fn exporter(otlp: &Otlp, runtime: &Handle) -> Result<SpanExporter, ExporterBuildError> {
    SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(runtime.clone(), otlp.headers.clone()))
        .with_endpoint(format!("{}/v1/traces", otlp.endpoint))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_LIMIT)
        .build()
}

/// Of a well-formed `traceparent`: that of the span it names, which is another program's.
fn context(traceparent: &str) -> Option<Context> {
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    let named = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    named.is_valid().then(|| Context::new().with_remote_span_context(named))
}

fn header(span: &SpanContext) -> Option<HeaderValue> {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    let text = format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    HeaderValue::from_str(&text).ok().filter(|_| span.is_valid())
}
