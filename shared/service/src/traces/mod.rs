//! OpenTelemetry traces of requests, behind the feature `otlp` (decision 43): one span for each request answered, one
//! for each request of a transaction applied. The header `traceparent` names the parent, and the request goes on under
//! its span's own, through frame, receipt and dead letter; so what three programs do for a request is one trace.
//!
//! Spans wait for their export in a bounded queue and are dropped when it is full: no request waits for a collector.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod exported;
#[cfg(not(feature = "otlp"))]
mod nothing;

#[cfg(feature = "otlp")]
pub use exported::{RequestSpan, Traces};
#[cfg(not(feature = "otlp"))]
pub use nothing::{RequestSpan, Traces};

/// What a transaction did for one request.
#[derive(Debug)]
pub struct AppliedRequest {
    pub request_id: String,
    pub traceparent: String,
    pub partition: u16,
    pub recorded: u32,
    pub deduplicated: u32,
    pub dead_lettered: u32,
}

/// Whether whoever wrote it traces this request, and we may too.
pub fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.chars().next_back().and_then(|digit| digit.to_digit(16));
    cfg!(feature = "otlp") && flags.is_some_and(|flags| flags & 1 == 1)
}
