use crate::metrics::{FAST_SECONDS, Metrics};
use hyper::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use std::sync::OnceLock;
use std::time::Duration;

/// Status codes with a child of their own; any other is counted as `other`.
const STATUSES: [u16; 23] = [
    200, 201, 202, 204, 301, 302, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 429, 500, 501,
    503, 504,
];
/// Classes of the kit itself.
pub const HEALTH: &str = "health";
pub const PREFLIGHT: &str = "preflight";
pub const UNMATCHED: &str = "unmatched";

/// HTTP metrics. Children are resolved once and found by comparing a few short strings.
#[derive(Debug)]
pub struct HttpStats {
    requests: IntCounterVec,
    classes: Vec<Class>,
    pub connections: IntGauge,
    pub connections_refused: IntCounter,
    pub unknown_keys: IntCounter,
    pub panics: IntCounter,
}

#[derive(Debug)]
struct Class {
    name: &'static str,
    seconds: Histogram,
    statuses: [OnceLock<IntCounter>; STATUSES.len() + 1],
}

impl HttpStats {
    /// `port` tells the listeners of one process apart.
    pub fn new(metrics: &Metrics, port: &str, classes: &[&'static str]) -> Result<Self, prometheus::Error> {
        let name = |suffix: &str| format!("abstream_{port}_{suffix}");
        let requests =
            metrics.counter_vec(&name("requests_total"), "HTTP requests answered", &["route", "status"])?;
        let seconds = metrics.histogram_vec(
            &name("request_seconds"),
            "Time from request head to answer",
            &["route"],
            FAST_SECONDS.to_vec(),
        )?;
        let all = classes.iter().chain(&[HEALTH, PREFLIGHT, UNMATCHED]);
        Ok(Self {
            classes: all.map(|class| Class::new(class, &seconds)).collect(),
            requests,
            connections: metrics.gauge(&name("connections"), "Open connections")?,
            connections_refused: metrics
                .counter(&name("connections_refused_total"), "Connections past the limit")?,
            unknown_keys: metrics.counter(&name("unknown_keys_total"), "Requests with an unknown key")?,
            panics: metrics.counter(&name("panics_total"), "Handlers that panicked: defects")?,
        })
    }

    pub fn answered(&self, class: &'static str, status: StatusCode, took: Duration) {
        let Some(class) = self.classes.iter().find(|known| known.name == class) else { return };
        class.seconds.observe(took.as_secs_f64());
        let code = status.as_u16();
        let place = STATUSES.iter().position(|known| *known == code).unwrap_or(STATUSES.len());
        let Some(counter) = class.statuses.get(place) else { return };
        counter.get_or_init(|| self.resolve(class.name, place)).inc();
    }

    fn resolve(&self, class: &str, place: usize) -> IntCounter {
        let status = STATUSES.get(place).map_or_else(|| "other".to_owned(), u16::to_string);
        self.requests.with_label_values(&[class, status.as_str()])
    }
}

impl Class {
    fn new(name: &'static str, seconds: &HistogramVec) -> Self {
        Self {
            name,
            seconds: seconds.with_label_values(&[name]),
            statuses: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}
