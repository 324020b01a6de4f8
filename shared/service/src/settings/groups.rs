//! Settings grouped by concern. None of these can be made outside this crate, so whoever holds one holds checked values.

use super::budgets::Budgets;
use super::error::Refusal;
use super::otlp::Otlp;
use super::rates::{Rate, Rates};
use super::sdk_values::SdkValues;
use super::secret::{Secret, ServiceUrl};
use super::sources::Merged;
use super::value::Value;
use crate::http::{CorsOrigins, Networks};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The public port and what a request may weigh.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http {
    pub host: IpAddr,
    /// 0 binds any free port.
    pub port: u16,
    pub internal_addr: SocketAddr,
    /// Bytes on the wire.
    pub max_wire_body: usize,
    /// Bytes after decompression; at least `max_wire_body`.
    pub max_decoded_body: usize,
    pub cors: CorsOrigins,
    pub trusted_proxies: Networks,
    pub max_connections: usize,
    /// For a request head to arrive; also how long a connection may be idle.
    pub idle_timeout: Duration,
    /// Files of the public port's certificate and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub budgets: Budgets,
}

/// Keys given by configuration; [`crate::auth::Keys`] is built from it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Auth {
    pub api_token: Option<Secret>,
    pub readonly_api_token: Option<Secret>,
    pub admin_token: Option<Secret>,
    pub api_keys: Option<Secret>,
    /// The file `api_keys` was read from, read again when it changes.
    pub api_keys_file: Option<PathBuf>,
    /// Signs what the workspace exports, and what it imports must be signed with.
    pub workspace_signing_key: Option<Secret>,
}

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Database {
    pub url: Option<ServiceUrl>,
    pub pool_size: usize,
}

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Queue {
    pub redis_url: Option<ServiceUrl>,
    /// Number of streams, fixed for a deployment; `None` (tools): as recorded in the database.
    pub partitions: Option<u16>,
    /// Backlog past which gateways answer 503.
    pub max_events: u64,
    /// How long applied entries stay in the stream.
    pub keep: Duration,
    /// Redis replicas that must confirm an entry.
    pub replicas: u16,
    pub allow_weak_durability: bool,
}

/// What a gateway accepts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ingest {
    pub max_batch_events: usize,
    /// Experiments held in memory.
    pub max_loaded: usize,
    /// `Prefer: wait` for clients that cannot send the header.
    pub default_wait: Option<Duration>,
    /// Public base address of receipts, without a trailing slash.
    pub results_url: Option<String>,
    pub max_future_skew: Duration,
    /// `None`: events of any age.
    pub max_event_age: Option<Duration>,
    pub skew_threshold: Duration,
    pub sdk_values: SdkValues,
    pub rates: Rates,
}

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Worker {
    /// Events of one apply transaction.
    pub apply_max_events: usize,
    /// Dead letters of one tenant that keep their payload.
    pub dead_letter_max: u64,
}

/// Whom an analyzer tells, and how patiently.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Webhooks {
    /// Addresses that are permitted although they are not public.
    pub allow_private: Networks,
    /// Between two looks for what is new.
    pub interval: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    /// Of one delivery.
    pub attempts: u32,
    /// How long deliveries stay in the log.
    pub log_keep: Duration,
}

/// Days for which each kind is kept; `None`: for ever.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Retention {
    pub conversions_days: Option<u32>,
    pub dead_letters_days: Option<u32>,
    pub audit_days: Option<u32>,
}

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Telemetry {
    /// A level, or directives of `tracing_subscriber::EnvFilter`; `None`: `warn` on a terminal, `info` elsewhere.
    pub log_level: Option<String>,
    pub log_format: LogFormat,
    /// `None`: nothing is traced.
    pub otlp: Option<Otlp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Plain,
    /// Plain on a terminal, JSON elsewhere.
    Automatic,
}

#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Lifecycle {
    pub startup_timeout: Duration,
    /// Longer than any `Prefer: wait`.
    pub drain_timeout: Duration,
}

/// `abctl` as a client of the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Client {
    pub url: Option<String>,
}

