//! Signatures of deliveries, as Standard Webhooks (`standardwebhooks.com`) has them, so that receivers find a library:
//! HMAC-SHA256 of `<id>.<unix seconds>.<body>`, in base64, behind `v1,`. The secret is shown as `whsec_` and base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const PREFIX: &str = "whsec_";

/// What a webhook's deliveries are signed with.
pub fn new_secret() -> Result<[u8; 32], getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// As its owner is shown it, once.
pub fn shown(secret: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

/// The header `webhook-signature`; `None`: a key that no HMAC can have.
pub fn sign(secret: &[u8], id: &str, unix_seconds: i64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(format!("{id}.{unix_seconds}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}
