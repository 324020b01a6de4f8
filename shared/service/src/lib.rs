//! What every tier needs around its own work: settings, keys, the HTTP kit, logs, metrics, health and an orderly end.
//!
//! **The part of this crate in the journey of one event.** A client opens a connection to a gateway. [`http::serve`]
//! admits it (or answers 503 when there are too many), reads the request head under a deadline, and walks one visible
//! list: request id, route, CORS, key, scope, handler, problem document, metrics. The handler asks
//! [`http::Request::read_body`] for the body, which arrives in one buffer, never larger on the wire or decoded than the
//! settings allow, or the request is refused with a problem document before anything is parsed. From there on the event
//! belongs to the gateway and the queue. The worker and the analyzer use the same kit for their own ports.
//!
//! **Start and end.** [`boot::run`] reads as five steps: settings ([`settings::Settings::load`]: flags over YAML file
//! over environment over defaults, unknown names refused), logs ([`logs`]), build and serve (the tier's own), drain
//! ([`shutdown::Shutdown`]: the first SIGTERM drains inside `AB_DRAIN_TIMEOUT`, the second aborts; the last
//! [`traces`] are delivered inside it). Whatever makes a
//! start unsafe is a [`settings::Refusal`]: one line that names the variable and the reason, exit code 2.
//!
//! Nothing here is global: registry, keys and shutdown are values passed in, so tests run side by side.

pub mod auth;
pub mod boot;
mod descriptors;
pub mod health;
pub mod http;
mod internal;
pub mod logs;
pub mod metrics;
pub mod openapi;
mod probe;
pub mod settings;
pub mod shutdown;
pub mod traces;
#[cfg(feature = "tls")]
pub mod trust;
