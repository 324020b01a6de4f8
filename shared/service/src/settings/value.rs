//! The syntax of single values. Reasons never repeat a value, because a value may be a secret.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The syntax and range of a setting.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Free text, checked by the function.
    Text(fn(&str) -> Result<(), String>),
    /// The same; items are separated by the text, and are a list in the settings file.
    List(&'static str, fn(&str) -> Result<(), String>),
    /// `name=value;..`; a mapping in the settings file.
    Pairs(fn(&str) -> Result<(), String>),
    /// `tenant:name=value;..`; a mapping of mappings in the settings file. `together`: a tenant has one entry,
    /// `tenant:name=value,name=value`.
    Tenants {
        together: bool,
        check: fn(&str) -> Result<(), String>,
    },
    OneOf(&'static [&'static str]),
    Number(RangeInclusive<u64>),
    /// `500ms`, `60s`, `5m`, `24h`, `7d`.
    Duration(RangeInclusive<Duration>),
    /// `true` or `false`.
    Flag,
    Ip,
    Socket,
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Duration(Duration),
    Flag(bool),
    Ip(IpAddr),
    Socket(SocketAddr),
}

impl Kind {
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Text(check) | Kind::List(_, check) | Kind::Pairs(check) | Kind::Tenants { check, .. } => {
                check(text).map(|()| Value::Text(text.to_owned()))
            }
            Kind::OneOf(choices) => match choices.contains(&text) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(format!("must be one of {}", choices.join(", "))),
            },
            Kind::Number(range) => match text.parse::<u64>() {
                Ok(number) if range.contains(&number) => Ok(Value::Number(number)),
                _ => Err(format!("must be a whole number from {} to {}", range.start(), range.end())),
            },
            Kind::Duration(range) => match parse_duration(text) {
                Some(duration) if range.contains(&duration) => Ok(Value::Duration(duration)),
                Some(_) => Err(format!("must be from {:?} to {:?}", range.start(), range.end())),
                None => Err("must be a number with a unit: 500ms, 60s, 5m, 24h or 7d".into()),
            },
            Kind::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err("must be true or false".into()),
            },
            Kind::Ip => text.parse().map(Value::Ip).map_err(|_| "must be an IP address".into()),
            Kind::Socket => text
                .parse()
                .map(Value::Socket)
                .map_err(|_| "must be an IP address and a port, as 127.0.0.1:9108".into()),
        }
    }
}

/// Parses `500ms`, `60s`, `5m`, `24h`, `7d`; `None` for anything else, also for a number without a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

pub fn signing_key(text: &str) -> Result<(), String> {
    if text.chars().count() >= 16 { Ok(()) } else { Err("must have at least 16 characters".into()) }
}

pub fn any_text(_: &str) -> Result<(), String> {
    Ok(())
}

pub fn database_url(text: &str) -> Result<(), String> {
    scheme(text, &["postgres", "postgresql"])
}

pub fn redis_url(text: &str) -> Result<(), String> {
    scheme(text, &["redis", "rediss", "redis+cluster", "rediss+cluster"])
}

pub fn http_url(text: &str) -> Result<(), String> {
    scheme(text, &["http", "https"])
}

fn scheme(text: &str, allowed: &[&str]) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, rest)) if allowed.contains(&scheme) && !rest.is_empty() => Ok(()),
        _ => Err(format!("must begin with {}://", allowed.join(":// or "))),
    }
}
