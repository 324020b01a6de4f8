use super::{Problem, Request, Response, header};
use base16ct::HexDisplay;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY};
use sha2::{Digest, Sha256};

/// A page for people: one file with its style and script inside. Its policy allows these two, by their digests, and
/// requests to where the page came from.
#[derive(Debug)]
pub struct Page {
    body: String,
    policy: String,
}

impl Page {
    /// `html` says where: `{{style}}`, `{{script}}`.
    pub fn of(html: &str, style: &str, script: &str) -> Page {
        let body = html.replace("{{style}}", style).replace("{{script}}", script);
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(script),
            digest(style)
        );
        Page { body, policy }
    }

    pub fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let policy = HeaderValue::try_from(&self.policy).map_err(|_| Problem::internal())?;
        let isolated = HeaderValue::from_static("same-origin");
        Ok(Response::tagged(request, "text/html; charset=utf-8", self.body.as_bytes())?
            .with(CONTENT_SECURITY_POLICY, policy)
            .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .with(HeaderName::from_static("cross-origin-opener-policy"), isolated))
    }
}

impl Response {
    /// A file of this release: asked for anew each time, so that an upgrade shows, and sent when the client has another.
    pub fn tagged(request: &Request, content_type: &'static str, body: &[u8]) -> Result<Response, Problem> {
        let digest = Sha256::digest(body);
        let tag = format!("\"{:x}\"", HexDisplay(&digest[..16]));
        let known = request.header(header::IF_NONE_MATCH).is_some_and(|given| {
            given.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
        });
        let response = if known {
            Response::empty(super::StatusCode::NOT_MODIFIED)
        } else {
            Response::bytes(super::StatusCode::OK, content_type, body.to_vec())
        };
        let tag = HeaderValue::try_from(tag).map_err(|_| Problem::internal())?;
        Ok(response.with(CACHE_CONTROL, HeaderValue::from_static("no-cache")).with(header::ETAG, tag))
    }
}
