//! Definitions as a file: written, and read back if nobody changed them.

use base16ct::lower;
use domain::definition::Definition;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use service::settings::Secret;
use sha2::{Digest, Sha256};

use super::canonical::{self, Members};

const FORMAT: &str = "abstream-workspace";
/// What is written. Every version from 1 on is read.
pub const VERSION: u32 = 1;

/// What checksum and signature are of.
#[derive(Serialize)]
struct Content<'a> {
    format: &'static str,
    version: u32,
    experiments: Vec<&'a Definition>,
}

/// The same as somebody sent it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    format: String,
    version: u32,
    #[serde(borrow)]
    experiments: Vec<&'a RawValue>,
}

/// What is known of who made a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    Valid,
    /// The service has no key to check it with.
    NotChecked,
}

#[derive(Debug)]
pub struct Bundle {
    pub signature: Signature,
    pub definitions: Vec<Definition>,
}

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("the bundle is not signed: AB_WORKSPACE_SIGNING_KEY is set, so only signed ones are imported")]
    Unsigned,
    #[error("the bundle's {0} is not that of its content: it was altered, or made with another key")]
    Altered(&'static str),
    #[error(
        "the bundle is of version {0}, this release reads versions 1 to {VERSION}: import it with a later one"
    )]
    Version(u32),
    #[error("the body is not a bundle of abstream: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the body is not a bundle of abstream: `format` must be {FORMAT}")]
    Format,
    #[error("/experiments/{index}: {reason}")]
    Definition { index: usize, reason: String },
}

/// As one line of text. Ascending by key, so that equal definitions are equal bundles.
pub fn write(mut definitions: Vec<&Definition>, key: Option<&Secret>) -> Result<String, serde_json::Error> {
    definitions.sort_by(|a, b| a.key.cmp(&b.key));
    let content = Content { format: FORMAT, version: VERSION, experiments: definitions };
    let text = serde_json::to_string(&content)?;
    let mut members = canonical::members(&text)?;
    let bytes = canonical::object(&members)?;
    let member = |text: String| serde_json::value::to_raw_value(&text);
    let (sha256, signature) =
        (member(digest(&bytes))?, key.map(|key| member(signed(&bytes, key))).transpose()?);
    members.insert("sha256".into(), &sha256);
    if let Some(signature) = &signature {
        members.insert("signature".into(), signature);
    }
    canonical::object(&members)
}

pub fn read(json: &str, key: Option<&Secret>) -> Result<Bundle, BundleError> {
    let mut members = canonical::members(json)?;
    let sha256 = taken(&mut members, "sha256")?;
    let signature = taken(&mut members, "signature")?;
    let bytes = canonical::object(&members)?;
    let signature = match (key, signature) {
        (None, _) => Signature::NotChecked,
        (Some(_), None) => return Err(BundleError::Unsigned),
        (Some(key), Some(given)) => {
            let given = lower::decode_vec(&given).map_err(|_| BundleError::Altered("signature"))?;
            mac(&bytes, key).verify_slice(&given).map_err(|_| BundleError::Altered("signature"))?;
            Signature::Valid
        }
    };
    if sha256 != Some(digest(&bytes)) {
        return Err(BundleError::Altered("checksum"));
    }
    let sent: Sent<'_> = serde_json::from_str(&bytes)?;
    if sent.format != FORMAT {
        return Err(BundleError::Format);
    }
    if !(1..=VERSION).contains(&sent.version) {
        return Err(BundleError::Version(sent.version));
    }
    let definitions = sent.experiments.iter().enumerate().map(|(index, raw)| {
        let refused = |reason: String| BundleError::Definition { index, reason };
        let definition: Definition = serde_json::from_str(raw.get()).map_err(|e| refused(e.to_string()))?;
        definition.checked().map_err(|invalid| refused(invalid.to_string()))
    });
    Ok(Bundle { signature, definitions: definitions.collect::<Result<_, _>>()? })
}

/// A text taken out of the members.
fn taken(members: &mut Members<'_>, name: &str) -> Result<Option<String>, serde_json::Error> {
    members.remove(name).map(|raw| serde_json::from_str(raw.get())).transpose()
}

fn digest(bytes: &str) -> String {
    lower::encode_string(&Sha256::digest(bytes))
}

fn signed(bytes: &str, key: &Secret) -> String {
    lower::encode_string(&mac(bytes, key).finalize().into_bytes())
}

fn mac(bytes: &str, key: &Secret) -> Hmac<Sha256> {
    // A key of any length is one: what is longer than a block is hashed first.
    let mut block = [0; 64];
    let key = key.expose().as_bytes();
    let hashed = Sha256::digest(key);
    let key = if key.len() > block.len() { &hashed[..] } else { key };
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(bytes.as_bytes());
    mac
}
