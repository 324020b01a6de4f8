//! The table of all settings this release knows. A name that is not in it refuses to start, so a misspelt or
//! not yet supported setting cannot be taken for one in force.

use super::setting::{Preset, Spec, secret, setting};
use super::tier::{ALL, ANALYZER, GATEWAY, ONE_PROCESS, PUBLIC, SERVERS, TOOL, Tier, WORKER};
use super::value::{self, Kind};
use std::time::Duration;

const fn seconds(from: u64, to: u64) -> Kind {
    Kind::Duration(Duration::from_secs(from)..=Duration::from_secs(to))
}

const DAY: u64 = 86_400;
const MIB: u64 = 1 << 20;

use Preset::{PerTier, Same, Unset};

/// Every setting, grouped as the structs of [`super::groups`] are.
pub static SPECS: &[Spec] = &[
    setting!(
        "AB_CONFIG",
        "config",
        ALL,
        Kind::Text(value::any_text),
        Unset,
        "YAML settings file; wins over the environment"
    ),
    setting!(
        "AB_ENV",
        "env",
        ALL,
        Kind::OneOf(&["local", "dev", "development", "test", "ci", "staging", "prod", "production"]),
        Same("local"),
        "environment; production or prod refuses unsafe settings"
    ),
    // Http
    setting!("AB_HOST", "host", SERVERS, Kind::Ip, Same("127.0.0.1"), "address of the public port"),
    setting!(
        "AB_PORT",
        "port",
        SERVERS,
        Kind::Number(0..=65_535),
        PerTier(|tier| match tier {
            Tier::Gateway | Tier::OneProcess => Some("8008"),
            Tier::Analyzer => Some("8009"),
            Tier::Worker => Some("8010"),
            Tier::Tool => Some("0"),
        }),
        "public port (0: any free one); PORT is honoured when unset"
    ),
    setting!(
        "AB_INTERNAL_ADDR",
        "internal-addr",
        SERVERS,
        Kind::Socket,
        PerTier(|tier| match tier {
            Tier::Gateway | Tier::OneProcess => Some("127.0.0.1:9108"),
            Tier::Worker => Some("127.0.0.1:9109"),
            Tier::Analyzer => Some("127.0.0.1:9110"),
            Tier::Tool => Some("127.0.0.1:0"),
        }),
        "address of metrics and health, never on the public port"
    ),
    setting!(
        "AB_MAX_REQUEST_BODY_BYTES",
        "max-request-body-bytes",
        PUBLIC,
        Kind::Number(1_024..=1_024 * MIB),
        Same("1048576"),
        "largest request body on the wire, bytes"
    ),
    setting!(
        "AB_MAX_DECODED_BODY_BYTES",
        "max-decoded-body-bytes",
        PUBLIC,
        Kind::Number(1_024..=1_024 * MIB),
        Same("8388608"),
        "largest request body after decompression, bytes"
    ),
    setting!(
        "AB_MAX_CONNECTIONS",
        "max-connections",
        SERVERS,
        Kind::Number(1..=1_000_000),
        Same("16384"),
        "connections of the public port served at once"
    ),
    setting!(
        "AB_IDLE_TIMEOUT",
        "idle-timeout",
        SERVERS,
        seconds(1, 3_600),
        Same("75s"),
        "how long a connection may be idle, or send a head; longer than a balancer keeps one to us"
    ),
    setting!(
        "AB_TLS_CERT",
        "tls-cert",
        PUBLIC,
        Kind::Text(value::any_text),
        Unset,
        "PEM file of the public port's certificates, read again when it changes; unset: no TLS"
    ),
    setting!(
        "AB_TLS_KEY",
        "tls-key",
        PUBLIC,
        Kind::Text(value::any_text),
        Unset,
        "PEM file of the certificate's private key"
    ),
    setting!(
        "AB_SLA_TIMEOUTS",
        "sla-timeouts",
        PUBLIC,
        Kind::Pairs(super::budgets::check_budgets),
        Same("ingest=5s;live-stats=5s"),
        "how long an answer may take, class=5s;class:tenant/experiment=5s;..."
    ),
    setting!(
        "AB_CORS_ORIGINS",
        "cors-origins",
        PUBLIC,
        Kind::List(",", crate::http::check_origins),
        Same("http://localhost:*,http://127.0.0.1:*"),
        "origins of browsers, comma separated; production: none by default"
    ),
    setting!(
        "AB_TRUSTED_PROXIES",
        "trusted-proxies",
        PUBLIC,
        Kind::List(",", crate::http::check_networks),
        Unset,
        "addresses or networks whose X-Forwarded-For is believed, comma separated"
    ),
    // Auth
    secret!(
        "AB_API_TOKEN",
        "api-token",
        PUBLIC | TOOL,
        value::any_text,
        "key of tenant default: ingest, events, read"
    ),
    secret!(
        "AB_READONLY_API_TOKEN",
        "readonly-api-token",
        PUBLIC | TOOL,
        value::any_text,
        "key of tenant default: read"
    ),
    secret!(
        "AB_ADMIN_TOKEN",
        "admin-token",
        PUBLIC | TOOL,
        value::any_text,
        "key of tenant default: every scope"
    ),
    secret!(
        "AB_API_KEYS",
        "api-keys",
        PUBLIC,
        kind Kind::List(";", value::any_text),
        "key:tenant:scope,scope;key2:... (sha256:HEX for a key)"
    ),
    secret!(
        "AB_WORKSPACE_SIGNING_KEY",
        "workspace-signing-key",
        ANALYZER | ONE_PROCESS,
        value::signing_key,
        "signs exported definitions; only such are imported then; at least 16 characters"
    ),
    // Database
    setting!(
        "AB_DATA",
        "data",
        ONE_PROCESS | TOOL,
        Kind::Text(value::any_text),
        PerTier(|tier| (tier == Tier::OneProcess).then_some("abstream-data")),
        "directory of abctl up: SQLite database, keys, lock"
    ),
    secret!(
        "AB_DATABASE_URL",
        "database-url",
        WORKER | ANALYZER | TOOL,
        value::database_url,
        "postgres:// address (abctl up: unset, SQLite in AB_DATA)"
    ),
    setting!(
        "AB_DB_POOL_SIZE",
        "db-pool-size",
        WORKER | ANALYZER | TOOL,
        Kind::Number(1..=1_000),
        Same("10"),
        "database connections of this process"
    ),
    // Queue
    secret!(
        "AB_REDIS_URL",
        "redis-url",
        ALL,
        value::redis_url,
        "redis:// address of the streams; redis+cluster://host:port,host:port = some servers of a cluster (abctl up: unset, a queue in the process)"
    ),
    setting!(
        "AB_PARTITIONS",
        "partitions",
        ALL,
        Kind::Number(1..=256),
        PerTier(|tier| match tier {
            Tier::Gateway | Tier::Worker | Tier::Analyzer => Some("16"),
            Tier::OneProcess => Some("1"),
            Tier::Tool => None,
        }),
        "number of streams; fixed for a deployment (tools: unset, as recorded in the database)"
    ),
    setting!(
        "AB_QUEUE_MAX_EVENTS",
        "queue-max-events",
        GATEWAY,
        Kind::Number(1..=1_000_000_000_000),
        Same("10000000"),
        "backlog past which gateways answer 503, events"
    ),
    setting!(
        "AB_QUEUE_KEEP",
        "queue-keep",
        WORKER,
        seconds(0, 30 * DAY),
        Same("60s"),
        "how long applied entries stay"
    ),
    setting!(
        "AB_QUEUE_REPLICAS",
        "queue-replicas",
        GATEWAY | ANALYZER | TOOL,
        Kind::Number(0..=16),
        Same("0"),
        "Redis replicas that must confirm an entry"
    ),
    setting!(
        "AB_ALLOW_WEAK_DURABILITY",
        "allow-weak-durability",
        ALL,
        Kind::Flag,
        Same("false"),
        "start in production although Redis may lose acknowledged events"
    ),
    // Ingest
    setting!(
        "AB_MAX_BATCH_EVENTS",
        "max-batch-events",
        GATEWAY,
        Kind::Number(1..=1_000_000),
        Same("10000"),
        "largest number of items in a request"
    ),
    setting!(
        "AB_MAX_LOADED",
        "max-loaded",
        GATEWAY,
        Kind::Number(1..=10_000_000),
        Same("10000"),
        "experiments held in memory"
    ),
    setting!(
        "AB_DEFAULT_WAIT",
        "default-wait",
        GATEWAY,
        seconds(0, 30),
        Unset,
        "Prefer: wait for clients that cannot send it"
    ),
    setting!(
        "AB_RESULTS_URL",
        "results-url",
        GATEWAY,
        Kind::Text(value::http_url),
        Unset,
        "public base address of receipts"
    ),
    setting!(
        "AB_MAX_FUTURE_SKEW",
        "max-future-skew",
        GATEWAY,
        seconds(0, 366 * DAY),
        Same("24h"),
        "how far ahead an event's time may lie"
    ),
    setting!(
        "AB_MAX_EVENT_AGE",
        "max-event-age",
        GATEWAY,
        seconds(1, 36_600 * DAY),
        Unset,
        "how old an event may be; unset: any age"
    ),
    setting!(
        "AB_SKEW_THRESHOLD",
        "skew-threshold",
        GATEWAY,
        seconds(0, 366 * DAY),
        Same("60s"),
        "difference of sent_at from which event times are shifted"
    ),
    setting!(
        "AB_SDK_VALUES",
        "sdk-values",
        GATEWAY,
        Kind::Tenants { together: false, check: super::sdk_values::check_sdk_values },
        Unset,
        "where events of SDKs say their value, tenant:event=property.property;... (event *: all others)"
    ),
    setting!(
        "AB_RATE_LIMIT_EVENTS",
        "rate-limit-events",
        GATEWAY,
        Kind::Number(1..=1_000_000_000),
        Unset,
        "events a tenant may send a second, all gateways together; unset: unlimited"
    ),
    setting!(
        "AB_RATE_LIMIT_REQUESTS",
        "rate-limit-requests",
        GATEWAY,
        Kind::Number(1..=1_000_000_000),
        Unset,
        "requests with events a tenant may send a second; unset: unlimited"
    ),
    setting!(
        "AB_RATE_LIMIT_TENANTS",
        "rate-limit-tenants",
        GATEWAY,
        Kind::Tenants { together: true, check: super::rates::check_rates },
        Unset,
        "other limits of some tenants, tenant:events=N,requests=N;... (unlimited: none)"
    ),
    // Worker
    setting!(
        "AB_APPLY_MAX_EVENTS",
        "apply-max-events",
        WORKER,
        Kind::Number(1..=1_000_000),
        Same("10000"),
        "events of one apply transaction"
    ),
    setting!(
        "AB_DEAD_LETTER_MAX",
        "dead-letter-max",
        WORKER,
        Kind::Number(0..=1_000_000_000),
        Same("100000"),
        "dead letters of a tenant that keep their payload"
    ),
    // Retention
    setting!(
        "AB_RETENTION_CONVERSIONS_DAYS",
        "retention-conversions-days",
        WORKER | ANALYZER,
        Kind::Number(1..=36_600),
        Unset,
        "days raw conversions that no experiment can count any more are kept; unset: for ever"
    ),
    setting!(
        "AB_RETENTION_DEAD_LETTERS_DAYS",
        "retention-dead-letters-days",
        WORKER | ANALYZER,
        Kind::Number(1..=36_600),
        Unset,
        "days dead letters are kept; unset: for ever"
    ),
    setting!(
        "AB_RETENTION_AUDIT_DAYS",
        "retention-audit-days",
        WORKER | ANALYZER,
        Kind::Number(1..=36_600),
        Unset,
        "days entries of the audit log are kept; unset: for ever"
    ),
    // Webhooks
    setting!(
        "AB_WEBHOOK_ALLOW_PRIVATE",
        "webhook-allow-private",
        ANALYZER,
        Kind::List(",", crate::http::check_networks),
        Unset,
        "networks that webhooks may reach although they are not public, comma separated; unset: none"
    ),
    setting!(
        "AB_WEBHOOK_INTERVAL",
        "webhook-interval",
        ANALYZER,
        seconds(1, 3_600),
        Same("30s"),
        "how often webhooks are told what is new"
    ),
    setting!(
        "AB_WEBHOOK_TIMEOUT",
        "webhook-timeout",
        ANALYZER,
        seconds(1, 60),
        Same("10s"),
        "how long a webhook may take to answer"
    ),
    setting!(
        "AB_WEBHOOK_ATTEMPTS",
        "webhook-attempts",
        ANALYZER,
        Kind::Number(1..=100),
        Same("16"),
        "attempts after which a delivery to a webhook is given up"
    ),
    setting!(
        "AB_WEBHOOK_LOG_KEEP",
        "webhook-log-keep",
        ANALYZER,
        seconds(60, 366 * DAY),
        Same("7d"),
        "how long deliveries to webhooks that ended are kept"
    ),
    // Telemetry
    setting!(
        "AB_LOG_LEVEL",
        "log-level",
        ALL,
        Kind::Text(crate::logs::check_level),
        PerTier(|tier| (tier != Tier::OneProcess).then_some("info")),
        "error, warn, info, debug, trace, or directives as info,queue=debug (abctl up: unset, warn on a terminal, else info)"
    ),
    setting!(
        "AB_LOG_FORMAT",
        "log-format",
        ALL,
        Kind::OneOf(&["json", "plain"]),
        Unset,
        "json, or plain (default on a terminal)"
    ),
    setting!(
        "AB_OTLP_ENDPOINT",
        "otlp-endpoint",
        SERVERS,
        Kind::Text(value::http_url),
        Unset,
        "base address of an OpenTelemetry collector that takes traces over HTTP (feature otlp); OTEL_EXPORTER_OTLP_ENDPOINT is honoured when unset; neither: no traces"
    ),
    secret!(
        "AB_OTLP_HEADERS",
        "otlp-headers",
        SERVERS,
        kind Kind::List(",", super::otlp::check_headers),
        "headers for the collector, name=value,...; OTEL_EXPORTER_OTLP_HEADERS is honoured when unset"
    ),
    setting!(
        "AB_OTLP_RATIO",
        "otlp-ratio",
        SERVERS,
        Kind::Text(super::otlp::check_ratio),
        Same("1"),
        "share of the requests without a traceparent of which traces are begun, 0 to 1; OTEL_TRACES_SAMPLER_ARG is honoured when unset"
    ),
    setting!(
        "AB_OTLP_SERVICE",
        "otlp-service",
        SERVERS,
        Kind::Text(value::any_text),
        PerTier(|tier| Some(tier.name())),
        "service.name of traces; OTEL_SERVICE_NAME is honoured when unset"
    ),
    // Lifecycle
    setting!(
        "AB_STARTUP_TIMEOUT",
        "startup-timeout",
        ALL,
        seconds(1, 3_600),
        Same("30s"),
        "how long a start may wait for its stores"
    ),
    setting!(
        "AB_DRAIN_TIMEOUT",
        "drain-timeout",
        SERVERS,
        seconds(1, 3_600),
        Same("25s"),
        "how long an end may take"
    ),
    // Client
    setting!("AB_URL", "url", TOOL, Kind::Text(value::http_url), Unset, "address of the service for abctl"),
];

/// Prefixes of systems we replace: accepted, without effect, logged by name.
pub const REPLACED: &[&str] = &["AB_SQLITE_", "AB_MISTRAL_"];
