//! `GET /`: the results page, one file that asks for nothing but the public API of the same origin.
//!
//! Its policy allows the one script and the one style that are in it, by their digests, and requests to where it came
//! from. It shows data as text only (`dom.js`), and keeps the key for the tab.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use service::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, HeaderValue, REFERRER_POLICY,
};
use service::http::{Problem, Request, Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::answer::{Parameters, is_known, tag};

const STYLE: &str = include_str!("style.css");
/// In the order in which they use each other.
const SCRIPTS: [&str; 8] = [
    include_str!("dom.js"),
    include_str!("format.js"),
    include_str!("api.js"),
    include_str!("charts.js"),
    include_str!("series.js"),
    include_str!("answer.js"),
    include_str!("list.js"),
    include_str!("app.js"),
];

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = format!("\"use strict\";\n(() => {{\n{}}})();\n", SCRIPTS.concat());
    Page::of(include_str!("page.html"), STYLE, &script)
});

/// A file with its style and script inside.
pub struct Page {
    body: String,
    policy: String,
    tag: String,
}

impl Page {
    pub fn of(html: &str, style: &str, script: &str) -> Page {
        let body = html.replace("{{style}}", style).replace("{{script}}", script);
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(script),
            digest(style)
        );
        let tag = tag(body.as_bytes());
        Page { body, policy, tag }
    }

    pub fn answer(&self, request: &Request) -> Result<Response, Problem> {
        Parameters::of(request, &[])?;
        let header = |text: &str| HeaderValue::try_from(text).map_err(|_| Problem::internal());
        let response = if is_known(request, &self.tag) {
            Response::empty(StatusCode::NOT_MODIFIED)
        } else {
            Response::bytes(StatusCode::OK, "text/html; charset=utf-8", self.body.clone())
        };
        // Asked for anew each time, so that an upgrade shows; sent again only when it is another.
        let response = response.with(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let response = response.with(ETAG, header(&self.tag)?);
        let response = response.with(CONTENT_SECURITY_POLICY, header(&self.policy)?);
        let response = response.with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let isolated = HeaderValue::from_static("same-origin");
        Ok(response.with(HeaderName::from_static("cross-origin-opener-policy"), isolated))
    }
}

pub fn get(request: &Request) -> Result<Response, Problem> {
    PAGE.answer(request)
}
