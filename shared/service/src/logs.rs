//! Logs: one JSON object a line on standard error, plain text on a terminal.

use crate::settings::{LogFormat, Telemetry};
use std::error::Error;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging is set up already: {0}")]
    SetUp(#[from] TryInitError),
}

/// Sets up the log of the process.
pub fn init(telemetry: &Telemetry) -> Result<(), LogError> {
    let terminal = std::io::stderr().is_terminal();
    let json = match telemetry.log_format {
        LogFormat::Json => true,
        LogFormat::Plain => false,
        LogFormat::Automatic => !terminal,
    };
    let automatic = if terminal { "warn" } else { "info" };
    let level = telemetry.log_level.as_deref().unwrap_or(automatic);
    subscriber(level, json, std::io::stderr)?.try_init()?;
    Ok(())
}

/// The subscriber behind [`init`], writing to `writer`.
pub fn subscriber<W>(
    level: &str,
    json: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(level)?).with_writer(writer);
    Ok(match json {
        true => Box::new(
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish(),
        ),
        false => Box::new(builder.with_ansi(std::io::stderr().is_terminal()).finish()),
    })
}

/// The error and its causes in one line, each said once. For logs and refusals, not for clients.
pub fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Syntax of `AB_LOG_LEVEL`.
pub fn check_level(text: &str) -> Result<(), String> {
    EnvFilter::try_new(text)
        .map(drop)
        .map_err(|_| "must be a level (error, warn, info, debug, trace) or directives".into())
}