/// Parsed values by name; a setting the tier does not read holds its default.
pub(super) struct Values(BTreeMap<&'static str, Option<Value>>);

impl Values {
    pub fn parse(
        merged: &Merged,
        defaults: impl Iterator<Item = (&'static str, Option<Value>)>,
    ) -> Result<Self, Refusal> {
        let mut values: BTreeMap<_, _> = defaults.collect();
        for (name, found) in &merged.found {
            let parsed = found.text.as_deref().map(|text| found.spec.kind.parse(text)).transpose();
            values.insert(name, parsed.map_err(|reason| Refusal::new(*name, reason))?);
        }
        Ok(Self(values))
    }

    fn get(&self, name: &'static str) -> Option<&Value> {
        self.0.get(name).and_then(Option::as_ref)
    }

    pub fn text(&self, name: &'static str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn number<N: TryFrom<u64>>(&self, name: &'static str) -> Result<N, Refusal> {
        self.optional_number(name)?.ok_or_else(|| unset(name))
    }

    fn optional_number<N: TryFrom<u64>>(&self, name: &'static str) -> Result<Option<N>, Refusal> {
        match self.get(name) {
            Some(Value::Number(number)) => {
                N::try_from(*number).map(Some).map_err(|_| Refusal::new(name, "is out of range"))
            }
            _ => Ok(None),
        }
    }

    fn duration(&self, name: &'static str) -> Result<Duration, Refusal> {
        self.optional_duration(name).ok_or_else(|| unset(name))
    }

    fn optional_duration(&self, name: &'static str) -> Option<Duration> {
        match self.get(name) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    fn secret(&self, name: &'static str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    fn url(&self, name: &'static str) -> Option<ServiceUrl> {
        self.text(name).map(ServiceUrl::new)
    }
}

fn unset(name: &str) -> Refusal {
    Refusal::new(name, "must be set")
}

impl Http {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        let host = match values.get("AB_HOST") {
            Some(Value::Ip(host)) => *host,
            _ => return Err(unset("AB_HOST")),
        };
        let internal_addr = match values.get("AB_INTERNAL_ADDR") {
            Some(Value::Socket(address)) => *address,
            _ => return Err(unset("AB_INTERNAL_ADDR")),
        };
        let http = Self {
            host,
            port: values.number("AB_PORT")?,
            internal_addr,
            max_wire_body: values.number("AB_MAX_REQUEST_BODY_BYTES")?,
            max_decoded_body: values.number("AB_MAX_DECODED_BODY_BYTES")?,
            cors: CorsOrigins::parse(values.text("AB_CORS_ORIGINS").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_CORS_ORIGINS", reason))?,
            trusted_proxies: Networks::parse(values.text("AB_TRUSTED_PROXIES").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_TRUSTED_PROXIES", reason))?,
            max_connections: values.number("AB_MAX_CONNECTIONS")?,
            idle_timeout: values.duration("AB_IDLE_TIMEOUT")?,
            tls: tls(values)?,
            budgets: Budgets::parse(values.text("AB_SLA_TIMEOUTS").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_SLA_TIMEOUTS", reason))?,
        };
        if http.max_decoded_body < http.max_wire_body {
            return Err(Refusal::new(
                "AB_MAX_DECODED_BODY_BYTES",
                "must not be below AB_MAX_REQUEST_BODY_BYTES",
            ));
        }
        if http.port != 0 && http.port == internal_addr.port() {
            return Err(Refusal::new("AB_INTERNAL_ADDR", "must not use the public port (AB_PORT)"));
        }
        Ok(http)
    }
}

fn tls(values: &Values) -> Result<Option<(PathBuf, PathBuf)>, Refusal> {
    match (values.text("AB_TLS_CERT"), values.text("AB_TLS_KEY")) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if !cfg!(feature = "tls") => {
            Err(Refusal::new("AB_TLS_CERT", "needs a program built with the feature tls"))
        }
        (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
        (Some(_), None) => Err(Refusal::new("AB_TLS_KEY", "must be set beside AB_TLS_CERT")),
        (None, Some(_)) => Err(Refusal::new("AB_TLS_CERT", "must be set beside AB_TLS_KEY")),
    }
}

impl Auth {
    pub(super) fn build(values: &Values, api_keys_file: Option<PathBuf>) -> Self {
        Self {
            api_token: values.secret("AB_API_TOKEN"),
            readonly_api_token: values.secret("AB_READONLY_API_TOKEN"),
            admin_token: values.secret("AB_ADMIN_TOKEN"),
            api_keys: values.secret("AB_API_KEYS"),
            api_keys_file,
            workspace_signing_key: values.secret("AB_WORKSPACE_SIGNING_KEY"),
        }
    }
}

impl Database {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        Ok(Self { url: values.url("AB_DATABASE_URL"), pool_size: values.number("AB_DB_POOL_SIZE")? })
    }
}

impl Queue {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        Ok(Self {
            redis_url: values.url("AB_REDIS_URL"),
            partitions: values.optional_number("AB_PARTITIONS")?,
            max_events: values.number("AB_QUEUE_MAX_EVENTS")?,
            keep: values.duration("AB_QUEUE_KEEP")?,
            replicas: values.number("AB_QUEUE_REPLICAS")?,
            allow_weak_durability: values.get("AB_ALLOW_WEAK_DURABILITY") == Some(&Value::Flag(true)),
        })
    }
}

impl Ingest {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        let rate = Rate {
            events: values.optional_number("AB_RATE_LIMIT_EVENTS")?,
            requests: values.optional_number("AB_RATE_LIMIT_REQUESTS")?,
        };
        Ok(Self {
            max_batch_events: values.number("AB_MAX_BATCH_EVENTS")?,
            max_loaded: values.number("AB_MAX_LOADED")?,
            default_wait: values.optional_duration("AB_DEFAULT_WAIT"),
            results_url: values.text("AB_RESULTS_URL").map(|url| url.trim_end_matches('/').to_owned()),
            max_future_skew: values.duration("AB_MAX_FUTURE_SKEW")?,
            max_event_age: values.optional_duration("AB_MAX_EVENT_AGE"),
            skew_threshold: values.duration("AB_SKEW_THRESHOLD")?,
            sdk_values: SdkValues::parse(values.text("AB_SDK_VALUES").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_SDK_VALUES", reason))?,
            rates: Rates::parse(rate, values.text("AB_RATE_LIMIT_TENANTS").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_RATE_LIMIT_TENANTS", reason))?,
        })
    }
}

impl Worker {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        Ok(Self {
            apply_max_events: values.number("AB_APPLY_MAX_EVENTS")?,
            dead_letter_max: values.number("AB_DEAD_LETTER_MAX")?,
        })
    }
}

impl Webhooks {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        Ok(Self {
            allow_private: Networks::parse(values.text("AB_WEBHOOK_ALLOW_PRIVATE").unwrap_or_default())
                .map_err(|reason| Refusal::new("AB_WEBHOOK_ALLOW_PRIVATE", reason))?,
            interval: values.duration("AB_WEBHOOK_INTERVAL")?,
            timeout: values.duration("AB_WEBHOOK_TIMEOUT")?,
            attempts: values.number("AB_WEBHOOK_ATTEMPTS")?,
            log_keep: values.duration("AB_WEBHOOK_LOG_KEEP")?,
        })
    }
}

impl Retention {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        Ok(Self {
            conversions_days: values.optional_number("AB_RETENTION_CONVERSIONS_DAYS")?,
            dead_letters_days: values.optional_number("AB_RETENTION_DEAD_LETTERS_DAYS")?,
            audit_days: values.optional_number("AB_RETENTION_AUDIT_DAYS")?,
        })
    }
}

impl Telemetry {
    pub(super) fn build(values: &Values) -> Result<Self, Refusal> {
        let log_level = values.text("AB_LOG_LEVEL").map(str::to_owned);
        let log_format = match values.text("AB_LOG_FORMAT") {
            Some("json") => LogFormat::Json,
            Some("plain") => LogFormat::Plain,
            _ => LogFormat::Automatic,
        };
        let otlp = Otlp::parse(
            values.text("AB_OTLP_ENDPOINT"),
            values.text("AB_OTLP_HEADERS"),
            values.text("AB_OTLP_RATIO"),
            values.text("AB_OTLP_SERVICE"),
        )?;
        Ok(Self { log_level, log_format, otlp })
    }
}

impl Lifecycle {
    pub(super) fn build(values: &Values, ingest: &Ingest) -> Result<Self, Refusal> {
        let lifecycle = Self {
            startup_timeout: values.duration("AB_STARTUP_TIMEOUT")?,
            drain_timeout: values.duration("AB_DRAIN_TIMEOUT")?,
        };
        // A request that began to wait just before the drain must be able to end inside it.
        if ingest.default_wait.is_some_and(|wait| wait >= lifecycle.drain_timeout) {
            return Err(Refusal::new("AB_DEFAULT_WAIT", "must be shorter than AB_DRAIN_TIMEOUT"));
        }
        Ok(lifecycle)
    }
}

impl Client {
    pub(super) fn build(values: &Values) -> Self {
        Self { url: values.text("AB_URL").map(|url| url.trim_end_matches('/').to_owned()) }
    }
}
