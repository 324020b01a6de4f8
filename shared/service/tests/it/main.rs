#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod bodies;
mod boot;
mod both;
mod budgets;
mod by_name;
mod cors;
#[cfg(feature = "tls")]
mod encrypted;
mod ending;
mod health;
mod http2;
mod keys;
mod keys_file;
mod kit;
mod logs;
mod one_process;
mod openapi;
mod otlp;
mod proxies;
mod rates;
mod requests;
mod sdk_keys;
mod sdk_values;
mod settings;
mod settings_file;
mod settings_page;
