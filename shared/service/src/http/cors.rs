use super::Access;
use crate::auth::{Principal, Scopes};
use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

const EXPOSED: HeaderValue =
    HeaderValue::from_static("Retry-After, Location, X-Request-ID, Preference-Applied");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, X-API-Key, Content-Type, Content-Encoding, Idempotency-Key, Prefer, X-Request-ID, X-Sent-At, traceparent, If-None-Match",
);
/// Seconds a browser may keep a preflight answer.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may read answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsOrigins {
    /// `*`: every origin, but only for keys with only `events`.
    any: bool,
    exact: Vec<String>,
    /// `http://localhost:` of `http://localhost:*`.
    any_port: Vec<String>,
}

impl CorsOrigins {
    /// `https://shop.example, http://localhost:*, *`; empty: none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut origins = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let host = item.strip_prefix("https://").or_else(|| item.strip_prefix("http://"));
            match (item, host) {
                ("*", _) => origins.any = true,
                (_, Some(host)) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => {
                    match item.strip_suffix(":*") {
                        Some(host) => origins.any_port.push(format!("{host}:")),
                        None => origins.exact.push(item.to_owned()),
                    }
                }
                _ => return Err("must be origins, as https://shop.example, or *".into()),
            }
        }
        Ok(origins)
    }

    fn lists(&self, origin: &str) -> bool {
        let port = |host: &String| {
            origin.strip_prefix(host.as_str()).is_some_and(|port| port.parse::<u16>().is_ok())
        };
        self.exact.iter().any(|exact| exact == origin) || self.any_port.iter().any(port)
    }

    /// Headers of an answer to a page of `origin`, if it may read it.
    pub(super) fn allow(&self, origin: Option<&HeaderValue>, principal: &Principal, out: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        let allowed = self.allowed(origin, principal.only_events());
        if let Some(allowed) = allowed {
            out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        out.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    /// Headers of a preflight answer. It carries no key, so `*` opens the routes that keys with only `events` may use.
    pub(super) fn preflight(
        &self,
        origin: &HeaderValue,
        access: Option<Access>,
        methods: HeaderValue,
        out: &mut HeaderMap,
    ) {
        let open = access.and_then(Access::key).is_some_and(|(any_of, _)| any_of.intersects(Scopes::EVENTS));
        if let Some(allowed) = self.allowed(origin, open) {
            out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            out.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
        }
        out.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    fn allowed(&self, origin: &HeaderValue, open: bool) -> Option<HeaderValue> {
        if origin.to_str().is_ok_and(|origin| self.lists(origin)) {
            return Some(origin.clone());
        }
        (self.any && open).then_some(HeaderValue::from_static("*"))
    }
}

/// Syntax of `AB_CORS_ORIGINS`.
pub fn check_origins(text: &str) -> Result<(), String> {
    CorsOrigins::parse(text).map(drop)
}
